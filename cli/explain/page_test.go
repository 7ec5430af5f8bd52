package explain_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
)

// lanPool has eight addresses: one excluded, two reserved.
func lanPool() *v1beta1.IPAddressPool {
	pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}}
	pool.Spec.Addresses = []v1beta1.AddressRange{"192.0.2.8-192.0.2.15"}
	pool.Spec.Excluded = []v1beta1.AddressRange{"192.0.2.8/32"}
	pool.Spec.Reservations = []v1beta1.Reservation{{Addresses: []v1beta1.ReservedAddresses{"192.0.2.14-192.0.2.15"}, Namespace: "shop"}}
	pool.Status.Quarantined = []v1beta1.QuarantinedAddress{{Address: "192.0.2.13", MAC: "00:00:5e:00:53:99"}}
	return pool
}

// Each address of a pool is used for one thing, in the numbers and in the map.
func TestAnAddressIsUsedForOneThing(t *testing.T) {
	c := explain.New(explain.Objects{
		Pools: []*v1beta1.IPAddressPool{lanPool()}, Services: []*corev1.Service{service("a", shows("192.0.2.10"))},
		Resting: []netip.Addr{netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.14"), netip.MustParseAddr("192.0.2.10")},
	}, now())
	uses := c.PoolUses()
	if len(uses) != 1 || len(uses[0].Families) != 1 {
		t.Fatalf("%+v", uses)
	}
	want := explain.FamilyUse{Family: "IPv4", Used: 1, Reserved: "2", Resting: 1, Quarantined: 1, Free: "2", Total: "7"}
	if got := uses[0].Families[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	cells, found := c.PoolMap("lan", 8)
	var states []explain.CellState
	for _, cell := range cells {
		states = append(states, cell.State)
	}
	if want := []explain.CellState{
		explain.CellExcluded, explain.CellFree, explain.CellUsed, explain.CellResting, explain.CellFree, explain.CellQuarantined,
		explain.CellReserved, explain.CellReserved,
	}; !found || !slices.Equal(states, want) {
		t.Errorf("got %v, want %v", states, want)
	}
	for name, most := range map[string]int{"lan": 7, "other": 8} {
		if cells, found := c.PoolMap(name, most); found {
			t.Errorf("pool %s, at most %d: %v", name, most, cells)
		}
	}
}

// Where nothing is known of endpoints, what speakers say of them counts, and nobody is
// said to lack one.
func TestWithoutEndpointsTheSpeakersWordCounts(t *testing.T) {
	n1, n2, n3 := speaker("n1", "192.0.2.10"), speaker("n2"), speaker("n3")
	n3.Status.Withheld = []v1beta1.WithheldAddresses{{Reason: v1beta1.ReasonNoLocalEndpoint, Message: "none here", Addresses: []string{"192.0.2.10"}}}
	c := explain.New(explain.Objects{
		Unread: []explain.Unread{{Kind: explain.KindEndpointSlices}}, Speakers: []*v1beta1.Speaker{n1, n2, n3},
		Nodes:            []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, {ObjectMeta: metav1.ObjectMeta{Name: "n2"}}, {ObjectMeta: metav1.ObjectMeta{Name: "n3"}}},
		Pools:            []*v1beta1.IPAddressPool{lanPool()},
		L2Advertisements: []*v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "lan"}}},
		Services:         []*corev1.Service{service("a", shows("192.0.2.10"))},
	}, now())
	want := map[string]v1beta1.Reason{"n1": v1beta1.ReasonAnnounced, "n2": v1beta1.ReasonNotOwner, "n3": v1beta1.ReasonNoLocalEndpoint}
	for _, view := range c.Address(netip.MustParseAddr("192.0.2.10")).Nodes {
		if view.Reason != want[view.Node] {
			t.Errorf("%+v, want %s", view, want[view.Node])
		}
	}
	if s, _ := c.Service("shop/a"); len(s.Endpoints) > 0 {
		t.Errorf("endpoints: %+v", s.Endpoints)
	}
}

func TestAServiceOnOneLine(t *testing.T) {
	announced := says(v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced, time.Minute)
	allocated := says(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated, time.Hour)
	c := explain.New(explain.Objects{
		Speakers: []*v1beta1.Speaker{speaker("n2", "192.0.2.10"), speaker("n1", "192.0.2.10")},
		Services: []*corev1.Service{
			service("b", says(v1beta1.ConditionAllocated, metav1.ConditionFalse, v1beta1.ReasonNoPool, time.Hour)),
			service("a", shows("192.0.2.10"), allocated, announced), service("c", ofClass("example.org/other"), shows("192.0.2.99")),
		},
	}, now())
	rows := c.ServiceRows()
	if len(rows) != 3 || rows[0].Name != "a" || len(rows[0].Owners) != 2 || rows[0].Owners[0] != "n1" || rows[0].Pool != "lan" ||
		!rows[0].Since.Equal(now().Add(-time.Minute)) || rows[0].State != explain.Announced {
		t.Errorf("%+v", rows)
	}
	if rows[1].Reason != v1beta1.ReasonNoPool || !rows[1].Since.Equal(now().Add(-time.Hour)) || len(rows[1].Addresses) > 0 {
		t.Errorf("pending: %+v", rows[1])
	}
	if rows[2].State != explain.NotServed || len(rows[2].Addresses) > 0 {
		t.Errorf("of another: %+v", rows[2])
	}
}

// What the controller was told counts more than what can be read.
func TestTheControllerKnowsWhatItWasTold(t *testing.T) {
	c := explain.New(explain.Objects{
		Told: &explain.Told{Namespace: "lb", ServeClassless: false, Classes: []string{"example.org/ours"}}, Services: []*corev1.Service{service("a")},
	}, now())
	if classless, classes := c.Serves(); classless || len(classes) != 1 || classes[0] != "example.org/ours" || c.Namespace() != "lb" {
		t.Errorf("%t, %v, %s", classless, classes, c.Namespace())
	}
}

// A link that is not heard is what a living speaker says.
func TestUnheardIsWhatTheLivingSay(t *testing.T) {
	n1, n2, n3 := speaker("n1"), speaker("n2"), speaker("n3")
	n1.Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n3", Since: metav1.NewTime(now())}}
	n2.Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n3", Since: metav1.NewTime(now())}}
	n3.Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n1", Since: metav1.NewTime(now())}}
	n1.Status.ConfirmedAlive = []v1beta1.UnreachableSpeaker{{Name: "n3", Since: metav1.NewTime(now())}}
	c := explain.New(explain.Objects{Speakers: []*v1beta1.Speaker{n1, n2, n3}}, now())
	got := c.Unheard()
	if len(got) != 2 || got[0].By != "n1" || got[0].Node != "n3" || got[0].Alive {
		t.Errorf("%+v", got)
	}
}
