package scenarios

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// Types of BGP messages (RFC 4271 section 4.1).
const (
	bgpOpen      = 1
	bgpUpdate    = 2
	bgpKeepalive = 4
)

func bgpMessage(kind byte, body ...byte) []byte {
	m := bytes.Repeat([]byte{0xff}, 16)
	m = binary.BigEndian.AppendUint16(m, uint16(19+len(body)))
	return append(append(m, kind), body...)
}

// hostileUpdate has these attributes and 250 prefixes from the nth on.
func hostileUpdate(attributes string, n int) []byte {
	raw, _ := hex.DecodeString(attributes)
	body := append([]byte{0, 0, byte(len(raw) >> 8), byte(len(raw))}, raw...)
	for i := range 250 {
		route := n*250 + i
		body = append(body, 32, 10, byte(route>>16), byte(route>>8), byte(route))
	}
	return bgpMessage(bgpUpdate, body...)
}

// Attributes that are in order, and those that end GoBGP v3: AS4_PATH stands
// before AS_PATH (CVE-2026-41643).
const (
	goodAttributes = "40010100" + "400206" + "0201" + "0000fc00" + "400304c00002fd"
	evilAttributes = "40010100" + "400304c00002fd" + "c011060201" + "0000fc01" + "400204" + "0201fc01"
)

// hostile is a router on a client that answers as BGP wants it at first.
type hostile struct {
	p        *routed
	listener net.Listener
	address  netip.Addr
}

func (p *routed) hostile(ctx context.Context) *hostile {
	p.t.Helper()
	h := &hostile{p: p}
	c2, err := p.Host("c2")
	p.must(err)
	h.address = c2.IPv4
	p.must(p.Go("c2", func() error {
		var err error
		h.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(c2.IPv4, 179).String())
		return err
	}))
	p.t.Cleanup(func() { _ = h.listener.Close() })
	return h
}

// session accepts the speaker's next connection and has it established. With
// narrow the router knows only AS numbers of two bytes.
func (h *hostile) session(narrow bool) net.Conn {
	h.p.t.Helper()
	conn, err := h.listener.Accept()
	h.p.must(err)
	h.p.must(conn.SetDeadline(time.Now().Add(30 * time.Second)))
	capabilities := []byte{1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1} // both families
	if !narrow {
		capabilities = append(capabilities, 65, 4, 0, 0, 0xfc, 0)
	}
	open := append([]byte{4, 0xfc, 0, 0, 90, 192, 0, 2, 253, byte(len(capabilities) + 2), 2, byte(len(capabilities))}, capabilities...)
	_, err = conn.Write(append(bgpMessage(bgpOpen, open...), bgpMessage(bgpKeepalive)...))
	h.p.must(err)
	for { // until the speaker has confirmed
		header := make([]byte, 19)
		_, err := io.ReadFull(conn, header)
		h.p.must(err)
		_, err = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(header[16:]))-19)
		h.p.must(err)
		if header[18] == bgpKeepalive {
			return conn
		}
	}
}

