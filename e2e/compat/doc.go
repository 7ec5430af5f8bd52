// Package compat shows, without a cluster, which versions of Kubernetes accept
// what the chart installs: it compiles the CEL rules of the CRDs and of the
// ValidatingAdmissionPolicy as their API servers would, with their cost limits.
package compat
