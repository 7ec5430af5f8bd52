// Command kubectl-baliza says whether load balancing works, why it does not, and who
// answers for an address. As a file of this name on the PATH it is "kubectl baliza".
//
// It reads objects of the API, and asks speakers, by a port-forward, where that is
// wanted. What it says is worked out by cli/explain, which is pure; cli/command
// gathers and prints. The exit status is 0 where all is well, 1 where something is
// wrong, and 2 where that could not be found out.
package main
