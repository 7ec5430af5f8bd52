// Package ethernet is this node's presence on its segments, beside what answers for
// addresses: frames between speakers (package segment), and questions for their own
// addresses (l2.Inquirer), on the interfaces that node.Relevant names. It joins what
// packages link, segment, l2 and members each do without knowing the others.
//
// A View and Follow are for one goroutine; what members.LAN asks for is for any.
//
// Only the speaker's main package imports it.
package ethernet
