// Package schema judges an object as the API server would, by the schema and the rules
// (CEL) of its CustomResourceDefinition, where there is no API server.
//
// What the API server of one's cluster decides beside, by admission and by what is
// there already, it does not know. The package is pure. Only cli/manifests and
// cli/command import it. [Schemas] belongs to one goroutine.
package schema
