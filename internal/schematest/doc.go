// Package schematest has a case of every rule of the schemas of Baliza's kinds, so that
// an API server and cli/schema are held to say the same of it.
//
// Only tests import it. All of it may be called from several goroutines at
// once.
package schematest
