package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/baliza-lb/baliza/e2e/lab"
)

func intstrFrom(port int) intstr.IntOrString { return intstr.FromInt(port) }

var hardwareAddress = regexp.MustCompile(`(?i)\b(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}\b`)

// Answerers are the nodes that answer a question for the address, asked from a
// client by arping or ndisc6: empty when nobody does, more than one when two
// owners do. An answer from a MAC that no node has is returned as that MAC.
func (c *Cluster) Answerers(ctx context.Context, host string, a netip.Addr) ([]string, error) {
	out, err := c.ask(ctx, host, a)
	if err != nil {
		return nil, err
	}
	var nodes []string
	for _, text := range hardwareAddress.FindAllString(out, -1) {
		nodes = append(nodes, c.nodeOf(text))
	}
	slices.Sort(nodes)
	return slices.Compact(nodes), nil
}

// ask runs the other host that fits the family. Both exit with a failure when
// there is no answer, which is an answer here.
func (c *Cluster) ask(ctx context.Context, host string, a netip.Addr) (string, error) {
	argv := []string{"arping", "-i", "eth0", "-c", "2", "-W", "0.3", "-r", a.String()}
	if a.Is6() {
		argv = []string{"ndisc6", "-m", "-r", "2", "-w", "300", "-q", a.String(), "eth0"}
	}
	out, err := c.Exec(ctx, host, "sh", "-c", strings.Join(argv, " ")+"; [ $? -lt 126 ]")
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", a, err)
	}
	return out, nil
}

func (c *Cluster) nodeOf(text string) string {
	for _, h := range c.Hosts() {
		if sameMAC(h.MAC.String(), text) {
			return h.Name
		}
	}
	return text
}

// sameMAC compares two spellings; ndisc6 writes upper case without leading
// zeros lost, arping lower case.
func sameMAC(a, b string) bool {
	pad := func(s string) string {
		parts := strings.Split(strings.ToLower(s), ":")
		for i, p := range parts {
			if len(p) == 1 {
				parts[i] = "0" + p
			}
		}
		return strings.Join(parts, ":")
	}
	return pad(a) == pad(b)
}

// WaitOwner waits until exactly one node answers for the address and returns
// it.
func (c *Cluster) WaitOwner(ctx context.Context, host string, a netip.Addr) (string, error) {
	var last []string
	err := lab.WaitFor(ctx, fmt.Sprintf("one node to answer for %s", a), func() (bool, error) {
		nodes, err := c.Answerers(ctx, host, a)
		last = nodes
		return len(nodes) == 1, err
	})
	if err != nil {
		return "", fmt.Errorf("%w (last answers: %v)", err, last)
	}
	return last[0], nil
}

// Neighbor is the MAC that a stock Linux host has in its table for the
// address, and the name of the host that it belongs to.
func (c *Cluster) Neighbor(ctx context.Context, host string, a netip.Addr) (string, error) {
	out, err := c.Exec(ctx, host, "ip", "neigh", "show", a.String())
	if err != nil {
		return "", err
	}
	found := hardwareAddress.FindString(out)
	if found == "" {
		return "", nil
	}
	return c.nodeOf(found), nil
}

// Settle is how long a negative is watched before it is believed: nobody
// answers, nothing changes.
const Settle = 1500 * time.Millisecond
