package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// otherHost lets c2 have an address until it is told to leave; it returns its
// MAC.
func (p *plot) otherHost(ctx context.Context, address string) (mac string, leave func()) {
	p.t.Helper()
	change := func(verb string) {
		length := "/32"
		if strings.Contains(address, ":") {
			length = "/128"
		}
		args := []string{"ip", "addr", verb, address + length, "dev", "eth0"}
		if verb == "add" && length == "/128" {
			args = append(args, "nodad")
		}
		_, err := p.Exec(context.WithoutCancel(ctx), "c2", args...)
		p.must(err)
	}
	change("add")
	there := true
	leave = func() {
		if there {
			there = false
			change("del")
		}
	}
	p.t.Cleanup(leave)
	host, err := p.Host("c2")
	p.must(err)
	return host.MAC.String(), leave
}

// conflicting waits until the Service says that another host has its address, and
// returns the message.
func (p *plot) conflicting(ctx context.Context, name string) string {
	p.t.Helper()
	var last *metav1.Condition
	err := lab.WaitFor(ctx, "Service "+name+" to say that its address is in conflict", func() (bool, error) {
		last = cluster.Condition(p.get(ctx, name).Status.Conditions, v1beta1.ConditionAnnounced)
		return last != nil && last.Status == metav1.ConditionFalse && last.Reason == string(v1beta1.ReasonAddressConflict), nil
	})
	if err != nil {
		p.t.Fatalf("%v; the condition is %+v", err, last)
	}
	return last.Message
}

// quarantined waits until the pool has exactly these addresses in quarantine.
func (p *plot) quarantined(ctx context.Context, addresses ...string) []v1beta1.QuarantinedAddress {
	p.t.Helper()
	var all []v1beta1.QuarantinedAddress
	err := lab.WaitFor(ctx, fmt.Sprintf("%v to be in quarantine", addresses), func() (bool, error) {
		pool, err := p.Baliza.BalizaV1beta1().IPAddressPools().Get(ctx, p.name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		all = pool.Status.Quarantined
		var got []string
		for _, q := range all {
			got = append(got, q.Address)
		}
		return strings.Join(got, " ") == strings.Join(addresses, " "), nil
	})
	if err != nil {
		p.t.Fatalf("%v; it has %+v", err, all)
	}
	return all
}

func TestL13_A_Service_is_given_another_address_than_another_hosts(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "first", nil)
	lowest := p.addresses(ctx, "first", 1)
	next := netip.MustParseAddr(lowest).Next()
	mac, _ := p.otherHost(ctx, next.String())

	began := time.Now()
	p.service(ctx, "web", nil)
	var now netip.Addr
	err := lab.WaitFor(ctx, "the Service to be given another address", func() (bool, error) {
		addresses, err := p.WaitAddresses(ctx, p.name, "web", 1)
		if err != nil {
			return false, err
		}
		now = addresses[0]
		return now != next, nil
	})
	p.must(err)
	p.answers(ctx, "c1", now)
	t.Logf("served on %s, instead of %s, after %s", now, next, time.Since(began).Round(time.Millisecond))
	if now != next.Next() {
		t.Errorf("it has %s, want the next one, %s", now, next.Next())
	}
	in := p.quarantined(ctx, next.String())
	if in[0].MAC != mac || in[0].Since.IsZero() || strings.Join(in[0].ReassignedServices, " ") != p.name+"/web" {
		t.Errorf("the pool says %+v, the other host is %s", in[0], mac)
	}
	p.announced(ctx, "web")
	if nodes, err := p.Answerers(ctx, "c1", next); err != nil || len(nodes) != 1 || nodes[0] != "c2" {
		t.Errorf("%s is answered by %v (%v), want c2 alone", next, nodes, err)
	}
	p.service(ctx, "third", nil)
	if got := p.addresses(ctx, "third", 1); got == next.String() {
		t.Errorf("another Service is given %s", got)
	}
}

