package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/speaker/model"
)

func sample(internal, fourByte bool) *encoding {
	return &encoding{
		internal: internal, fourByte: fourByte, path: []uint32{64513}, as: 64513,
		chosen: true, next4: netip.MustParseAddr("192.0.2.11"), next6: netip.MustParseAddr("2001:db8:1::11"),
	}
}

// written encodes and decodes the difference.
func written(t *testing.T, e *encoding, told, desired Paths) []*wire.BGPUpdate {
	t.Helper()
	messages, err := e.difference(told, desired, familySet{})
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

// ordered makes Paths of a map.
func ordered(m map[netip.Prefix]model.Attributes) Paths {
	var paths Paths
	for _, prefix := range slices.SortedFunc(maps.Keys(m), netip.Prefix.Compare) {
		paths = append(paths, Route{prefix, AttributesOf(m[prefix])})
	}
	return paths
}

func TestB03_B04_What_stands_in_an_UPDATE(t *testing.T) {
	full := AttributesOf(model.Attributes{
		LocalPref: model.Some(250), MED: model.Some(50), Prepend: 2, Communities: model.CommunitiesOf(64513<<16 | 100),
		LargeCommunities: model.LargeCommunitiesOf([3]uint32{64513, 1, 2}), Bandwidth: 125_000_000,
	})
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
			updates := written(t, test.encoding, nil, Paths{{netip.MustParsePrefix("203.0.113.1/32"), full}})
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

// D26: of the two forms of a link bandwidth the operator may choose the one that
// survives between autonomous systems.
func TestD26_The_form_of_the_link_bandwidth(t *testing.T) {
	for transitive, want := range map[bool]string{false: "4004", true: "0004"} {
		// GoBGP reads both forms as one, so the bytes have to be looked at.
		all, err := sample(false, true).attributes(model.Attributes{Bandwidth: 125_000_000, TransitiveBandwidth: transitive}, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if a.GetType() != wire.BGP_ATTR_TYPE_EXTENDED_COMMUNITIES {
				continue
			}
			bytes, err := a.Serialize()
			if err != nil {
				t.Fatal(err)
			}
			// Flags, type, length; then type, subtype, AS number and a 32-bit float.
			if got := hex.EncodeToString(bytes[3:]); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "4cee6b28") {
				t.Errorf("transitive %t: %s", transitive, got)
			}
		}
	}
}

// B08: what does not fit into one message is split, and only what changed is
// sent.
func TestB08_Ten_thousand_routes_of_both_families(t *testing.T) {
	desired := map[netip.Prefix]model.Attributes{}
	for i := range 5000 {
		desired[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)] = model.Attributes{}
		desired[netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:4::%x", i)), 128)] = model.Attributes{}
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
	if announced, withdrawn := count(written(t, sample(false, true), nil, ordered(desired))); announced != 10_000 || withdrawn != 0 {
		t.Errorf("%d announced, %d withdrawn", announced, withdrawn)
	}
	if announced, withdrawn := count(written(t, sample(false, true), ordered(desired), nil)); announced != 0 || withdrawn != 10_000 {
		t.Errorf("%d announced, %d withdrawn", announced, withdrawn)
	}
	changed := maps.Clone(desired)
	changed[netip.MustParsePrefix("198.18.0.1/32")] = model.Attributes{Communities: model.CommunitiesOf(1)}
	delete(changed, netip.MustParsePrefix("198.18.0.2/32"))
	if announced, withdrawn := count(written(t, sample(false, true), ordered(desired), ordered(changed))); announced != 1 || withdrawn != 1 {
		t.Errorf("%d announced, %d withdrawn, want one each", announced, withdrawn)
	}
}

// The same over a connection: the router gets every route once, loses every
// one, and the session is still the first.
func TestB08_Ten_thousand_routes_over_one_session(t *testing.T) {
	const count, size = 10_000, 5 // bytes of a /32
	r, s := newRouter(t), newSessions(t)
	desired := map[netip.Prefix]model.Attributes{}
	for i := range count {
		desired[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)] = model.Attributes{}
	}
	s.Apply([]Desired{{Peer: r.peer("r"), Paths: ordered(desired)}})
	_, in := r.meet(64512)
	knows := map[string]bool{}
	until := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			header := make([]byte, headerSize)
			_, err := io.ReadFull(in, header)
			body := make([]byte, max(headerSize, int(binary.BigEndian.Uint16(header[16:])))-headerSize)
			if err == nil {
				_, err = io.ReadFull(in, body)
			}
			if err != nil || headerSize+len(body) > messageSize {
				t.Fatalf("%v; the router knows %d routes, and not %s", err, len(knows), what)
			}
			if header[18] != wire.BGP_MSG_UPDATE {
				continue
			}
			withdrawn := body[2 : 2+int(binary.BigEndian.Uint16(body))]
			rest := body[2+len(withdrawn):]
			announced := rest[2+int(binary.BigEndian.Uint16(rest)):]
			for ; len(withdrawn) > 0; withdrawn = withdrawn[size:] {
				delete(knows, string(withdrawn[:size]))
			}
			for ; len(announced) > 0; announced = announced[size:] {
				if knows[string(announced[:size])] {
					t.Fatalf("announced twice: %v", announced[:size])
				}
				knows[string(announced[:size])] = true
			}
		}
	}
	until("all", func() bool { return len(knows) == count })
	s.Apply([]Desired{{Peer: r.peer("r"), Paths: Paths{}}})
	until("none", func() bool { return len(knows) == 0 })
	if st := await(t, s, "r", "told nothing", func(st *Status) bool { return st.Sent == 0 }); st.Established != 1 {
		t.Errorf("%d sessions", st.Established)
	}
}

// What is told brings a router from any paths to any others, and no more.
func TestWhatChangesBetweenPaths(t *testing.T) {
	draw := func(t *rapid.T, what string) Paths {
		all := map[netip.Prefix]model.Attributes{}
		for range rapid.IntRange(0, 8).Draw(t, what) {
			prefix, err := netip.AddrFrom4([4]byte{198, 18, 0, byte(rapid.IntRange(0, 5).Draw(t, "address"))}).Prefix(rapid.IntRange(30, 32).Draw(t, "length"))
			if err != nil {
				t.Fatal(err)
			}
			all[prefix] = model.Attributes{Prepend: rapid.IntRange(0, 1).Draw(t, "prepend")}
		}
		return ordered(all)
	}
	rapid.Check(t, func(t *rapid.T) {
		before, after := draw(t, "before"), draw(t, "after")
		knows := map[netip.Prefix]Attributes{}
		for _, r := range before {
			knows[r.Prefix] = r.Attributes
		}
		after.compare(before, func(r Route) {
			if have, ok := knows[r.Prefix]; ok && have == r.Attributes {
				t.Fatalf("%s has not changed", r.Prefix)
			}
			knows[r.Prefix] = r.Attributes
		}, func(p netip.Prefix) {
			if _, ok := knows[p]; !ok {
				t.Fatalf("%s was not there", p)
			}
			delete(knows, p)
		})
		if len(knows) != len(after) {
			t.Fatalf("it knows %v, not %v", knows, after)
		}
		for _, r := range after {
			if knows[r.Prefix] != r.Attributes {
				t.Fatalf("it knows %v, not %v", knows, after)
			}
		}
	})
}
