package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/bfd"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/delivery"
	"github.com/baliza-lb/baliza/speaker/ethernet"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/members/detection"
)

// The tests of this file run speakers as processes, each in a network
// namespace of its own, on one bridge. Only the API server is not real: a
// speaker reads its cluster from a file. The lab has the rest.

const (
	asNode  = "BALIZA_TEST_NODE"    // this process is the speaker of that node
	ofWorld = "BALIZA_TEST_CLUSTER" // the directory with what speakers share
)

func TestMain(m *testing.M) {
	if os.Getenv(asNode) == "" {
		os.Exit(netnstest.Main(m))
	}
	if err := beNode(os.Getenv(asNode), os.Getenv(ofWorld)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// paper is a cluster that stands in a file.
type paper struct {
	Nodes     []string
	Addresses []string
	Balancing v1beta1.Balancing
	// Profile of the membership; "" is the default. With it a machine that lets a
	// process wait for 150 ms makes the others believe that a node is gone, and
	// what that one had moves. A test of what may not move takes
	// detection.ProfileTolerant.
	Profile string
	changes chan struct{}
	taken   bool
}

func (p *paper) Synced() bool             { return true }
func (p *paper) Changes() <-chan struct{} { return p.changes }

func (p *paper) Take() kube.SpeakerChanges {
	changes := kube.SpeakerChanges{Nodes: true, Config: true, Members: true, Services: map[string]struct{}{}}
	if p.taken {
		return kube.SpeakerChanges{}
	}
	p.taken = true
	for _, a := range p.Addresses {
		changes.Services["default/"+a] = struct{}{}
	}
	return changes
}

func (p *paper) Service(key string) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	name := strings.TrimPrefix(key, "default/")
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	service.Spec.Type = corev1.ServiceTypeLoadBalancer
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: name}}
	var slices []*discoveryv1.EndpointSlice
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		slices = append(slices, &discoveryv1.EndpointSlice{AddressType: family, Endpoints: []discoveryv1.Endpoint{{}}})
	}
	return service, slices
}

type paperObjects struct{ *paper }

func (p paperObjects) BGP() kube.BGPObjects           { return kube.BGPObjects{} }
func (p paperObjects) Password(string) (string, bool) { return "", false }
func (p paperObjects) WatchOtherServices() error      { return nil }

func (p paperObjects) Nodes() []*corev1.Node { return nil }

func (p paperObjects) Pools() []*v1beta1.IPAddressPool {
	return []*v1beta1.IPAddressPool{{
		ObjectMeta: metav1.ObjectMeta{Name: "lan"},
		Spec:       v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"198.18.0.0/15", "2001:db8::/64"}},
	}}
}

func (p paperObjects) L2Advertisements() []*v1beta1.L2Advertisement {
	return []*v1beta1.L2Advertisement{{
		ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1beta1.L2AdvertisementSpec{Balancing: p.Balancing},
	}}
}

func (p paperObjects) Members() (all []*v1beta1.Member, own *v1beta1.Speaker) {
	for i, name := range p.paper.Nodes {
		s := &v1beta1.Member{ObjectMeta: metav1.ObjectMeta{Name: name}}
		s.Status.MemberAddress = netip.AddrPortFrom(nodeAddress(i+1), 7946).String()
		all = append(all, s)
	}
	return all, &v1beta1.Speaker{}
}

func nodeAddress(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 255, byte(n)}) }

// mute is a reporter that writes nowhere.
type mute struct{}

func (mute) Report(v1beta1.SpeakerStatus, types.UID) {}
func (mute) Lost()                                   {}

// noBGP is a node's BGP without peers.
func noBGP() *routes { return &routes{node: "n1", sessions: bgp.NewFake(), paths: noBFD{}} }

type noBFD struct{}

func (noBFD) Configure(map[string]bfd.Profile) {}