func TestL13_An_address_that_another_host_has_is_not_announced(t *testing.T) {
	ctx, p := newPlot(t, 1)
	for _, taken := range []string{p.v4 + ".9", p.v6 + "9"} {
		name, family := "v4", corev1.IPv4Protocol
		if strings.Contains(taken, ":") {
			name, family = "v6", corev1.IPv6Protocol
		}
		mac, leave := p.otherHost(ctx, taken)
		address := netip.MustParseAddr(taken)
		p.service(ctx, name, func(svc *corev1.Service) {
			annotated(v1beta1.AnnotationAddresses, taken)(svc)
			svc.Spec.IPFamilies = []corev1.IPFamily{family}
		})
		p.addresses(ctx, name, 1)
		if message := p.conflicting(ctx, name); !strings.Contains(message, mac) {
			t.Errorf("the condition does not name %s: %s", mac, message)
		}
		if in := p.quarantined(ctx, address.String()); in[0].MAC != mac || len(in[0].ReassignedServices) > 0 {
			t.Errorf("the pool says %+v, the other host is %s", in[0], mac)
		}
		time.Sleep(5 * time.Second) // longer than it takes to move what was not named
		if got := p.addresses(ctx, name, 1); got != address.String() {
			t.Errorf("it has %s, though it named %s", got, address)
		}
		if nodes, err := p.Answerers(ctx, "c1", address); err != nil || len(nodes) != 1 || nodes[0] != "c2" {
			t.Errorf("%s is answered by %v (%v), want c2 alone", address, nodes, err)
		}
		left := time.Now()
		leave()
		p.answers(ctx, "c1", address) // it is probed for every 30 s
		p.announced(ctx, name)
		p.quarantined(ctx)
		t.Logf("%s was served %s after the other host had left", address, time.Since(left).Round(time.Second))
	}
}

// It is defended for as long as it is used (RFC 5227 section 2.4 (c)), and the
// other host is reported.
func TestL13_An_address_in_use_is_defended_when_another_host_comes(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", nil)
	text := p.addresses(ctx, "web", 1)
	address := netip.MustParseAddr(text)
	p.announced(ctx, "web")
	owner := p.owner(ctx, address)
	time.Sleep(3 * time.Second) // another host in the first two is a conflict of the first use
	watch, err := p.Watch(ctx, "c1")
	p.must(err)
	t.Cleanup(func() { watch.Stop() })
	mac, leave := p.otherHost(ctx, text)
	// The other host insists, as a misconfigured host does.
	want := v1beta1.AddressConflict{Address: text, MAC: mac, Interface: "eth0", Found: v1beta1.FoundInUse}
	p.must(lab.WaitFor(ctx, fmt.Sprintf("%s to report %+v", owner, want), func() (bool, error) {
		if _, err := p.Exec(ctx, "c2", "sh", "-c", "arping -U -c 1 -w 1 -i eth0 -S "+text+" "+text+"; sleep 2; true"); err != nil {
			return false, err
		}
		return p.reports(ctx, owner, want)
	}))
	defended := 0
	for _, answer := range watch.Stop() {
		if answer.Address == address && answer.Node == owner && !answer.Asked {
			defended++
		}
	}
	if defended == 0 {
		t.Errorf("%s never announced the address", owner)
	}
	p.announced(ctx, "web")
	p.quarantined(ctx)
	if got := p.addresses(ctx, "web", 1); got != text {
		t.Errorf("%s was in use, and the Service has %s now", text, got)
	}
	if nodes, err := p.Answerers(ctx, "c1", address); err != nil || !slices.Contains(nodes, owner) {
		t.Errorf("%s is answered by %v (%v), want %s, too", address, nodes, err, owner)
	}
	leave()
	if now := p.owner(ctx, address); now != owner {
		t.Errorf("%s has the address, and %s had it", now, owner)
	}
	p.answers(ctx, "c1", address)
}

// reports is whether a speaker has the conflict in its report, whenever it began.
func (p *plot) reports(ctx context.Context, node string, want v1beta1.AddressConflict) (bool, error) {
	speaker, err := p.Baliza.BalizaV1beta1().Speakers().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(speaker.Status.Conflicts, func(one v1beta1.AddressConflict) bool {
		one.Since = want.Since
		return one == want
	}), nil
}

// announcers waits until the Service's condition names exactly these nodes.
func (p *plot) announcers(ctx context.Context, name, nodes string) {
	p.t.Helper()
	var last *metav1.Condition
	err := lab.WaitFor(ctx, "Service "+name+" to be announced by "+nodes, func() (bool, error) {
		last = cluster.Condition(p.get(ctx, name).Status.Conditions, v1beta1.ConditionAnnounced)
		return last != nil && last.Message == "announced by "+nodes, nil
	})
	if err != nil {
		p.t.Fatalf("%v; the condition is %+v", err, last)
	}
}

