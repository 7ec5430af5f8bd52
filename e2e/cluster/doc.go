// Package cluster is a lab with Baliza installed from its chart: what the
// demonstration, the scenarios and the benchmarks have in common. Whatever it
// says of the network it asks of other hosts (curl, arping, ndisc6), never of
// Baliza itself.
package cluster
