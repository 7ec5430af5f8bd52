// Package oci makes, reads and pushes container images: archives of the OCI
// image layout (https://github.com/opencontainers/image-spec), each with one
// index of one or several platforms. No daemon and no base image take part.
//
// What it makes depends on its input alone, never on the clock, on the builder's
// name or on the order in which a file system lists files: whoever builds the
// same commit gets the same digests.
package oci