// The report of a node that died stays in the cluster, and nobody may write it
// but the dead.
func TestL10_The_report_of_a_dead_speaker_is_not_believed(t *testing.T) {
	ctx, p := newPlot(t, 3)
	p.service(ctx, "web", nil)
	address := netip.MustParseAddr(p.addresses(ctx, "web", 1))
	dead := p.owner(ctx, address)
	p.announcers(ctx, "web", dead)
	p.must(p.Freeze(dead))
	thawed := false
	thaw := func() {
		if !thawed {
			thawed = true
			p.must(p.Thaw(dead))
		}
	}
	t.Cleanup(thaw)
	began := time.Now()
	p.answers(ctx, "c1", address)
	nodes, err := p.Answerers(ctx, "c1", address)
	if err != nil || len(nodes) != 1 || nodes[0] == dead {
		t.Fatalf("%v answer (%v)", nodes, err)
	}
	p.announcers(ctx, "web", nodes[0])
	t.Logf("the dead speaker was believed for %s", time.Since(began).Round(100*time.Millisecond))
	speaker, err := p.Baliza.BalizaV1beta1().Speakers().Get(ctx, dead, metav1.GetOptions{})
	p.must(err)
	if !strings.Contains(fmt.Sprint(speaker.Status.Held), address.String()) {
		t.Errorf("it has told that it lost the address, so that nothing was shown: %+v", speaker.Status.Held)
	}
	thaw()
	p.waitAllReady(ctx)
	p.announcers(ctx, "web", p.owner(ctx, address))
}

// A Speaker belongs to its Node, which takes it along when it is deleted, and so does a
// Member.
func TestC01_A_deleted_Node_takes_its_Speaker_along(t *testing.T) {
	ctx, p := newPlot(t, 1)
	nodes, speakers := p.Client.CoreV1().Nodes(), p.Baliza.BalizaV1beta1().Speakers()
	list, err := speakers.List(ctx, metav1.ListOptions{})
	p.must(err)
	if len(list.Items) == 0 {
		t.Fatal("there is no Speaker")
	}
	for _, speaker := range list.Items {
		node, err := nodes.Get(ctx, speaker.Name, metav1.GetOptions{})
		p.must(err)
		member, err := p.Baliza.BalizaV1beta1().Members().Get(ctx, speaker.Name, metav1.GetOptions{})
		p.must(err)
		for _, owners := range [][]metav1.OwnerReference{speaker.OwnerReferences, member.OwnerReferences} {
			if len(owners) != 1 || owners[0].Kind != "Node" || owners[0].UID != node.UID {
				t.Errorf("an object of %s belongs to %+v, its Node is %s", speaker.Name, owners, node.UID)
			}
		}
	}
	name := p.name + "-gone"
	node, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	p.must(err)
	_, err = speakers.Create(ctx, &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{
		Name: name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: node.UID}},
	}}, metav1.CreateOptions{})
	p.must(err)
	p.must(nodes.Delete(ctx, name, metav1.DeleteOptions{}))
	err = lab.WaitFor(ctx, "the Speaker to go with its Node", func() (bool, error) {
		_, err := speakers.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	p.must(err)
}

// Somebody deletes what a speaker says, of which it then is told nothing else.
func TestC01_A_deleted_Speaker_and_a_deleted_Member_are_written_again(t *testing.T) {
	ctx, p := newPlot(t, 1)
	ours := p.Baliza.BalizaV1beta1()
	for kind, c := range map[string]struct {
		remove func() error
		is     func() (string, error)
	}{
		"Speaker": {
			func() error { return ours.Speakers().Delete(ctx, "n1", metav1.DeleteOptions{}) },
			func() (string, error) {
				speaker, err := ours.Speakers().Get(ctx, "n1", metav1.GetOptions{})
				if err != nil {
					return "", err
				}
				return speaker.Status.MemberAddress, nil
			},
		},
		"Member": {
			func() error { return ours.Members().Delete(ctx, "n1", metav1.DeleteOptions{}) },
			func() (string, error) {
				member, err := ours.Members().Get(ctx, "n1", metav1.GetOptions{})
				if err != nil {
					return "", err
				}
				return member.Status.MemberAddress, nil
			},
		},
	} {
		p.must(c.remove())
		p.must(lab.WaitFor(ctx, "the "+kind+" of n1", func() (bool, error) {
			at, err := c.is()
			return err == nil && at != "", nil
		}))
	}
}
