package plan_test

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

var update = flag.Bool("update", false, "write the golden files")

// TestScenarios runs testdata/*.txt. Each line is a command: those that change
// the world, and "plan", after which stands what the nodes then do, as lines
// that begin with ">". With -update these are written.
//
//	node NAME [label=VALUE …] [taint=KEY] [condition=TYPE]
//	pool NAME RANGE…              advertise NAME [pools=A,B] [nodes=label:VALUE] [services=label:VALUE] [interfaces=A,B] [per-client] [failback]
//	                              [prefer=label:VALUE] [ping]
//	service NAME ADDRESS,… [local] [pool=NAME] [on=NODE] [label=VALUE …] [ready=NODE,…] [terminating=NODE,…] [down=NODE,…] [family=IPv4|IPv6]
//	alive NODE…                   interfaces NAME[:usable|:down][=PREFIX,…]…
//	links NODE NAME[:suitable|:down|:unplugged][=PREFIX,…]…
//	                              (instead of interfaces, and told to all but what is unplugged; the name "suitable" is eth0:suitable)
//	owner ADDRESS NODE            (nobody for "-")
//	unable ADDRESS [NODE…]        yielded NODE [ADDRESS…]
//	delete KIND NAME
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after := newWorld(t).run(string(before))
			if *update {
				if err := os.WriteFile(file, []byte(after), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if after != string(before) {
				t.Errorf("the scenario ends otherwise; got:\n%s", after)
			}
		})
	}
}

type world struct {
	t          *testing.T
	nodes      map[string]*corev1.Node
	pools      map[string]*v1beta1.IPAddressPool
	advertised map[string]*v1beta1.L2Advertisement
	services   map[string]plan.Service
	alive      []string
	interfaces []model.Interface
	owners     map[netip.Addr]string
	links      map[string][]model.Link
	// unplugged are each node's interfaces that are there and that it tells
	// nobody of.
	unplugged map[string][]model.Interface
	unable    map[netip.Addr][]string
	yielded   map[string]map[netip.Addr]bool
	// ignoreLabel is what --ignore-exclude-label says.
	ignoreLabel bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{
		t: t, nodes: map[string]*corev1.Node{}, pools: map[string]*v1beta1.IPAddressPool{}, advertised: map[string]*v1beta1.L2Advertisement{},
		services: map[string]plan.Service{}, owners: map[netip.Addr]string{}, links: map[string][]model.Link{},
		unplugged: map[string][]model.Interface{}, unable: map[netip.Addr][]string{}, yielded: map[string]map[netip.Addr]bool{},
		interfaces: []model.Interface{{Name: "eth0", Usable: true, Suitable: true}},
	}
}

func (w *world) run(script string) string {
	var out strings.Builder
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, ">") {
			continue
		}
		out.WriteString(line)
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(line, "#"):
		case words[0] == "plan":
			out.WriteString(w.plan())
		default:
			w.command(words[0], words[1:])
		}
	}
	return out.String()
}

func (w *world) command(name string, args []string) {
	switch name {
	case "node":
		w.nodes[args[0]] = node(args[0], args[1:])
	case "pool":
		pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}
		for _, r := range args[1:] {
			pool.Spec.Addresses = append(pool.Spec.Addresses, v1beta1.AddressRange(r))
		}
		w.pools[args[0]] = pool
	case "advertise":
		w.advertised[args[0]] = advertisement(args[0], args[1:])
	case "service":
		w.services[args[0]] = service(args[0], args[1], args[2:])
	case "ignore-exclude-label":
		w.ignoreLabel = true
	case "alive":
		w.alive = args
	case "owner":
		w.owners[netip.MustParseAddr(args[0])] = args[1]
		if args[1] == "-" {
			delete(w.owners, netip.MustParseAddr(args[0]))
		}
	case "unable":
		w.unable[netip.MustParseAddr(args[0])] = args[1:]
	case "yielded":
		w.yielded[args[0]] = map[netip.Addr]bool{}
		for _, arg := range args[1:] {
			w.yielded[args[0]][netip.MustParseAddr(arg)] = true
		}
	case "interfaces":
		w.interfaces = nil
		for _, arg := range args {
			w.interfaces = append(w.interfaces, anInterface(arg))
		}
	case "links":
		w.link(args[0], args[1:])
	case "delete":
		delete(w.nodes, args[1])
		delete(w.pools, args[1])
		delete(w.services, args[1])
		delete(w.advertised, args[1])
		delete(w.links, args[1])
	default:
		w.t.Fatalf("unknown command %q", name)
	}
}

func (w *world) link(node string, args []string) {
	w.links[node], w.unplugged[node] = nil, nil
	for _, arg := range args {
		name, state, addrs := interfaceOf(arg)
		one := model.Link{Name: name, Usable: state != "down", Suitable: state == "suitable", Addrs: addrs}
		if name == "suitable" {
			one.Name, one.Suitable = "eth0", one.Usable
		}
		if state == "unplugged" {
			w.unplugged[node] = append(w.unplugged[node], model.Interface{Name: name, Addrs: addrs, Why: "is down or has no carrier"})
			continue
		}
		w.links[node] = append(w.links[node], one)
	}
}