func TestB13_A_hostile_router_harms_nobody_else(t *testing.T) {
	ctx, p := newRouted(t, 2, nil, nil)
	p.must(p.Advertise(ctx, p.name, p.name))
	h := p.hostile(ctx)
	v4, _ := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	owner, sessions, before := p.owner(ctx, v4), p.established(ctx), p.speakerOf("n1")
	p.answers(ctx, "c1", v4)
	probe := p.Probe(ctx, "c1", netip.AddrPortFrom(v4, 80), 50*time.Millisecond)

	other := p.name + "-hostile"
	p.must(p.Peer(ctx, other, h.address.String(), func(s *v1beta1.BGPPeerSpec) {
		s.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"kubernetes.io/hostname": "n1"}}}
	}))
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "delete", "bgppeer/"+other)
		p.must(err)
	}()
	good := hostileUpdate(goodAttributes, 0)
	for _, attack := range []struct {
		sentence string
		bytes    []byte
		narrow   bool
	}{
		{"attributes in an order that ends GoBGP v3", hostileUpdate(evilAttributes, 0), true},
		{"the same, to a router of long numbers", hostileUpdate(evilAttributes, 0), false},
		{"an UPDATE cut short by the end of the connection", good[:len(good)/2], false},
		{"an UPDATE whose lengths are not true", bgpMessage(bgpUpdate, 0xff, 0xff, 1, 2, 3), false},
		{"an UPDATE that ends within its attributes", bgpMessage(bgpUpdate, good[19:40]...), false},
		{"attributes that nobody knows", hostileUpdate("40010100"+"c0fe03010203"+"e0fd0400000000", 0), false},
		{"a message longer than BGP has", append(bytes.Repeat([]byte{0xff}, 18), bgpUpdate), false},
		{"no BGP at all", []byte("GET / HTTP/1.0\r\nHost: 192.0.2.253\r\n\r\n"), false},
	} {
		conn := h.session(attack.narrow)
		_, err := conn.Write(attack.bytes)
		p.must(err)
		time.Sleep(100 * time.Millisecond) // for it to be read
		p.must(conn.Close())
		if now := p.speakerOf("n1"); now.PID != before.PID {
			t.Fatalf("%s ended the speaker:\n%s", attack.sentence, p.Log(before.Name))
		}
	}
	p.flood(ctx, h, other)
	p.unharmed(probe.Stop(), "beside the hostile router", 0)
	p.notReset(ctx, sessions)
	if now := p.owner(ctx, v4); now != owner {
		t.Errorf("%s answers for %s, before %s", now, v4, owner)
	}
}

// flood sends 100,000 routes, four times, and waits until the speaker has read
// them all and is of the size that it was.
func (p *routed) flood(ctx context.Context, h *hostile, peer string) {
	p.t.Helper()
	const messages, spare = 400, 16 << 10 // KiB
	small := p.resident("n1")
	conn := h.session(false)
	defer func() { _ = conn.Close() }()
	p.session(ctx, "n1", peer, "established", isUp)
	dropped := p.dropped(ctx, peer)
	for range 4 {
		for n := range messages {
			_, err := conn.Write(hostileUpdate(goodAttributes, n))
			p.must(err)
		}
	}
	p.must(lab.WaitFor(ctx, "all UPDATEs to be read", func() (bool, error) { return p.dropped(ctx, peer) >= dropped+4*messages, nil }))
	p.session(ctx, "n1", peer, "still established", isUp)
	var large int
	err := lab.WaitFor(ctx, "the speaker to be of the size that it was", func() (bool, error) {
		large = p.resident("n1")
		return large <= small+spare, nil
	})
	p.t.Logf("resident memory: %d KiB before the flood, %d KiB after it", small, large)
	p.must(err)
}

// speakerOf is the speaker's process on a node.
func (p *plot) speakerOf(node string) *lab.Process {
	p.t.Helper()
	all := p.Processes(node)
	i := slices.IndexFunc(all, func(one *lab.Process) bool {
		return strings.Contains(one.Name, "/baliza-speaker-") && strings.HasSuffix(one.Name, "/speaker")
	})
	if i < 0 {
		p.t.Fatalf("no speaker on %s", node)
	}
	return all[i]
}

// resident is the speaker's memory in KiB.
func (p *plot) resident(node string) (size int) {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.speakerOf(node).PID))
	p.must(err)
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &size); err == nil {
			return size
		}
	}
	p.t.Fatalf("no VmRSS in %s", status)
	return 0
}

// dropped is how many UPDATEs of a peer the speaker of n1 has dropped.
func (p *plot) dropped(ctx context.Context, peer string) (count int) {
	p.t.Helper()
	return p.counted(ctx, "n1", "baliza_speaker_bgp_updates_dropped_total", peer)
}

// counted is the metric of a peer, by the speaker of a node.
func (p *plot) counted(ctx context.Context, node, metric, peer string) (count int) {
	p.t.Helper()
	out, err := p.Exec(ctx, node, "curl", "-sS", "--max-time", "5", "http://127.0.0.1:7473/metrics")
	p.must(err)
	for line := range strings.Lines(out) {
		var value float64
		if _, err := fmt.Sscanf(line, metric+`{peer="`+peer+`"} %g`, &value); err == nil {
			return int(value)
		}
	}
	return 0
}
