package l2

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// L12: what is asked of the segment after a partition is what a kernel asks,
// so that every kernel understands it.
func TestL12_LostSpeakersAreAskedForAsAKernelWould(t *testing.T) {
	frame, err := question(on, held4, asker4)
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
	if frame, err = question(on, held6, asker6); err != nil {
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
