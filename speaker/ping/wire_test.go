package ping_test

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/ping"
)

// node is what the node of these tests is called on the LAN, which is a bridge of its
// own, and the addresses that it answers for without having them.
const (
	node4, node6     = "198.18.0.1", "2001:db8::1"
	first4, first6   = "198.18.0.100", "2001:db8::100"
	second4, second6 = "198.18.0.101", "2001:db8::101"
)

// answered are the pings that the table is to have answered.
func answered() (all []model.Ping) {
	for _, pair := range [][2]string{{first4, node4}, {second4, node4}, {first6, node6}, {second6, node6}} {
		all = append(all, model.Ping{Address: netip.MustParseAddr(pair[0]), Local: netip.MustParseAddr(pair[1])})
	}
	return all
}

// lan is the network: a client beside the node, one behind a router, and a pod on a
// cable of its own, whose end on the node has no address.
type lan struct {
	t                    *testing.T
	client, outside, pod *netnstest.Host
}

// newLAN makes it. What a speaker would say by ARP and NDP is told to the hosts'
// kernels; the node forwards, as every node of Kubernetes does.
func newLAN(t *testing.T) *lan {
	t.Helper()
	netnstest.Need(t)
	l := &lan{t, netnstest.NewHost(t), netnstest.NewHost(t), netnstest.NewHost(t)}
	for _, file := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+file, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	netnstest.Run(t, "ip link add lan address 02:00:00:00:00:01 type bridge")
	t.Cleanup(func() { netnstest.Run(t, "ip link del lan") })
	netnstest.Run(t, "ip link set lan up")
	for _, a := range []string{node4 + "/24", node6 + "/64 nodad"} {
		netnstest.Run(t, "ip addr add "+a+" dev lan")
	}
	for port, host := range map[string]*netnstest.Host{"port-c": l.client, "port-o": l.outside} {
		host.Plug(port, "")
		netnstest.Run(t, "ip link set "+port+" master lan")
	}
	l.client.Run("ip addr add 198.18.0.10/24 dev eth0")
	l.client.Run("ip addr add 2001:db8::10/64 dev eth0 nodad")
	// The router and who is behind it are one host: what it sends has a source
	// that is not on the LAN.
	l.outside.Run("ip addr add 198.18.0.254/24 dev eth0")
	l.outside.Run("ip addr add 2001:db8::254/64 dev eth0 nodad")
	l.outside.Run("ip addr add 203.0.113.10/32 dev lo")
	l.outside.Run("ip addr add 2001:db8:1::10/128 dev lo nodad")
	netnstest.Run(t, "ip route add default via 198.18.0.254")
	netnstest.Run(t, "ip -6 route add default via 2001:db8::254")
	l.plugPod()
	all := []string{first4, second4, first6, second6}
	l.client.Neighbors("eth0", "02:00:00:00:00:01", all...)
	l.outside.Neighbors("eth0", "02:00:00:00:00:01", all...)
	return l
}

func (l *lan) plugPod() {
	l.pod.Plug("pod", "address 02:00:00:00:00:05")
	netnstest.Run(l.t, "ip link set pod address 02:00:00:00:00:06")
	for family, pair := range map[string][2]string{"-4": {"203.0.113.129", "203.0.113.130"}, "-6": {"2001:db8:2::1", "2001:db8:2::2"}} {
		gateway, own := pair[0], pair[1]
		netnstest.Run(l.t, "ip "+family+" route add "+own+" dev pod")
		l.pod.Run("ip " + family + " addr add " + own + " dev eth0")
		l.pod.Run("ip " + family + " route add " + gateway + " dev eth0")
		l.pod.Run("ip " + family + " route add default via " + gateway)
		l.pod.Neighbors("eth0", "02:00:00:00:00:06", gateway)
		netnstest.Neighbors(l.t, "pod", "02:00:00:00:00:05", own)
	}
}

// capture runs tcpdump on a host; the function that is returned ends it, and returns
// its lines.
func (l *lan) capture(host *netnstest.Host) (end func() string) {
	l.t.Helper()
	var lines, status strings.Builder
	cmd := host.Command("tcpdump", "-i", "eth0", "-n", "-l", "--immediate-mode", "icmp or icmp6")
	cmd.Stdout, cmd.Stderr = &lines, &status
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	end = sync.OnceValue(func() string {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		return lines.String()
	})
	l.t.Cleanup(func() { end() })
	time.Sleep(500 * time.Millisecond) // until it listens
	return end
}

// noise are the messages that a client is told by who does not answer but forwards.
func noise(captured string) []string {
	return regexp.MustCompile(`(?m)^.*(?:redirect|unreachable|time exceeded).*$`).FindAllString(captured, -1)
}

// L23: without the rules the node's kernel sends redirects and "unreachable", which
// the witnesses of the next test see.
func TestL23_WithoutRulesTheKernelForwardsPing(t *testing.T) {
	l := newLAN(t)
	end := l.capture(l.client)
	for _, a := range []string{first4, first6} {
		if out, err := l.client.Try("ping -n -c 5 -i 1 -W 1 " + a); err == nil {
			t.Errorf("somebody answers: %s", out)
		}
	}
	captured := end()
	for _, what := range []string{"ICMP redirect", "ICMP host " + first4 + " unreachable", "ICMP6, redirect", "unreachable address " + first6} {
		if !strings.Contains(captured, what) {
			t.Errorf("no %q in:\n%s", what, captured)
		}
	}
}

