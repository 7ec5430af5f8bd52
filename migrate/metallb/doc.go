// Package metallb says what MetalLB's objects (group metallb.io) mean to Baliza:
// their objects go in, ours and a list of findings come out. A finding names the
// object and the field, and whether it is carried over exactly, differs, or cannot
// be carried over.
//
// The types are our own, and have the fields alone. The package is pure, knows
// nothing of a client or of the command line, and is cheap enough to run at each
// change of an object. Everyone may import it. What Translate returns shares
// nothing with what it was given that either would change.
//
// The annotations on Services are not translated: package config reads them as
// they are, as aliases of ours. ServiceFindings says where they mean something else.
package metallb
