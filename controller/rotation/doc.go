// Package rotation decides how the membership key is replaced: step by step, so
// that at any moment every speaker accepts what any other encrypts with. It is
// pure; only the controller's main package imports it.
package rotation
