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
	said := portrait{
		at: at, pulse: 30 * time.Millisecond, ready: true, strength: 3,
		claims: ownership.Claims{
			List: []ownership.Claim{
				{Address: netip.MustParseAddr("198.18.0.1"), Epoch: 3}, {Address: netip.MustParseAddr("2001:db8::1"), Epoch: 8},
			},
			Unable: []netip.Addr{netip.MustParseAddr("198.18.0.7")}, Successions: []model.Succession{{Address: netip.MustParseAddr("198.18.0.8"), Node: "n2"}}, MACs: []model.MAC{{2, 0, 0, 0, 0, 1}},
			Links: []model.Link{
				{Name: "eth0", Usable: true, Suitable: true, MAC: model.MAC{2, 0, 0, 0, 0, 1}, Addrs: []netip.Prefix{netip.MustParsePrefix("198.18.255.1/24"), netip.MustParsePrefix("fe80::1/64")}},
				{Name: "eth1"},
			},
		},
	}
	return []message{
		{kind: kindBeat, incarnation: 7, sequence: 9, name: "n1", at: at, beat: beat{
			pulse: 30 * time.Millisecond, ready: true, segment: 1, strength: 3, key: 1 << 30, version: 4,
			heard:   []heard{{identify("n2"), 12 * time.Millisecond, 700, 3, 5}},
			changes: []ownership.Change{{From: 3, Added: said.claims.List, Removed: said.claims.Unable}},
		}},
		{kind: kindBeat, incarnation: 7, name: "n1", at: netip.MustParseAddrPort("[2001:db8::1]:7946"), beat: beat{leaving: true}},
		{kind: kindAsk, incarnation: 1, sequence: 2, name: "n3", at: at, subject: "n1"},
		{kind: kindClaims, incarnation: 1, name: "n3", subject: "n1", part: part{
			incarnation: 7, echo: 2, age: 5 * time.Millisecond, version: 4, number: 0, of: 1, body: said.marshal(),
		}},
		{kind: kindSuperseded, incarnation: 1, name: "n3", known: 8, fresh: true},
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range samples() {
		b := m.marshal()
		got, err := unmarshal(b)
		if err != nil || !bytes.Equal(got.marshal(), b) {
			t.Errorf("%+v became %+v (%v)", m, got, err)
		}
		if m.kind == kindClaims {
			continue // its end is that of its packet
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

func TestClaimsSurviveTheWire(t *testing.T) {
	b := samples()[3].part.body
	p, err := unmarshalPortrait(b, 4)
	if err != nil || !bytes.Equal(p.marshal(), b) || p.claims.Version != 4 {
		t.Errorf("%+v (%v)", p, err)
	}
	for n := range b {
		if _, err := unmarshalPortrait(b[:n], 4); err == nil {
			t.Errorf("%d of %d bytes are accepted", n, len(b))
		}
	}
	if _, err := unmarshalPortrait(append(bytes.Clone(b), 0), 4); err == nil {
		t.Error("a byte too many is accepted")
	}
}

func FuzzUnmarshalClaims(f *testing.F) {
	f.Add(samples()[3].part.body)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := unmarshalPortrait(b, 4)
		if err != nil {
			return
		}
		if again := p.marshal(); !bytes.Equal(again, b) {
			t.Errorf("%x was read as %+v and is written as %x", b, p, again)
		}
	})
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
