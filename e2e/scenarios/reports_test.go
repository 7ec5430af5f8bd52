package scenarios

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/lab"
)

const (
	// reportNodes share reportAddresses.
	reportNodes, reportAddresses = 100, 10_000
	// mostReport is what a Speaker may have in the API server, and mostTraffic what a
	// change may cost in the whole cluster, in bytes.
	mostReport, mostTraffic = 10_000, 100_000
	// reportWatchers are those to whom each change of a Speaker is sent: the two
	// controllers of the chart's default, and the speaker that has written it.
	reportWatchers = 2 + 1
)

// reportOf is what the speaker of one of these nodes says that holds this many
// addresses. TestDefect7 of speaker/node has what it is like.
func reportOf(at string, first, count int) v1beta1.SpeakerStatus {
	status := v1beta1.SpeakerStatus{
		MemberAddress: at, Version: "v0.1.0", MembersAlive: reportNodes, HeldCount: int32(count), Interfaces: []string{"eth0"},
		MembershipKeys: []string{"0123456789abcdef"},
		Conditions: []metav1.Condition{{
			Type: v1beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: string(v1beta1.ReasonAnnouncing), ObservedGeneration: 1,
			Message: "every address of this node is answered for", LastTransitionTime: metav1.Unix(1_800_000_000, 0),
		}},
	}
	for i := first; i < first+count; i++ {
		status.Held = append(status.Held, v1beta1.HeldAddress{
			Address: fmt.Sprintf("198.18.%d.%d", 100+i/100, 100+i%100), Services: []string{fmt.Sprintf("team-payments/checkout-api-%d", 1000+i)},
		})
	}
	return status
}

// traffic is what a watch of a kind was sent, by the name of the object.
type traffic struct {
	mu     sync.Mutex
	bytes  map[string]int
	events map[string]int
	latest map[string]v1beta1.Speaker // a Member has some of its fields
}

// watched begins a watch of a kind as it is now.
func (p *plot) watched(ctx context.Context, resource string) *traffic {
	p.t.Helper()
	rest := p.Baliza.BalizaV1beta1().RESTClient()
	var list v1beta1.MemberList // or Speakers: of either the version alone
	raw, err := rest.Get().Resource(resource).DoRaw(ctx)
	p.must(err)
	p.must(json.Unmarshal(raw, &list))
	stream, err := rest.Get().Resource(resource).Param("watch", "true").Param("resourceVersion", list.ResourceVersion).Stream(ctx)
	p.must(err)
	seen := &traffic{bytes: map[string]int{}, events: map[string]int{}, latest: map[string]v1beta1.Speaker{}}
	go func() {
		defer stream.Close()
		for reader := bufio.NewReader(stream); ; {
			line, err := reader.ReadBytes('\n')
			if err != nil {
				return
			}
			var event struct{ Object v1beta1.Speaker }
			if json.Unmarshal(line, &event) == nil {
				seen.mu.Lock()
				seen.bytes[event.Object.Name] += len(line)
				seen.events[event.Object.Name]++
				seen.latest[event.Object.Name] = event.Object
				seen.mu.Unlock()
			}
		}
	}()
	return seen
}

// of returns what came of objects: how many bytes in how many events.
func (s *traffic) of(names ...string) (bytes, events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		bytes, events = bytes+s.bytes[name], events+s.events[name]
	}
	return bytes, events
}

// now is what an object says.
func (s *traffic) now(name string) v1beta1.SpeakerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest[name].Status
}

// Findings 7 of the controller and 13 of layer 2: of 100 nodes with 10,000 addresses a
// Speaker at rest has less than 10 KB, and an address that moves from one node to
// another costs less than 100 KB in the whole cluster: two Speakers, each sent to the
// controllers and to its own speaker, and no Member.
func TestDefect7_Reports_stay_under_10_KB_and_a_change_under_100_KB(t *testing.T) {
	const share = reportAddresses / reportNodes
	ctx, c := shared(t)
	p := &plot{Cluster: c, t: t}
	from, to := "reports-from", "reports-to"
	writers := map[string]*kube.SpeakerWriter{}
	report := func(name string, status v1beta1.SpeakerStatus) {
		t.Helper()
		node, err := p.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		p.must(err)
		writers[name].Report(status, node.UID)
	}
	clients, err := kube.ForConfig(p.Admin)
	p.must(err)
	for _, name := range []string{from, to} {
		nodes := p.Client.CoreV1().Nodes()
		_, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		p.must(err)
		t.Cleanup(func() { p.must(nodes.Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{})) }) // and the rest with it
		writers[name] = kube.NewSpeakerWriter(clients, name, slog.New(slog.NewTextHandler(t.Output(), nil)))
		go writers[name].Run(ctx)
	}
	members, speakers := p.watched(ctx, "members"), p.watched(ctx, "speakers")
	wait := func(what string, of *traffic, name string, condition func(v1beta1.SpeakerStatus) bool) {
		t.Helper()
		p.must(lab.WaitFor(ctx, what, func() (bool, error) { return condition(of.now(name)), nil }))
	}
	held := func(name string, count int32) {
		t.Helper()
		wait(fmt.Sprintf("%s to say that it holds %d", name, count), speakers, name, func(s v1beta1.SpeakerStatus) bool { return s.HeldCount == count })
	}
	report(from, reportOf("192.0.2.101:7946", 0, share))
	report(to, reportOf("192.0.2.102:7946", share, share))
	for _, name := range []string{from, to} {
		held(name, share)
		wait("the Member of "+name, members, name, func(s v1beta1.SpeakerStatus) bool { return s.MemberAddress != "" })
		raw, err := p.Baliza.BalizaV1beta1().RESTClient().Get().Resource("speakers").Name(name).DoRaw(ctx)
		p.must(err)
		t.Logf("Speaker %s: %d addresses, %d bytes", name, share, len(raw))
		if len(raw) >= mostReport {
			t.Errorf("%d bytes, which is not under %d: %s", len(raw), mostReport, raw)
		}
	}
	before, _ := speakers.of(from, to)
	told, tellings := members.of(from, to)

	moved := reportOf("192.0.2.101:7946", 0, share-1)
	report(from, moved)
	report(to, reportOf("192.0.2.102:7946", share-1, share+1))
	held(from, share-1)
	held(to, share+1)
	after, _ := speakers.of(from, to)
	all := (after - before) * reportWatchers
	t.Logf("a change of owner: %d bytes to %d watchers", all, reportWatchers)
	if all >= mostTraffic {
		t.Errorf("%d bytes, which is not under %d", all, mostTraffic)
	}
	// What comes of the Members is in order: nothing before what is written now.
	moved.Unreachable = []v1beta1.UnreachableSpeaker{{Name: to, Since: metav1.Unix(1_800_000_000, 0)}}
	report(from, moved)
	wait("a Member that has changed", members, from, func(s v1beta1.SpeakerStatus) bool { return len(s.Unreachable) == 1 })
	toldNow, tellingsNow := members.of(from, to)
	t.Logf("a Member that has changed: %d bytes to each speaker", toldNow-told)
	if tellingsNow != tellings+1 {
		t.Errorf("the move was told in Members, too: %d events", tellingsNow-tellings)
	}
}
