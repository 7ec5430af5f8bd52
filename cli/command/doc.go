// Package command has the commands of kubectl-baliza: it reads the cluster by
// api/kube, has cli/explain work out what that means, and prints it by cli/text.
//
// Only main imports it. A command runs in one goroutine.
package command