// beNode is the speaker of a node, once the LAN has put eth0 into its
// namespace and says so on standard input.
func beNode(name, directory string) error {
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	text, err := os.ReadFile(filepath.Join(directory, "cluster.json"))
	if err != nil {
		return err
	}
	p := &paper{changes: make(chan struct{}, 1)}
	if err := json.Unmarshal(text, p); err != nil {
		return err
	}
	number, _ := strconv.Atoi(strings.TrimPrefix(name, "n"))
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", name)
	links, err := link.New(log)
	if err != nil {
		return err
	}
	settings, err := detection.Profile(cmp.Or(p.Profile, detection.ProfileDefault))
	if err != nil {
		return err
	}
	segments := ethernet.New(log)
	group, err := members.Start(members.Config{
		LAN: segments, Name: name, Listen: netip.AddrPortFrom(nodeAddress(number), 7946), KeyFile: filepath.Join(directory, "key"),
		Settings: settings, Logger: log,
	})
	if err != nil {
		return err
	}
	segments.Attach(group)
	s := newSpeaker(dependencies{
		delivery: delivery.New(netip.Addr{}),
		log:      log, node: name, serveClassless: true, cluster: paperObjects{p}, members: group, lan: segments, links: links,
		responder: l2.New(), reports: mute{}, routes: noBGP(),
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	background, end := context.WithCancel(context.Background())
	defer end()
	go links.Run(background)
	return errors.Join(s.run(ctx), s.depart(800*time.Millisecond))
}

// ceiling catches a hang; what is waited for takes a second, or some on a machine
// that does much else.
const ceiling = time.Minute

// elsewhere is where the client believes the addresses to be until it is told
// better, as after a failure.
const elsewhere = "02:aa:aa:aa:aa:aa"

// lan is a bridge with nodes on it; the test is the client, on the bridge.
type lan struct {
	t         *testing.T
	directory string
	planned   int // nodes
	nodes     map[string]*lanNode
}

type lanNode struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	mac   string
}

func newLAN(t *testing.T, nodes int, addresses ...string) *lan {
	t.Helper()
	return newLANOf(t, nodes, paper{Addresses: addresses})
}

func newLANOf(t *testing.T, nodes int, p paper) *lan {
	t.Helper()
	l := layLAN(t, nodes, p)
	l.startAll()
	return l
}

// layLAN makes one whose nodes are still to be started.
func layLAN(t *testing.T, nodes int, p paper) *lan {
	t.Helper()
	netnstest.Need(t)
	l := &lan{t: t, directory: t.TempDir(), nodes: map[string]*lanNode{}}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	l.write("key", []byte(base64.StdEncoding.EncodeToString(key)))
	for i := range nodes {
		p.Nodes = append(p.Nodes, fmt.Sprintf("n%d", i+1))
	}
	text, err := json.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	l.write("cluster.json", text)
	l.ip("link add br0 address 02:00:00:00:00:fe type bridge") // or it would follow its ports'
	t.Cleanup(func() { l.ip("link del br0") })
	l.ip("link set br0 up")
	l.ip("addr add 198.18.255.254/15 dev br0")
	l.ip("addr add 2001:db8::254/64 dev br0 nodad")
	netnstest.Neighbors(t, "br0", elsewhere, p.Addresses...)
	l.planned = nodes
	return l
}

func (l *lan) startAll() {
	l.t.Helper()
	for i := range l.planned {
		l.start(i + 1)
	}
}

func (l *lan) write(name string, text []byte) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.directory, name), text, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lan) ip(args string) {
	l.t.Helper()
	l.run("ip " + args)
}

func (l *lan) run(command string) string {
	l.t.Helper()
	return netnstest.Run(l.t, command)
}

