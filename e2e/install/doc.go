// Package install has the scenarios of installing, upgrading and uninstalling
// Baliza with Helm 3 and Helm 4, and of what its service accounts may do.
package install
