package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/e2e/lab"
)

// Answer is what a host said on the LAN about one address: that it has it.
type Answer struct {
	Time    time.Time
	Address netip.Addr
	// Node that said so; the MAC of a host that the lab does not know.
	Node string
	// Asked tells an answer to the host that listens from an announcement.
	Asked bool
}

// Watch writes down with tcpdump who says on the LAN that it has which address.
type Watch struct {
	c       *Cluster
	capture *lab.Capture
	mac     string
}

// Watch begins to listen on a host.
func (c *Cluster) Watch(ctx context.Context, host string) (*Watch, error) {
	h, err := c.Host(host)
	if err != nil {
		return nil, err
	}
	const advertisements = "arp or (icmp6 and ip6[40] == 136)"
	capture, err := c.Capture(ctx, host, advertisements)
	if err != nil {
		return nil, err
	}
	return &Watch{c, capture, h.MAC.String()}, nil
}

// Answers are what was heard so far.
func (w *Watch) Answers() []Answer { return w.read(w.capture.Packets()) }

// Stop ends it and returns all that was heard.
func (w *Watch) Stop() []Answer { return w.read(w.capture.Stop()) }

func (w *Watch) read(packets []lab.Packet) []Answer {
	var all []Answer
	for _, p := range packets {
		from, rest, _ := strings.Cut(p.Text, " > ")
		to, _, _ := strings.Cut(rest, ", ")
		if a, ok := claimed(rest); ok && from != w.mac {
			all = append(all, Answer{p.Time, a, w.c.nodeOf(from), to == w.mac})
		}
	}
	return all
}

// claimed is the address that the sender of a packet says it has, by tcpdump's
// description of the packet.
func claimed(text string) (netip.Addr, bool) {
	for _, before := range []string{": Reply ", ": Announcement ", "neighbor advertisement, tgt is "} {
		if _, rest, ok := strings.Cut(text, before); ok {
			a, err := netip.ParseAddr(strings.TrimSuffix(strings.Fields(rest)[0], ","))
			return a, err == nil
		}
	}
	// Other releases of tcpdump describe an announcement as the request that it is.
	_, rest, ok := strings.Cut(text, ": Request who-has ")
	words := strings.Fields(rest)
	if !ok || len(words) == 0 || !strings.Contains(rest, " tell "+words[0]+",") {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(words[0])
	return a, err == nil
}

// Move of an address from one node to another, as the LAN was told.
type Move struct {
	Time     time.Time
	Address  netip.Addr
	From, To string
}

func (m Move) String() string {
	return fmt.Sprintf("%s from %s to %s at %s", m.Address, m.From, m.To, m.Time.Format("05.000"))
}

// Moves are the answers by which an address was said to be another node's than
// before.
func Moves(answers []Answer, addresses []netip.Addr) (moves []Move) {
	last := map[netip.Addr]string{}
	for _, a := range answers {
		if !slices.Contains(addresses, a.Address) {
			continue
		}
		if before := last[a.Address]; before != "" && before != a.Node {
			moves = append(moves, Move{a.Time, a.Address, before, a.Node})
		}
		last[a.Address] = a.Node
	}
	return moves
}

// Ask lets a host ask everybody for an address, as a kernel does, that many times,
// and does not wait for longer than the given time for each answer.
func (c *Cluster) Ask(ctx context.Context, host string, a netip.Addr, times int, wait time.Duration) error {
	script := fmt.Sprintf("arping -i eth0 -c %d -W %g -r %s", times, wait.Seconds(), a)
	if a.Is6() {
		script = fmt.Sprintf("for i in $(seq %d); do ndisc6 -m -r 1 -w %d -q %s eth0; done", times, wait.Milliseconds(), a)
	}
	_, err := c.Exec(ctx, host, "sh", "-c", script+" >/dev/null; true")
	return err
}

// WaitSpeakers waits until all speakers hear each other.
func (c *Cluster) WaitSpeakers(ctx context.Context) error {
	nodes := 0
	for _, h := range c.Hosts() {
		if strings.HasPrefix(h.Name, "n") {
			nodes++
		}
	}
	return lab.WaitFor(ctx, "all speakers to hear each other", func() (bool, error) {
		list, err := c.Baliza.BalizaV1beta1().Speakers().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // the API server may be away for a moment
		}
		whole := 0
		for i := range list.Items {
			if int(list.Items[i].Status.MembersAlive) == nodes {
				whole++
			}
		}
		return whole == nodes, nil
	})
}

// Speaker is the process of the speaker on a node.
func (c *Cluster) Speaker(node string) (*lab.Process, error) {
	for _, p := range c.Processes(node) {
		if strings.Contains(p.Name, "/baliza-speaker-") {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no speaker runs on %s", node)
}
