package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

func sample(internal, fourByte bool) *encoding {
	return &encoding{
		internal: internal, fourByte: fourByte, path: []uint32{64513}, as: 64513,
		next4: netip.MustParseAddr("192.0.2.11"), next6: netip.MustParseAddr("2001:db8:1::11"),
	}
}

// written encodes and decodes the difference.
func written(t *testing.T, e *encoding, told, desired Paths) []*wire.BGPUpdate {
	t.Helper()
	messages, err := e.difference(told, desired)
	if err != nil {
		t.Fatal(err)
	}
	var updates []*wire.BGPUpdate
	for _, m := range messages {
		data, err := m.Serialize()
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > messageSize {
			t.Errorf("a message of %d bytes", len(data))
		}
		parsed, err := wire.ParseBGPMessage(data, &wire.MarshallingOption{Use2ByteAS: !e.fourByte})
		if err != nil {
			t.Fatal(err)
		}
		update, ok := parsed.Body.(*wire.BGPUpdate)
		if !ok {
			t.Fatalf("a message of type %d", m.Header.Type)
		}
		updates = append(updates, update)
	}
	return updates
}

func TestB03_B04_What_stands_in_an_UPDATE(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	full := &Path{
		LocalPref: number(250), MED: number(50), Prepend: 2, Communities: []uint32{64513<<16 | 100},
		LargeCommunities: [][3]uint32{{64513, 1, 2}}, Bandwidth: 1.25e8,
	}
	large := sample(false, false)
	large.path = []uint32{4200000000}
	for sentence, test := range map[string]struct {
		encoding *encoding
		want     []string
		not      []string
	}{
		"to another AS": {sample(false, true), []string{
			"AsPath: 64513 64513 64513", "Nexthop: 192.0.2.11", "Med: 50", "64513:100", "64513:1:2", "64513:125000000",
		}, []string{"LocalPref"}},
		"to our own AS": {sample(true, true), []string{"LocalPref: 250", "Med: 50", "64513:100"}, []string{"64513 64513"}},
		"to a router that knows two bytes of an AS number": {large, []string{"23456 23456 23456", "4200000000 4200000000 4200000000"}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			updates := written(t, test.encoding, nil, Paths{netip.MustParsePrefix("203.0.113.1/32"): full})
			text := fmt.Sprint(updates[0].PathAttributes)
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in %s", want, text)
				}
			}
			for _, not := range test.not {
				if strings.Contains(text, not) {
					t.Errorf("%q in %s", not, text)
				}
			}
		})
	}
}

// B08: what does not fit into one message is split, and only what changed is
// sent.
func TestB08_Ten_thousand_routes_of_both_families(t *testing.T) {
	desired := Paths{}
	for i := range 5000 {
		desired[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)] = &Path{}
		desired[netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:4::%x", i)), 128)] = &Path{}
	}
	count := func(updates []*wire.BGPUpdate) (announced, withdrawn int) {
		for _, u := range updates {
			announced += len(u.NLRI)
			withdrawn += len(u.WithdrawnRoutes)
			for _, a := range u.PathAttributes {
				switch a := a.(type) {
				case *wire.PathAttributeMpReachNLRI:
					announced += len(a.Value)
				case *wire.PathAttributeMpUnreachNLRI:
					withdrawn += len(a.Value)
				}
			}
		}
		return announced, withdrawn
	}
	if announced, withdrawn := count(written(t, sample(false, true), nil, desired)); announced != 10_000 || withdrawn != 0 {
		t.Errorf("%d announced, %d withdrawn", announced, withdrawn)
	}
	if announced, withdrawn := count(written(t, sample(false, true), desired, nil)); announced != 0 || withdrawn != 10_000 {
		t.Errorf("%d announced, %d withdrawn", announced, withdrawn)
	}
	changed := maps.Clone(desired)
	changed[netip.MustParsePrefix("198.18.0.1/32")] = &Path{Communities: []uint32{1}}
	delete(changed, netip.MustParsePrefix("198.18.0.2/32"))
	if announced, withdrawn := count(written(t, sample(false, true), desired, changed)); announced != 1 || withdrawn != 1 {
		t.Errorf("%d announced, %d withdrawn, want one each", announced, withdrawn)
	}
}
