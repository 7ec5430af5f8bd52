// Package segment carries messages between the speakers of one Ethernet segment as
// frames, past IP: over exactly the interfaces on which a node announces, whatever
// its addresses, routes and firewalls are. It knows nothing of what it carries.
//
// Frames have the EtherType 0x88B5, which IEEE 802 sets aside for protocols that are
// not registered (Local Experimental EtherType 1, IEEE Std 802-2014 section 9.2.4);
// since others may use it on the same segment, each payload begins with bytes of ours,
// and the kernel's filter drops what does not. A frame is
//
//	destination 6 bytes, source 6, EtherType 2, length of the payload 2, payload
//
// with the length since Ethernet pads short frames. Group is the destination that
// all speakers of a segment listen to. A frame is sent as it is: longer than an
// interface's MTU it is refused, and there are no fragments.
//
// Each interface has one packet socket, opened by Use, and one goroutine that reads
// it. Send may be called from any goroutine, Use and Close from one. It needs the
// capability NET_RAW alone.
//
// Only the speaker's package ethernet imports this package.
package segment
