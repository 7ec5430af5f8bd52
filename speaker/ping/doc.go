// Package ping has the kernel answer ping for addresses that the node does not have.
//
// Without it an echo request for such an address is forwarded: out where it came
// from, with ICMP redirects on the way and "host unreachable" in the end. A program
// that answered beside the kernel, by a raw socket, would not change that. So a rule
// of the packet filter gives the request another destination before it is routed, an
// address of the node's own, and connection tracking gives the answer the source that
// was asked. No packet passes through the speaker.
//
// The rules are in a table of their own, "inet baliza" in nftables, which belongs to
// the netlink socket that made it (NFT_TABLE_F_OWNER, Linux 5.12). Nobody else can
// change it, "nft flush ruleset" neither, and the kernel takes it away when the socket
// is closed, however the process ends. Only echo requests for these addresses match;
// neither order nor kind of other tables matters, those of kube-proxy included.
//
// A Table is for one goroutine. Only the speaker's main package imports this package,
// and only this package imports google/nftables. It needs the capability NET_ADMIN.
package ping
