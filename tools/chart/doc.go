// Package chart tests the Helm chart as it is rendered, with both majors of
// Helm: bin/helm and bin/helm3, which "make tools" builds.
package chart