// L23: by whomever it is sent, small or in fragments, a ping is answered by the very
// address, and nothing else is said.
func TestL23_PingIsAnsweredAndNothingElseIsSaid(t *testing.T) {
	l := newLAN(t)
	var table ping.Table
	t.Cleanup(table.Close)
	if err := table.Apply(answered()); err != nil {
		t.Fatal(err)
	}
	ends := []func() string{l.capture(l.client), l.capture(l.outside), l.capture(l.pod)}
	for _, from := range []struct {
		name    string
		host    func(...string) *exec.Cmd
		options [2]string // beside IPv4 and IPv6
	}{
		{"a client on the LAN", l.client.Command, [2]string{}},
		{"a client behind the router", l.outside.Command, [2]string{"-I 203.0.113.10", "-I 2001:db8:1::10"}},
		{"a pod of the node", l.pod.Command, [2]string{}},
		{"the node", func(words ...string) *exec.Cmd { return exec.Command(words[0], words[1:]...) }, [2]string{}},
	} {
		for family, a := range []string{first4, first6} {
			for _, size := range []string{"56", "8000"} {
				words := strings.Fields("ping -n -c 3 -i 0.2 -W 5 -s " + size + " " + from.options[family] + " " + a)
				out, err := from.host(words...).CombinedOutput()
				if err != nil || strings.Count(string(out), " bytes from "+a+": ") != 3 || strings.Contains(string(out), "DUP") {
					t.Errorf("%s, %s bytes: %v\n%s", from.name, size, err, out)
				}
			}
		}
	}
	for i, end := range ends {
		captured := end()
		if replies := strings.Count(captured, "echo reply"); replies < 6 {
			t.Errorf("witness %d: only %d replies were captured:\n%s", i, replies, captured)
		}
		if said := noise(captured); len(said) > 0 {
			t.Errorf("witness %d: the client was told as well:\n%s", i, strings.Join(said, "\n"))
		}
	}
}

// L23: what is asked with one identifier of several addresses, the node's own among
// them, as by fping, is told apart: they are one connection to whoever only looks at
// the node's address.
func TestL23_PingsOfOneIdentifierAreToldApart(t *testing.T) {
	l := newLAN(t)
	var table ping.Table
	t.Cleanup(table.Close)
	if err := table.Apply(answered()); err != nil {
		t.Fatal(err)
	}
	// One after the other, since two on one host would hear each other's replies;
	// connection tracking remembers each for half a minute.
	for range 2 {
		for _, a := range []string{first4, second4, node4, first6, second6, node6} {
			out, err := l.client.Try("ping -n -e 77 -c 2 -i 0.1 -W 5 " + a)
			if err != nil || strings.Count(out, " bytes from "+a+": ") != 2 || strings.Contains(out, "DIFFERENT") {
				t.Errorf("%v\n%s", err, out)
			}
		}
	}
}

// L23: who has asked in vain before, and goes on, is answered from then on: to a kernel
// that tracks connections, as every node of Kubernetes does, that is one connection.
func TestL23_APingThatWasForwardedIsAnswered(t *testing.T) {
	l := newLAN(t)
	netnstest.Run(t, "nft add table inet tracking")
	t.Cleanup(func() { netnstest.Run(t, "nft delete table inet tracking") })
	netnstest.Run(t, "nft add chain inet tracking nat { type nat hook prerouting priority dstnat; }")
	for family, local := range map[string]string{"ip": first4, "ip6": first6} {
		netnstest.Run(t, "nft add rule inet tracking nat "+family+" daddr "+local+" tcp dport 7 dnat "+family+" to "+local)
	}
	var table ping.Table
	t.Cleanup(table.Close)
	for _, a := range []string{first4, first6} {
		if out, err := l.client.Try("ping -n -e 78 -c 1 -W 1 " + a); err == nil {
			t.Errorf("somebody answers: %s", out)
		}
	}
	if tracked, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count"); err != nil || strings.TrimSpace(string(tracked)) < "2" {
		t.Errorf("connections that are tracked: %s, %v", tracked, err)
	}
	if err := table.Apply(answered()); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{first4, first6} {
		if out, err := l.client.Try("ping -n -e 78 -c 2 -i 0.2 -W 2 " + a); err != nil || strings.Contains(out, "edirect") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// L23: other requests than echo, and other protocols, go where they went before.
func TestL23_NothingButPingIsTouched(t *testing.T) {
	l := newLAN(t)
	var table ping.Table
	t.Cleanup(table.Close)
	if err := table.Apply(answered()); err != nil {
		t.Fatal(err)
	}
	// The node listens on all of its addresses, and this is none.
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	for to, reached := range map[string]bool{node4: true, first4: false, node6: true, first6: false} {
		out, err := l.client.Try("curl --silent --max-time 2 --output /dev/null http://" + net.JoinHostPort(to, port))
		if (err == nil) != reached {
			t.Errorf("a connection to %s: %v %s", to, err, out)
		}
	}
}
