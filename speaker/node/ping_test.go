package node

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// pinged makes the node have an address on eth0, and ping answered.
func (r *rig) pinged(prefixes ...string) {
	for _, text := range prefixes {
		r.in.Interfaces[0].Addrs = append(r.in.Interfaces[0].Addrs, netip.MustParsePrefix(text))
	}
	r.in.Local = LocalAddresses(r.in.Interfaces)
	r.advertise(v1beta1.L2AdvertisementSpec{AnswerPing: true})
}

// L23: the kernel answers ping before neighbors are told that the address is here,
// and until nobody is any more.
func TestL23_PingIsAnsweredWhileTheAddressIs(t *testing.T) {
	r := newRig(t, 1)
	r.pinged("198.18.0.200/24")
	want := []model.Ping{{Address: address(1), Local: netip.MustParseAddr("198.18.0.200")}}
	held := false
	for range 2 * probeNum {
		r.turn(probeInterval)
		announced := slices.ContainsFunc(r.out.Answers, func(a model.Answer) bool { return a.Mode == model.Announce })
		switch {
		case announced && !slices.Equal(r.out.Pings, want):
			t.Fatalf("pings for %v, want %v", r.out.Pings, want)
		case !announced && len(r.out.Pings) > 0:
			t.Fatalf("pings for %v, which is not answered for yet", r.out.Pings)
		}
		held = announced
	}
	if !held {
		t.Fatal("it is not held")
	}
	r.in.Cluster.Nodes = map[string]plan.Node{"n1": {Excluded: "the node is excluded"}}
	r.turn(time.Second)
	if len(r.out.Answers) > 0 || !slices.Equal(r.out.Pings, want) {
		t.Errorf("letting go it answers for %v, and ping for %v", r.out.Answers, r.out.Pings)
	}
	r.turn(time.Second)
	if len(r.out.Pings) > 0 {
		t.Errorf("after it has let go, ping for %v", r.out.Pings)
	}
}

func TestL23_WithoutAnAdvertisementThatSaysSoPingIsNotAnswered(t *testing.T) {
	r := newRig(t, 1)
	r.pinged("198.18.0.200/24")
	r.advertise(v1beta1.L2AdvertisementSpec{})
	r.turn(time.Second)
	r.probed("held")
	if len(r.out.Pings) > 0 {
		t.Errorf("ping for %v", r.out.Pings)
	}
}

// L23: what keeps the kernel from it is said, and nothing else is lost.
func TestL23_PingThatIsNotAnsweredIsSaid(t *testing.T) {
	r := newRig(t, 1)
	r.pinged("198.18.0.200/24")
	r.turn(time.Second)
	r.probed("held")
	ready := func() metav1.Condition { return r.done.Status.Conditions[0] }
	if got := ready(); got.Status != metav1.ConditionTrue {
		t.Fatalf("got %+v", got)
	}
	r.unanswered = "the process lacks the capability"
	r.turn(time.Second)
	const want = "ping is not answered, which answerPing of L2Advertisement all asks for: the process lacks the capability"
	if got := ready(); got.Status != metav1.ConditionFalse || got.Reason != string(v1beta1.ReasonPingUnanswered) || got.Message != want {
		t.Errorf("got %+v", got)
	}
	if len(r.done.Status.Held) != 1 || r.done.Problems != "" || len(r.done.Claims) != 1 {
		t.Errorf("held %v, claimed %v, problems %q", r.done.Status.Held, r.done.Claims, r.done.Problems)
	}
	if len(r.done.Notes) != 1 {
		t.Errorf("notes %v", r.done.Notes)
	}
	r.turn(time.Second)
	if len(r.done.Notes) != 0 {
		t.Errorf("the log repeats %v", r.done.Notes)
	}
	r.unanswered = ""
	r.turn(time.Second)
	if got := ready(); got.Status != metav1.ConditionTrue {
		t.Errorf("got %+v", got)
	}
}

// L23: a node that has no address of a family has nothing to answer by.
func TestL23_ANodeWithoutAnAddressOfTheFamilySaysSo(t *testing.T) {
	r := newRig(t, 0)
	r.pinged("198.18.0.200/24", "fe80::1/64")
	r.in.Cluster.Services = plan.ServicesOf(plan.Service{
		Key: "default/a", Pool: "lan", Addresses: []netip.Addr{address(1), netip.MustParseAddr("2001:db8::1")},
		IPv4: plan.Endpoints{Any: true}, IPv6: plan.Endpoints{Any: true},
	})
	r.turn(time.Second)
	for range probeNum + 1 {
		r.turn(probeInterval)
	}
	if len(r.done.Status.Held) != 2 || len(r.out.Pings) != 1 {
		t.Fatalf("held %v, pings %v", r.done.Status.Held, r.out.Pings)
	}
	got := r.done.Status.Conditions[0]
	if got.Reason != string(v1beta1.ReasonPingUnanswered) || got.Message != "this node has no IPv6 address of its own by which its kernel could answer ping" {
		t.Errorf("got %+v", got)
	}
}

// L23: the address by which the kernel answers is one that no cable takes away, if
// there is one.
func TestL23_TheKernelAnswersByAnAddressOnTheInterface(t *testing.T) {
	on := func(name string, prefixes ...string) model.Interface {
		i := model.Interface{Name: name, Usable: true}
		for _, text := range prefixes {
			i.Addrs = append(i.Addrs, netip.MustParsePrefix(text))
		}
		return i
	}
	for name, c := range map[string]struct {
		interfaces []model.Interface
		address    string
		want       string
	}{
		"of the subnet": {
			[]model.Interface{on("docker0", "198.18.0.1/16"), on("eth0", "192.0.2.1/24", "198.18.0.2/24"), on("eth1", "198.18.0.3/24")}, "198.18.0.9", "198.18.0.2",
		},
		"of another subnet":                {[]model.Interface{on("docker0", "198.18.0.1/16"), on("eth0", "192.0.2.1/24")}, "198.18.0.9", "192.0.2.1"},
		"of another interface":             {[]model.Interface{on("eth0"), on("eth1", "192.0.2.1/24", "192.0.2.2/24")}, "198.18.0.9", "192.0.2.1"},
		"not link-local":                   {[]model.Interface{on("eth0", "fe80::1/64", "2001:db8:1::1/64")}, "2001:db8::9", "2001:db8:1::1"},
		"not of the other family":          {[]model.Interface{on("eth0", "198.18.0.1/24")}, "2001:db8::9", "invalid IP"},
		"not a Service's, as with IPVS":    {[]model.Interface{on("kube-ipvs0", "198.18.0.9/32"), on("eth1", "192.0.2.1/24")}, "198.18.0.9", "192.0.2.1"},
		"not loopback, and nothing at all": {[]model.Interface{on("lo", "127.0.0.1/8")}, "198.18.0.9", "invalid IP"},
	} {
		in := &Input{Interfaces: c.interfaces, Local: LocalAddresses(c.interfaces)}
		if got := localFor(netip.MustParseAddr(c.address), []string{"eth0"}, localPrefixes(in)); got.String() != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
