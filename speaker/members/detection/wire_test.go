package detection

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/ownership"
)

func samples() []message {
	at := netip.MustParseAddrPort("192.0.2.11:7946")
	return []message{
		{kind: kindBeat, incarnation: 7, name: "n1", at: at, beat: beat{
			sequence: 9, pulse: 30 * time.Millisecond, ready: true, version: 4, heard: []heard{{identify("n2"), 12 * time.Millisecond}},
		}},
		{kind: kindBeat, incarnation: 7, name: "n1", at: netip.MustParseAddrPort("[2001:db8::1]:7946"), beat: beat{leaving: true}},
		{kind: kindAsk, incarnation: 1, name: "n3", at: at, parting: 2},
		{kind: kindClaims, incarnation: 1, name: "n3", parting: 1 << 20, claims: ownership.Claims{Version: 5, Strength: 3, List: []ownership.Claim{
			{Address: netip.MustParseAddr("198.18.0.1"), Epoch: 3}, {Address: netip.MustParseAddr("2001:db8::1"), Epoch: 8},
		}, MACs: []model.MAC{{2, 0, 0, 0, 0, 1}}, Links: []model.Link{
			{Name: "eth0", Usable: true, Suitable: true, MAC: model.MAC{2, 0, 0, 0, 0, 1}, Addrs: []netip.Prefix{netip.MustParsePrefix("198.18.255.1/24"), netip.MustParsePrefix("fe80::1/64")}},
			{Name: "eth1"},
		}}},
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range samples() {
		b := m.marshal()
		got, err := unmarshal(b)
		if err != nil || !bytes.Equal(got.marshal(), b) {
			t.Errorf("%+v became %+v (%v)", m, got, err)
		}
		for n := range b {
			if _, err := unmarshal(b[:n]); err == nil {
				t.Errorf("%d of %d bytes are accepted", n, len(b))
			}
		}
		if _, err := unmarshal(append(bytes.Clone(b), 0)); err == nil {
			t.Error("a byte too many is accepted")
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, m := range samples() {
		f.Add(m.marshal())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := unmarshal(b)
		if err != nil {
			return
		}
		if again := m.marshal(); !bytes.Equal(again, b) {
			t.Errorf("%x was read as %+v and is written as %x", b, m, again)
		}
	})
}
