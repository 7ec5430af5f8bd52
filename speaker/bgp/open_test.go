package bgp

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// message is an OPEN of AS 64512 with these optional parameters.
func message(parameters ...byte) []byte {
	return append([]byte{4, 0xfc, 0, 0, 90, 192, 0, 2, 254, byte(len(parameters))}, parameters...)
}

// capabilities is a parameter with them.
func capabilities(each ...byte) []byte { return append([]byte{2, byte(len(each))}, each...) }

// D15: an OPEN is not refused for what nobody asked; nothing of the codec reads
// it.
func TestD15_OpensOfRealRouters(t *testing.T) {
	extended := func(parameters []byte) []byte { // RFC 9072
		m := []byte{4, 0xfc, 0, 0, 90, 192, 0, 2, 254, 255, 255, byte(len(parameters) >> 8), byte(len(parameters))}
		return append(m, parameters...)
	}
	both := []byte{1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1}
	for sentence, test := range map[string]struct {
		body []byte
		want offer
		not  string
	}{
		"nothing at all":                       {body: message(), want: offer{families: familySet{true, false}}},
		"both families":                        {body: message(capabilities(both...)...), want: offer{families: familySet{true, true}, multiprotocol: true}},
		"each capability in its own parameter": {body: message(append(capabilities(both[:6]...), capabilities(both[6:]...)...)...), want: offer{families: familySet{true, true}, multiprotocol: true}},
		"IPv6 only":                            {body: message(capabilities(both[6:]...)...), want: offer{families: familySet{false, true}, multiprotocol: true}},
		"only VPNs":                            {body: message(capabilities(1, 4, 0, 1, 0, 128)...), want: offer{multiprotocol: true}},
		"ExaBGP: extended next hop of nothing": {body: message(capabilities(5, 0)...), want: offer{families: familySet{true, false}}},
		"extended next hop":                    {body: message(capabilities(5, 6, 0, 1, 0, 1, 0, 2)...), want: offer{families: familySet{true, false}, extended: true}},
		"extended next hop, cut":               {body: message(capabilities(5, 5, 0, 1, 0, 1, 0)...), want: offer{families: familySet{true, false}}},
		"a software version of 80 bytes":       {body: message(capabilities(append([]byte{75, 81, 80}, make([]byte, 80)...)...)...), want: offer{families: familySet{true, false}}},
		"an FQDN that is cut":                  {body: message(capabilities(73, 3, 9, 'a', 'b')...), want: offer{families: familySet{true, false}}},
		"graceful restart without families":    {body: message(capabilities(64, 2, 0, 120)...), want: offer{families: familySet{true, false}, graceful: true}},
		"FRR: extended optional parameters":    {body: extended(append([]byte{2, 0, 12}, both...)), want: offer{families: familySet{true, true}, multiprotocol: true}},
		"more than 255 bytes of capabilities": {
			body: extended(append([]byte{2, 1, 44}, append(append([]byte{75, 254}, make([]byte, 254)...), append(append([]byte{75, 30}, make([]byte, 30)...), both...)...)...)),
			want: offer{families: familySet{true, true}, multiprotocol: true},
		},
		"four bytes of AS":                      {body: message(capabilities(65, 4, 0, 0, 0xfc, 0)...), want: offer{families: familySet{true, false}, fourByte: true}},
		"the same twice":                        {body: message(capabilities(65, 4, 0, 0, 0xfc, 0, 65, 4, 0, 0, 0xfc, 0)...), want: offer{families: familySet{true, false}, fourByte: true}},
		"a parameter of another kind":           {body: message(1, 2, 0, 0), want: offer{families: familySet{true, false}}},
		"a capability that is longer than said": {body: message(2, 3, 65, 4, 0), not: "cannot be read"},
		"parameters that are longer than said":  {body: message(2, 30, 1, 4), not: "cannot be read"},
		"lengths that are not true":             {body: append(message(), 9, 9), not: "cannot be read"},
		"a cut OPEN":                            {body: message()[:9], not: "too short"},
		"BGP version 3":                         {body: append([]byte{3}, message()[1:]...), not: "version 3"},
		"D23: AS 0":                             {body: append([]byte{4, 0, 0}, message()[3:]...), not: "AS number is 0"},
		"D23: four bytes of AS 0":               {body: message(capabilities(65, 4, 0, 0, 0, 0)...), not: "AS number is 0"},
		"D23: another AS in two bytes":          {body: message(capabilities(65, 4, 0, 0, 0xfd, 0xe7)...), not: "two AS numbers"},
		"D23: two of four bytes":                {body: message(capabilities(65, 4, 0, 0, 0xfc, 0, 65, 4, 0, 0, 0xfd, 0xe7)...), not: "two AS numbers"},
	} {
		got, err := parseOpen(test.body)
		if test.not != "" {
			if n, ok := err.(*notification); !ok || !strings.Contains(n.words, test.not) { //nolint:errorlint // it is not wrapped
				t.Errorf("%s: %+v, %v; want %q", sentence, got, err, test.not)
			}
			continue
		}
		test.want.asn, test.want.identifier, test.want.hold = 64512, 0xc00002fe, 90
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", sentence, got, err, test.want)
		}
	}
}

