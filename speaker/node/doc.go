// Package node is one node's part of Baliza as a pure machine: everything that
// a speaker remembers between two looks at the world, and everything that it
// decides. It has no clock, no goroutine, no socket, no logger and no client.
//
// Step takes in what there is to see, all of it at one moment, and says what is
// to be done, in which order. Whoever carries that out then calls Done with what
// really became of it: a node claims an address only if its sockets hold it. So
// the loop of a speaker is
//
//	out := node.Step(input)
//	// carry out the fields of out in their order
//	done := node.Done(applied)
//	// carry out the fields of done in their order
//
// The speaker's main package does so on a real node, and package sim does so
// with any number of nodes on a wire that it makes: what is shown there holds
// for the decisions that ship. Who owns what follows from package plan, without
// memory; here is what takes time: the start (startup.go), the hand-over of an
// address (handover.go), conflicts with other hosts (conflict.go), draining and
// weights in BGP (drain.go, weights.go), and the report (report.go).
package node
