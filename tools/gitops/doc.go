// Package gitops holds the tests of what programs that wait for objects, Helm and Flux
// (kstatus) and Argo CD, make of what Baliza writes into them.
package gitops
