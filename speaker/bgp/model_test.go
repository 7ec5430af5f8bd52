package bgp

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/baliza-lb/baliza/speaker/model"
)

// random makes paths.
type random struct {
	*rand.Rand
	seed uint64
}

func newRandom() *random {
	seed := uint64(time.Now().UnixNano())
	return &random{rand.New(rand.NewPCG(seed, 1)), seed}
}

func (r *random) paths() Paths {
	all := map[netip.Prefix]model.Attributes{}
	for range r.IntN(20) {
		last := byte(r.IntN(16))
		a := model.Attributes{Communities: model.CommunitiesOf(uint32(r.IntN(3)))}
		all[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, last}), 32)] = a
		all[netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(r.IntN(16))}), 128)] = a
	}
	return ordered(all)
}

// run takes session after session.
func (m *modelRouter) run() {
	for conn := range m.conns {
		m.session(conn)
	}
}

func (m *modelRouter) session(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	m.mu.Lock()
	m.conn, m.six = conn, !m.only4
	clear(m.knows)
	m.mu.Unlock()
	in := bufio.NewReader(conn)
	if _, _, err := read(in); err != nil {
		return
	}
	parameter := capabilities(1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfc, 0)
	if m.six {
		parameter = capabilities(1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4, 0, 0, 0xfc, 0)
	}
	if _, err := conn.Write(append(raw(wire.BGP_MSG_OPEN, message(parameter...)...), raw(wire.BGP_MSG_KEEPALIVE)...)); err != nil {
		return
	}
	for {
		header, err := in.Peek(headerSize)
		if err != nil {
			return
		}
		data := make([]byte, int(header[16])<<8|int(header[17]))
		for read := 0; read < len(data); {
			n, err := in.Read(data[read:])
			if read += n; err != nil {
				return
			}
		}
		parsed, err := wire.ParseBGPMessage(data)
		if err != nil {
			panic(err)
		}
		if update, ok := parsed.Body.(*wire.BGPUpdate); ok {
			m.learn(update)
		}
	}
}

func (m *modelRouter) learn(u *wire.BGPUpdate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	community := ""
	for _, a := range u.PathAttributes {
		if c, ok := a.(*wire.PathAttributeCommunities); ok {
			community = fmt.Sprint(c.Value)
		}
	}
	learn := func(all []wire.PathNLRI) {
		for _, one := range all {
			m.knows[netip.MustParsePrefix(one.NLRI.String())] = community
		}
	}
	forget := func(all []wire.PathNLRI) {
		for _, one := range all {
			delete(m.knows, netip.MustParsePrefix(one.NLRI.String()))
		}
	}
	forget(u.WithdrawnRoutes)
	learn(u.NLRI)
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *wire.PathAttributeMpReachNLRI:
			learn(a.Value)
		case *wire.PathAttributeMpUnreachNLRI:
			forget(a.Value)
		}
	}
}

func (m *modelRouter) disconnect(only4 bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.only4 = only4
	if m.conn != nil {
		_ = m.conn.Close()
	}
}

func (m *modelRouter) refresh(afi byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		_, _ = m.conn.Write(raw(wire.BGP_MSG_ROUTE_REFRESH, 0, afi, 0, 1))
	}
}

// differs says what the router knows that it should not, or does not know.
func (m *modelRouter) differs(want Paths) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts := want.split()
	if !m.six {
		want = parts[familyIPv4]
	}
	for _, r := range want {
		community := fmt.Sprint(collect(r.Attributes.Value().Communities))
		if m.knows[r.Prefix] != community {
			return fmt.Sprintf("of %s it knows %q, not %q", r.Prefix, m.knows[r.Prefix], community)
		}
	}
	if len(m.knows) != len(want) {
		return fmt.Sprintf("it knows %v, not %v", m.knows, want)
	}
	return ""
}

func collect(c model.Communities) (all []uint32) {
	for one := range c.All() {
		all = append(all, one)
	}
	return all
}
