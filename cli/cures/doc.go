// Package cures says what to do about each reason that Baliza gives: one table for
// whoever explains it, be it kubectl-baliza or a status page.
//
// The package is pure and imports api/v1beta1 alone. Everyone may import it, from any
// goroutine.
package cures