// start plugs a node in and starts its speaker.
func (l *lan) start(number int) {
	l.t.Helper()
	name := fmt.Sprintf("n%d", number)
	n := &lanNode{cmd: netnstest.Isolated(), mac: fmt.Sprintf("02:00:00:00:00:%02x", number)}
	n.cmd.Env = append(os.Environ(), asNode+"="+name, ofWorld+"="+l.directory)
	n.cmd.Stderr = l.t.Output()
	stdin, err := n.cmd.StdinPipe()
	if err == nil {
		err = n.cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	n.stdin = stdin
	host := netnstest.In(l.t, n.cmd.Process.Pid)
	host.Plug("v"+name, "address "+n.mac)
	l.ip("link set v" + name + " master br0")
	host.Run("ip link set lo up")
	host.Run(fmt.Sprintf("ip addr add %s/15 dev eth0", nodeAddress(number)))
	l.nodes[name] = n
	l.t.Cleanup(func() { l.kill(name) })
	_, _ = io.WriteString(stdin, "go\n")
}

func (l *lan) kill(name string) {
	n := l.nodes[name]
	if n == nil {
		return
	}
	delete(l.nodes, name)
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	_, _ = netnstest.Try("ip link del v" + name)
}

// owner returns the node that the client's neighbor table points to, or "".
func (l *lan) owner(address string) string {
	out := l.run("ip neigh show " + address)
	for name, n := range l.nodes {
		if strings.Contains(out, n.mac) {
			return name
		}
	}
	return ""
}

// ask makes the client resolve an address afresh.
func (l *lan) ask(address string) {
	_, _ = netnstest.Try("ip neigh del " + address + " dev br0")
	if c, err := net.Dial("udp", net.JoinHostPort(address, "9")); err == nil {
		_, _ = c.Write([]byte("?"))
		_ = c.Close()
	}
}

// await waits for an owner, asking again and again if active is set.
func (l *lan) await(address string, active bool, want func(string) bool) (string, time.Duration) {
	l.t.Helper()
	begin := time.Now()
	for i := 0; ; i++ {
		if active && i%20 == 0 {
			l.ask(address)
		}
		if owner := l.owner(address); want(owner) {
			return owner, time.Since(begin)
		}
		if time.Since(begin) > ceiling {
			l.t.Fatalf("%s: nobody suitable; the client sees %q; its neighbors: %s", address, l.owner(address), l.run("ip neigh"))
		}
		time.Sleep(3 * time.Millisecond)
	}
}

// settle waits until exactly one node answers for an address, and goes on being
// the one, and returns it.
func (l *lan) settle(address string) string {
	l.t.Helper()
	l.await(address, true, somebody)
	time.Sleep(2500 * time.Millisecond) // all announcements but the reminders are over
	only := l.only(address)
	l.ask(address)
	l.await(address, false, func(owner string) bool { return owner == only })
	return only
}

// only asks until the same node alone has answered twice, and returns it. On a
// busy machine an answer may come too late to be seen.
func (l *lan) only(address string) string {
	l.t.Helper()
	var before []string
	for begin := time.Now(); ; {
		answers := l.answers(address)
		if len(answers) == 1 && slices.Equal(answers, before) {
			return answers[0]
		}
		if before = answers; time.Since(begin) > ceiling {
			l.t.Fatalf("%v answer for %s", answers, address)
		}
	}
}

// answers asks everybody, and returns the nodes that answer in time.
func (l *lan) answers(address string) []string {
	l.t.Helper()
	witness := "ndisc6 -m -r 1 -w 300 " + address + " br0"
	if !strings.Contains(address, ":") {
		witness = "arping -c 1 -w 0.5 -I br0 " + address
	}
	out, _ := netnstest.Try(witness) // fails when nobody answers
	out = strings.ToLower(out)
	var answers []string
	for name, n := range l.nodes {
		if strings.Contains(out, n.mac) {
			answers = append(answers, name)
		}
	}
	return answers
}

func somebody(owner string) bool { return owner != "" }

func butNot(name string) func(string) bool {
	return func(owner string) bool { return owner != "" && owner != name }
}
