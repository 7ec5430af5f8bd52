// Package kube is the one place that talks to the API server: informers with
// field selectors and transforms, writers, leader election. Others get plain
// objects from it and hand plain decisions to it.
//
// Objects that its listers return are shared and must not be changed.
package kube