// interfaceOf reads NAME[:STATE][=PREFIX,…].
func interfaceOf(arg string) (name, state string, addrs []netip.Prefix) {
	name, prefixes, _ := strings.Cut(arg, "=")
	name, state, _ = strings.Cut(name, ":")
	for text := range strings.FieldsFuncSeq(prefixes, func(r rune) bool { return r == ',' }) {
		addrs = append(addrs, netip.MustParsePrefix(text))
	}
	return name, state, addrs
}

// anInterface is one that is suitable unless its state is "usable" or "down".
func anInterface(arg string) model.Interface {
	name, state, addrs := interfaceOf(arg)
	i := model.Interface{Name: name, Usable: state != "down", Suitable: state == "", Addrs: addrs}
	if !i.Usable {
		i.Why = "is down or has no carrier"
	}
	return i
}

func node(name string, args []string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "taint":
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: value, Effect: corev1.TaintEffectNoSchedule})
		case "condition":
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(value), Status: corev1.ConditionTrue})
		case "cordon":
			n.Spec.Unschedulable = true
		default:
			n.Labels[key] = value
		}
	}
	return n
}

func advertisement(name string, args []string) *v1beta1.L2Advertisement {
	a := &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: name}}
	selector := func(value string) []metav1.LabelSelector {
		label, is, _ := strings.Cut(value, ":")
		return []metav1.LabelSelector{{MatchLabels: map[string]string{label: is}}}
	}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "pools":
			a.Spec.IPAddressPools = strings.Split(value, ",")
		case "per-client":
			a.Spec.Balancing = v1beta1.BalancePerClient
		case "ping":
			a.Spec.AnswerPing = true
		case "failback":
			a.Spec.Failback = v1beta1.FailbackImmediate
		case "prefer":
			a.Spec.PreferredNodes = []v1beta1.PreferredNode{{Weight: 1, NodeSelector: selector(value)[0]}}
		case "interfaces":
			a.Spec.Interfaces = strings.Split(value, ",")
		case "nodes":
			a.Spec.NodeSelectors = selector(value)
		case "services":
			a.Spec.ServiceSelectors = selector(value)
		}
	}
	return a
}

func service(name, addresses string, args []string) plan.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{}, Annotations: map[string]string{}}}
	for a := range strings.SplitSeq(addresses, ",") {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	families := []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}
	var endpoints []discoveryv1.Endpoint
	add := func(nodes string, ready, serving, terminating bool) {
		for name := range strings.SplitSeq(nodes, ",") {
			e := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}}
			if name != "?" {
				e.NodeName = &name
			}
			endpoints = append(endpoints, e)
		}
	}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "local":
			s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		case "pool":
			s.Annotations[v1beta1.AnnotationAllocatedPool] = value
		case "on":
			s.Annotations[v1beta1.AnnotationPreferredNode] = value
		case "left-alone":
			s.Status.Conditions = []metav1.Condition{{Type: v1beta1.ConditionAllocated, Reason: string(v1beta1.ReasonWriteConflict)}}
		case "ready":
			add(value, true, true, false)
		case "terminating":
			add(value, false, true, true)
		case "down":
			add(value, false, false, false)
		case "family":
			families = []discoveryv1.AddressType{discoveryv1.AddressType(value)}
		default:
			s.Labels[key] = value
		}
	}
	var endpointSlices []*discoveryv1.EndpointSlice
	for _, family := range families {
		endpointSlices = append(endpointSlices, &discoveryv1.EndpointSlice{AddressType: family, Endpoints: endpoints})
	}
	return plan.ServiceOf(s, endpointSlices)
}

func (w *world) view(self string) plan.View {
	v := plan.View{
		Self: self, Nodes: map[string]plan.Node{}, Alive: w.alive, Interfaces: w.interfaces, Owners: w.owners, Links: w.links,
		Unable: w.unable, Yielded: w.yielded[self],
	}
	if links, ok := w.links[self]; ok {
		v.Interfaces = w.unplugged[self]
		for _, one := range links {
			v.Interfaces = append(v.Interfaces, model.Interface{Name: one.Name, Usable: one.Usable, Suitable: one.Suitable, Addrs: one.Addrs})
		}
	}
	var objects config.Objects
	for _, p := range w.pools {
		objects.Pools = append(objects.Pools, p)
	}
	for _, a := range w.advertised {
		objects.L2Advertisements = append(objects.L2Advertisements, a)
	}
	v.Config, _ = config.Build(objects)
	for name, n := range w.nodes {
		v.Nodes[name] = plan.NodeOf(n, w.ignoreLabel)
	}
	v.Services = plan.ServicesOf(slices.Collect(maps.Values(w.services))...)
	return v
}

func (w *world) plan() string {
	var out strings.Builder
	names := slices.Clone(w.alive)
	slices.Sort(names)
	for _, self := range names {
		made := plan.Make(w.view(self))
		for _, move := range made.Moves {
			fmt.Fprintf(&out, "> %s hands %s to %s\n", self, move.Address, move.Node)
		}
		for _, d := range made.Decisions {
			fmt.Fprintf(&out, "> %s %s %s", self, d.Address, d.Reason)
			if d.Announce {
				fmt.Fprintf(&out, " on %s", strings.Join(d.Interfaces, ","))
			}
			if d.AnswerPing {
				out.WriteString(" ping")
			}
			if len(d.Unserved) > 0 {
				fmt.Fprintf(&out, " unserved=%s", strings.Join(d.Unserved, ","))
			}
			if d.Message != "announced by this node" {
				fmt.Fprintf(&out, ": %s", d.Message)
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}
