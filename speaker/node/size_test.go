package node

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Defect 7: of 10,000 addresses on 100 nodes a Speaker lists its own hundred, and
// stays below 10 KB: what the API server adds (names, the owner, managedFields) has
// the rest. TestDefect7 of e2e/scenarios has that from a real one.
func TestDefect7_AReportOf10000AddressesOn100NodesIsSmall(t *testing.T) {
	const nodes, addresses, most = 100, 10_000, 10_000 - 1_800
	r := newRig(t, 0)
	r.in.Members.Owners = map[netip.Addr]string{}
	for i := range nodes - 1 {
		r.in.Members.Alive = append(r.in.Members.Alive, fmt.Sprintf("worker-%02d", i))
	}
	slices.Sort(r.in.Members.Alive)
	r.in.Members.Ready = r.in.Members.Alive
	services := map[string]*plan.Service{}
	for i := range addresses {
		key := fmt.Sprintf("team-payments/checkout-api-%d", i)
		services[key] = &plan.Service{Key: key, Addresses: []netip.Addr{address(i + 1)}, IPv4: plan.Endpoints{Any: true}}
		r.in.Members.Owners[address(i+1)] = r.in.Members.Alive[i%nodes]
	}
	r.in.Cluster.Services.Update(services)
	r.turn(0)
	r.turn(time.Second)
	status := &r.done.Status
	// The last moves are beside that: they are 32 whatever a node has, and are written
	// when something moves.
	moves, err := json.Marshal(status.Moves)
	if err != nil || len(status.Moves) != reportedMoves || len(moves) > reportedMoves*120 {
		t.Errorf("%d moves in %d bytes: %v", len(status.Moves), len(moves), err)
	}
	status.Moves = nil
	body, err := json.Marshal(status)
	if err != nil || status.HeldCount != addresses/nodes {
		t.Fatalf("%d held: %v", status.HeldCount, err)
	}
	t.Logf("%d addresses, %d bytes", status.HeldCount, len(body))
	if len(body) > most {
		t.Errorf("%d bytes: %.600s", len(body), body)
	}
	// Were the list a map, managedFields would have a line for each address.
	crd, err := os.ReadFile("../../deploy/helm/baliza/crds/baliza.io_speakers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, held, _ := strings.Cut(string(crd), "\n              held:\n")
	_, listType, _ := strings.Cut(held, "\n                x-kubernetes-list-type: ")
	if !strings.HasPrefix(listType, "atomic\n") {
		t.Errorf("the list of what is held is of type %.20q", listType)
	}
}

// Where most addresses are answered for is said once, and of the others with each.
func TestDefect7_InterfacesAreSaidOnce(t *testing.T) {
	held := func(on ...string) v1beta1.HeldAddress { return v1beta1.HeldAddress{Interfaces: on} }
	for name, c := range map[string]struct {
		held []v1beta1.HeldAddress
		want string
	}{
		"none":                  {nil, "[]"},
		"all on one":            {[]v1beta1.HeldAddress{held("eth0"), held("eth0")}, "[eth0] [] []"},
		"most on two":           {[]v1beta1.HeldAddress{held("eth0"), held("eth0", "eth1"), held("eth0", "eth1")}, "[eth0 eth1] [eth0] [] []"},
		"as many on either":     {[]v1beta1.HeldAddress{held("eth1"), held("eth0")}, "[eth0] [eth1] []"},
		"the same, other order": {[]v1beta1.HeldAddress{held("eth0"), held("eth1")}, "[eth0] [] [eth1]"},
	} {
		status := &v1beta1.SpeakerStatus{Held: c.held}
		shareInterfaces(status)
		lists := []string{fmt.Sprint(status.Interfaces)}
		for i := range status.Held {
			lists = append(lists, fmt.Sprint(status.Held[i].Interfaces))
		}
		if got := strings.Join(lists, " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
