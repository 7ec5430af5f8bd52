package l2

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// L12: what is asked of the segment after a partition is what a kernel asks,
// so that every kernel understands it.
func TestL12_LostSpeakersAreAskedForAsAKernelWould(t *testing.T) {
	frame, err := neighborRequest(on, held4, asker4)
	if err != nil {
		t.Fatal(err)
	}
	var request arp.Packet
	if err := request.UnmarshalBinary(frame[ethernetHeader:]); err != nil {
		t.Fatal(err)
	}
	if request.Operation != arp.OperationRequest || request.SenderIP != held4 || request.TargetIP != asker4 ||
		!slices.Equal(request.SenderHardwareAddr, ours) || !slices.Equal(frame[:6], broadcast()) {
		t.Errorf("%+v to %s", request, frame[:6])
	}
	if frame, err = neighborRequest(on, held6, asker6); err != nil {
		t.Fatal(err)
	}
	// Our own answering code is a strict reader of solicitations.
	at := &Interface{Name: "eth0", Index: 3, MAC: theirs}
	reply, verdict := answerNDP(frame, at, &table{held: map[netip.Addr][]int{asker6: {3}}})
	if verdict != answered || !slices.Equal(reply[:6], ours) {
		t.Errorf("%s", verdict)
	}
	message, err := ndp.ParseMessage(reply[icmpv6Offset:])
	if advertised, ok := message.(*ndp.NeighborAdvertisement); err != nil || !ok || advertised.TargetAddress != asker6 {
		t.Errorf("%v, %+v", err, message)
	}
}

// L11: who hands an address over does not answer the next owner's duplicate
// address probe: that answer goes to all nodes, with Override, and would call
// them back. Everybody else is answered.
func TestL11_TheNextOwnersProbeIsNotAnswered(t *testing.T) {
	group, _ := ndp.SolicitedNodeMulticast(held6)
	groupMAC := net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 0x10}
	probe := solicit(netip.IPv6Unspecified(), group, held6, groupMAC)
	leaving := holding(3)
	leaving.leaving = map[netip.Addr]bool{held6: true}
	if _, verdict := answerNDP(probe, on, leaving); verdict != handedOver {
		t.Errorf("a probe while it is handed over: %s", verdict)
	}
	if _, verdict := answerNDP(solicit(asker6, group, held6, groupMAC, source(theirs)), on, leaving); verdict != answered {
		t.Errorf("a client while it is handed over: %s", verdict)
	}
	r := New()
	defer r.Close()
	r.table.Store(holding(3))
	r.Quiet()
	if _, verdict := answerNDP(probe, on, r.table.Load()); verdict != handedOver {
		t.Errorf("a probe while the speaker departs: %s", verdict)
	}
}
