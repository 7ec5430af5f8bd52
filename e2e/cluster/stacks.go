package cluster

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/e2e/lab"
)

// Makes of BGP implementations that the lab has.
const (
	FRR      = "FRR"
	BIRD     = "BIRD"
	OpenBGPD = "OpenBGPD"
	GoBGP    = "GoBGP"
	ExaBGP   = "ExaBGP"
)

// Makes are all of them.
func Makes() []string { return []string{FRR, BIRD, OpenBGPD, GoBGP, ExaBGP} }

//go:embed stacks
var stackConfigs embed.FS

// StackConfig is how a router of any make is set up.
type StackConfig struct {
	// ASN of the node. Password (TCP MD5) may be empty.
	ASN             int64
	Password        string
	GracefulRestart bool

	// What the lab fills in.
	Nodes         []netip.Addr
	Node, Address netip.Addr
	RouterASN     int
	Dir           string
	Families      []string
}

// Stack is a router of any make. It waits for the nodes' connections and takes both
// families.
type Stack struct {
	*Router
	kind string
	node netip.Addr
}

// Stack starts a router of that make on a host, for nodes. Only OpenBGPD's is for
// more than one.
func (c *Cluster) Stack(ctx context.Context, kind, host string, config StackConfig, nodes ...string) (*Stack, error) {
	h, err := c.Host(host)
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		n, err := c.Host(node)
		if err != nil {
			return nil, err
		}
		config.Nodes = append(config.Nodes, n.IPv4)
	}
	dir, err := c.Dir(host + "-" + strings.ToLower(kind))
	if err != nil {
		return nil, err
	}
	config.Node, config.Address, config.RouterASN, config.Dir = config.Nodes[0], h.IPv4, RouterASN, dir
	config.Families = []string{"ipv4", "ipv6"}
	text, err := template.ParseFS(stackConfigs, "stacks/"+strings.ToLower(kind)+".conf")
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	if err := text.Execute(&out, config); err != nil {
		return nil, err
	}
	s := &Stack{kind: kind, node: config.Node}
	switch kind {
	case FRR:
		s.Router, err = c.FRR(ctx, host, out.String())
	case BIRD:
		s.Router, err = c.BIRD(ctx, host, out.String())
	default:
		if s.Router, err = c.router(host, strings.ToLower(kind), out.String()); err == nil {
			err = s.start(ctx)
		}
	}
	return s, err
}

// gobgpAPI is where gobgpd takes commands, on its own host.
const gobgpAPI = "127.0.0.1:50051"

// start runs what is neither FRR nor BIRD, and waits until it takes commands.
func (s *Stack) start(ctx context.Context) error {
	// It changes its root to its user's home, which the unit of systemd makes.
	argv := []string{"sh", "-c", `mkdir -p "$(getent passwd _openbgpd | cut -d: -f6)" && exec /usr/sbin/bgpd -d -f "$0"`, s.file("openbgpd.conf")}
	switch s.kind {
	case GoBGP:
		argv = []string{filepath.Join(lab.BinDir(), "gobgpd"), "-f", s.file("gobgp.conf"), "-t", "toml", "--api-hosts", gobgpAPI}
	case ExaBGP:
		if err := s.prepareExaBGP(); err != nil {
			return err
		}
		argv = []string{
			"env", "exabgp.tcp.bind=" + s.Host.IPv4.String(), "exabgp.tcp.port=179", "exabgp.daemon.user=root", "exabgp.api.cli=false",
			"exabgp.log.destination=stdout", "exabgp", s.file("exabgp.conf"),
		}
	}
	if err := s.run(s.Daemon(), argv...); err != nil {
		return err
	}
	return lab.WaitFor(ctx, s.kind+" on "+s.Host.Name, func() (bool, error) {
		_, err := s.Show(ctx, netip.PrefixFrom(s.node, s.node.BitLen()))
		return err == nil, nil
	})
}

// Daemon is the name of the program that speaks BGP.
func (s *Stack) Daemon() string {
	return map[string]string{FRR: "bgpd", BIRD: "bird", OpenBGPD: "openbgpd", GoBGP: "gobgpd", ExaBGP: "exabgp"}[s.kind]
}