// D23: what must not be agreed to; D20, D24: what the NOTIFICATION has.
func TestD23_What_is_not_agreed_to(t *testing.T) {
	s := newSessions(t)
	for sentence, test := range map[string]struct {
		peer    Peer
		offer   offer
		subcode uint8
	}{
		"an identifier of zero":               {Peer{Dynamic: External}, offer{asn: 64512, families: familySet{true, false}}, wire.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER},
		"our own identifier, inside one AS":   {Peer{PeerASN: 64513}, offer{asn: 64513, identifier: 0xc000020b, families: familySet{true, false}}, wire.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER},
		"our own identifier, from another AS": {Peer{PeerASN: 64512}, offer{asn: 64512, identifier: 0xc000020b, families: familySet{true, false}}, 0},
		"a family that is not ours":           {Peer{PeerASN: 64512}, offer{asn: 64512, identifier: 1, families: familySet{false, true}}, wire.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY},
		"a hold time of 2 s":                  {Peer{PeerASN: 64512}, offer{asn: 64512, identifier: 1, hold: 2, families: familySet{true, false}}, wire.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME},
	} {
		peer := test.peer
		peer.MyASN, peer.Address, peer.HoldTime = 64513, netip.MustParseAddr("192.0.2.254"), 9*time.Second
		c := &conn{session: &session{all: s}, peer: peer}
		err := c.negotiate(test.offer)
		n, ok := err.(*notification) //nolint:errorlint // it is not wrapped
		switch {
		case test.subcode == 0 && err != nil, test.subcode != 0 && !ok:
			t.Errorf("%s: %v", sentence, err)
		case ok && (n.code != wire.BGP_ERROR_OPEN_MESSAGE_ERROR || n.subcode != test.subcode):
			t.Errorf("%s: NOTIFICATION %d/%d", sentence, n.code, n.subcode)
		case ok && n.subcode == wire.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY && !bytes.Equal(n.data, []byte{1, 4, 0, 1, 0, 1}):
			t.Errorf("%s: data % x", sentence, n.data)
		}
	}
}

// D25: one identifier for a node, whatever its sessions run over.
func TestD25_Identifier(t *testing.T) {
	if got := Identifier("n1", netip.MustParseAddr("192.0.2.11")); got.String() != "192.0.2.11" {
		t.Error(got)
	}
	six := Identifier("n1", netip.MustParseAddr("2001:db8::11"))
	if six != Identifier("n1", netip.Addr{}) || six != Identifier("n1", netip.MustParseAddr("127.0.0.1")) || six == Identifier("n2", netip.Addr{}) {
		t.Errorf("%s", six)
	}
	for _, name := range []string{"", "a", "node-17", "worker.example", "zz"} {
		if first := Identifier(name, netip.Addr{}).As4()[0]; first < 1 || first > 126 {
			t.Errorf("%q has %s", name, Identifier(name, netip.Addr{}))
		}
	}
}

func FuzzParseOpen(f *testing.F) {
	f.Add(message())
	f.Add(message(capabilities(65, 4, 0, 0, 0xfc, 0, 5, 6, 0, 1, 0, 1, 0, 2)...))
	f.Add([]byte{4, 0xfc, 0, 0, 90, 192, 0, 2, 254, 255, 255, 0, 9, 2, 0, 6, 1, 4, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parseOpen(data)
		if err == nil && (o.asn == 0 || !o.multiprotocol && o.families != familySet{true, false}) {
			t.Errorf("%+v", o)
		}
	})
}

func FuzzParseNotification(f *testing.F) {
	f.Add([]byte{6, 2, 5, 'h', 'e', 'l', 'l', 'o'})
	f.Add([]byte{6, 2, 200, 'h'})
	f.Add([]byte{6})
	f.Add([]byte{6, 4, 3, 0xe2, 0x80, 0xae})
	f.Fuzz(func(t *testing.T, data []byte) {
		words := parseNotification(data).Error()
		if strings.ContainsFunc(words, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e }) {
			t.Errorf("%q", words)
		}
	})
}
