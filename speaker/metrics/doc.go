// Package metrics shows what a speaker does in Prometheus' form. None of them has
// a label that grows with addresses. Only the speaker's main package imports it.
package metrics