// Freeze stops the router without ending it, or lets it go on. OpenBGPD keeps its
// sessions in a child.
func (s *Stack) Freeze(frozen bool) error {
	signal := unix.SIGCONT
	if frozen {
		signal = unix.SIGSTOP
	}
	name := s.Host.Name + "/" + s.Daemon()
	all := s.c.Processes(s.Host.Name)
	i := slices.IndexFunc(all, func(one *lab.Process) bool { return one.Name == name })
	if i < 0 {
		return fmt.Errorf("no process %s", name)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", all[i].PID, all[i].PID))
	if err != nil {
		return err
	}
	for _, text := range append(strings.Fields(string(children)), strconv.Itoa(all[i].PID)) {
		pid, err := strconv.Atoi(text)
		if err == nil {
			err = unix.Kill(pid, signal)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// prepareExaBGP makes ExaBGP's counterpart: a script that writes down what it
// says, and hands on the commands in a file.
func (s *Stack) prepareExaBGP() error {
	heard, commands := s.file("heard"), s.file("commands")
	for _, file := range []string{heard, commands} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
	}
	script := fmt.Sprintf("tail -n +1 -f %s &\nexec cat >>%s\n", commands, heard)
	return os.WriteFile(s.file("heard.sh"), []byte(script), 0o600)
}

// bgpctl runs a command of OpenBGPD, gobgp one of GoBGP.
func (s *Stack) bgpctl(ctx context.Context, args ...string) (string, error) {
	return s.c.Exec(ctx, s.Host.Name, append([]string{"bgpctl", "-s", s.file("bgpd.sock")}, args...)...)
}

func (s *Stack) gobgp(ctx context.Context, args ...string) (string, error) {
	return s.c.Exec(ctx, s.Host.Name, append([]string{filepath.Join(lab.BinDir(), "gobgp"), "-u", "127.0.0.1", "-p", "50051"}, args...)...)
}

// Show returns the router's own words about a prefix.
func (s *Stack) Show(ctx context.Context, p netip.Prefix) (string, error) {
	family := "ipv4"
	if p.Addr().Is6() {
		family = "ipv6"
	}
	switch s.kind {
	case FRR:
		return s.Vtysh(ctx, fmt.Sprintf("show bgp %s unicast %s", family, p))
	case BIRD:
		return s.Birdc(ctx, "show route all for "+p.String())
	case OpenBGPD:
		return s.bgpctl(ctx, "show", "rib", p.String())
	case GoBGP:
		out, err := s.gobgp(ctx, "global", "rib", "-a", family, p.String())
		if err != nil && strings.Contains(err.Error(), "Network not in table") {
			return "", nil
		}
		return out, err
	}
	return s.exabgpKnows(p)
}

// exabgpSaid is one of ExaBGP's lines: what a neighbor announced and withdrew, by
// family and next hop, or what became of its session.
type exabgpSaid struct {
	Type     string `json:"type"`
	Neighbor struct {
		State   string `json:"state"`
		Message struct {
			Update struct {
				Announce map[string]map[string][]exabgpNLRI `json:"announce"`
				Withdraw map[string][]exabgpNLRI            `json:"withdraw"`
			} `json:"update"`
		} `json:"message"`
	} `json:"neighbor"`
}

// exabgpNLRI is a prefix in ExaBGP's words.
type exabgpNLRI struct {
	NLRI string `json:"nlri"`
}

// exabgpKnows is the next hop of a prefix. ExaBGP keeps no table: it follows from
// all that it has said.
func (s *Stack) exabgpKnows(p netip.Prefix) (string, error) {
	out, err := os.ReadFile(s.file("heard"))
	if err != nil {
		return "", err
	}
	known := ""
	for line := range strings.Lines(string(out)) {
		var said exabgpSaid
		if !strings.HasSuffix(line, "\n") || json.Unmarshal([]byte(line), &said) != nil {
			continue // half written, or the answer to a command
		}
		if said.Neighbor.State == "down" {
			known = ""
		}
		for _, gone := range said.Neighbor.Message.Update.Withdraw {
			if slices.Contains(gone, exabgpNLRI{p.String()}) {
				known = ""
			}
		}
		for _, hops := range said.Neighbor.Message.Update.Announce {
			for hop, all := range hops {
				if slices.Contains(all, exabgpNLRI{p.String()}) {
					known = hop
				}
			}
		}
	}
	return known, nil
}

// Knows reports whether the router has a path to a prefix with that next hop.
func (s *Stack) Knows(ctx context.Context, p netip.Prefix, hop string) (bool, error) {
	out, err := s.Show(ctx, p)
	return slices.Contains(strings.FieldsFunc(out, func(r rune) bool { return strings.ContainsRune(" \t\n,()[]", r) }), hop), err
}

// Refresh makes the router ask for all routes again (RFC 2918), and reports whether
// it can: GoBGP answers a ROUTE-REFRESH and never sends one.
func (s *Stack) Refresh(ctx context.Context) (asked bool, err error) {
	node := s.node.String()
	switch s.kind {
	case FRR:
		_, err = s.Vtysh(ctx, "clear bgp ipv4 unicast "+node+" soft in")
	case BIRD:
		_, err = s.Birdc(ctx, "reload in n1")
	case OpenBGPD:
		_, err = s.bgpctl(ctx, "neighbor", node, "refresh")
	case GoBGP:
		return false, nil
	default:
		err = s.command("neighbor " + node + " announce route-refresh ipv4 unicast")
	}
	return true, err
}

// command hands one to ExaBGP.
func (s *Stack) command(text string) error {
	file, err := os.OpenFile(s.file("commands"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text + "\n")
	return errors.Join(err, file.Close())
}

// Shut ends the node's session for good, as an administrator does, with these words
// where the router has a way to say them (RFC 9003). It reports whether it has.
func (s *Stack) Shut(ctx context.Context, words string) (said bool, err error) {
	node := s.node.String()
	switch s.kind {
	case FRR:
		_, err = s.Vtysh(ctx, "configure terminal", fmt.Sprintf("router bgp %d", RouterASN), "neighbor "+node+" shutdown message "+words)
	case BIRD:
		_, err = s.c.Exec(ctx, s.Host.Name, "birdc", "-s", s.file("bird.ctl"), "disable", "n1", `"`+words+`"`)
	case OpenBGPD:
		_, err = s.bgpctl(ctx, "neighbor", node, "down", words)
	case GoBGP:
		_, err = s.gobgp(ctx, "neighbor", node, "disable") // it would take words, and drop them
		return false, err
	default:
		return false, s.command("neighbor " + node + " teardown 2")
	}
	return true, err
}
