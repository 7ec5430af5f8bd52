package page

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/config"
)

// secret stands wherever a Secret's content could come from.
const secret = "Xk7-secret-Qz1"

// script stands in every text that others write.
const script = `<script>alert("x")</script><img src=x onerror=alert(1)>'"&`

func now() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now().Add(-d)) }

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: ago(24 * time.Hour)}
}

func condition(kind string, status metav1.ConditionStatus, reason v1beta1.Reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: string(reason), Message: message, LastTransitionTime: ago(time.Hour)}
}

func empty() explain.Objects {
	o := explain.Objects{Told: &explain.Told{Namespace: "baliza-system", ServeClassless: true, Classes: []string{v1beta1.LoadBalancerClass}}}
	for _, kind := range []string{"deployments", explain.KindEndpointSlices, "leases"} {
		o.Unread = append(o.Unread, explain.Unread{Kind: kind, Why: "not read"})
	}
	return o
}

func speaker(name string) *v1beta1.Speaker {
	s := &v1beta1.Speaker{ObjectMeta: named("", name)}
	s.Status.MemberAddress, s.Status.MembersAlive, s.Status.Version = "192.0.2.1:7946", 3, "v0.1.0"
	s.Status.Interfaces = []string{"eth0"}
	s.Status.Conditions = []metav1.Condition{condition(v1beta1.ConditionReady, metav1.ConditionTrue, v1beta1.ReasonAnnouncing, "every address is answered for")}
	return s
}

func service(name, address string) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: named("shop", name)}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	svc.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}}
	if address == "" {
		svc.Status.Conditions = []metav1.Condition{condition(v1beta1.ConditionAllocated, metav1.ConditionFalse, v1beta1.ReasonPoolExhausted, "pool lan: every IPv4 address is taken")}
		return svc
	}
	svc.Annotations = map[string]string{v1beta1.AnnotationAllocatedPool: "lan"}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
	svc.Status.Conditions = []metav1.Condition{
		condition(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated, address+" from pool lan"),
		condition(v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced, "announced"),
	}
	return svc
}

func hold(s *v1beta1.Speaker, address string, services ...string) {
	s.Status.Held = append(s.Status.Held, v1beta1.HeldAddress{Address: address, Services: services})
	s.Status.HeldCount++
}

// healthy is three nodes, one pool and two Services.
func healthy() explain.Objects {
	o := empty()
	for i, name := range []string{"n1", "n2", "n3"} {
		node := &corev1.Node{ObjectMeta: named("", name)}
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("192.0.2.%d", i+1)}}
		o.Nodes = append(o.Nodes, node)
		o.Speakers = append(o.Speakers, speaker(name))
	}
	pool := &v1beta1.IPAddressPool{ObjectMeta: named("", "lan")}
	pool.Spec.Addresses = []v1beta1.AddressRange{"192.0.2.8-192.0.2.15"}
	pool.Spec.Reservations = []v1beta1.Reservation{{Addresses: []v1beta1.ReservedAddresses{"192.0.2.14"}, Namespace: "shop"}}
	pool.Status.AssignedIPv4, pool.Status.AvailableIPv4 = 2, "6"
	pool.Status.Conditions = []metav1.Condition{condition(v1beta1.ConditionReady, metav1.ConditionTrue, v1beta1.ReasonValid, "used as it stands")}
	o.Pools = []*v1beta1.IPAddressPool{pool}
	o.L2Advertisements = []*v1beta1.L2Advertisement{{ObjectMeta: named("", "lan")}}
	o.Namespaces = []*corev1.Namespace{{ObjectMeta: named("", "shop")}}
	o.Services = []*corev1.Service{service("web", "192.0.2.10"), service("mail", "192.0.2.11")}
	hold(o.Speakers[0], "192.0.2.10", "shop/web")
	hold(o.Speakers[1], "192.0.2.11", "shop/mail")
	o.Speakers[0].Status.Moves = []v1beta1.AddressMove{
		{Time: metav1.NewMicroTime(now().Add(-2 * time.Hour)), Address: "192.0.2.10", To: "n2", Cause: v1beta1.MoveAssigned},
		{Time: metav1.NewMicroTime(now().Add(-20 * time.Minute)), Address: "192.0.2.10", From: "n2", To: "n1", Cause: v1beta1.MoveNodeFailed, UnownedMilliseconds: 120},
	}
	o.Speakers[1].Status.Moves = []v1beta1.AddressMove{
		{Time: metav1.NewMicroTime(now().Add(-5 * time.Minute)), Address: "192.0.2.11", To: "n2", Cause: v1beta1.MoveAssigned},
	}
	o.Resting = []netip.Addr{netip.MustParseAddr("192.0.2.12")}
	return o
}

// broken is that with a dead node, a link that is not heard, two owners, a conflict, a
// pending Service, a session that is down, a bad object, and hostile texts.
func broken() explain.Objects {
	o := healthy()
	o.Services = append(o.Services, service("new", ""))
	o.Services[1].Status.Conditions[1] = condition(v1beta1.ConditionAnnounced, metav1.ConditionFalse, v1beta1.ReasonNoEndpoint, "no endpoint "+script)
	for _, s := range o.Speakers[:2] {
		s.Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n3", Since: ago(time.Minute)}}
	}
	hold(o.Speakers[1], "192.0.2.10", "shop/web")
	o.Speakers[0].Status.Conflicts = []v1beta1.AddressConflict{{Address: "192.0.2.13", MAC: "00:00:5e:00:53:99", Interface: "eth0", Since: ago(time.Hour), Found: v1beta1.FoundAtFirstUse}}
	o.Speakers[1].Status.Withheld = []v1beta1.WithheldAddresses{{Reason: v1beta1.ReasonNoEndpoint, Message: script, Count: 1, Addresses: []string{"192.0.2.11"}}}
	o.Pools[0].Status.Quarantined = []v1beta1.QuarantinedAddress{{Address: "192.0.2.13", MAC: script, Since: ago(time.Hour)}}
	up, down := ago(time.Hour), ago(time.Minute)
	for _, s := range o.Speakers { // one of which is dead
		s.Status.BGP = &v1beta1.BGPReport{AnnouncedCount: 1, Announced: []string{"192.0.2.10"}, Peers: []v1beta1.BGPSession{
			{Name: "rack-a", Address: "192.0.2.250", PeerASN: 64501, State: explain.Established, Since: &up, BFD: "Up", RoutesSent: 1},
			{Name: "rack-b", Address: "192.0.2.251", PeerASN: 64501, State: "Active", Since: &down, BFD: "Down", LastError: script},
		}}
	}
	for _, name := range []string{"rack-a", "rack-b"} {
		peer := &v1beta1.BGPPeer{ObjectMeta: named("", name)}
		peer.Spec.Password = secret
		o.BGP.Peers = append(o.BGP.Peers, peer)
	}
	bad := &v1beta1.BGPAdvertisement{ObjectMeta: named("", "all")}
	bad.Status.Conditions = []metav1.Condition{condition(v1beta1.ConditionReady, metav1.ConditionFalse, v1beta1.ReasonCommunityUnresolved, script)}
	o.BGP.Advertisements = []*v1beta1.BGPAdvertisement{bad}
	return o
}

const many = 10_000

// large is many Services on three nodes.
func large() explain.Objects {
	o := healthy()
	o.Services, o.Resting = nil, nil
	o.Pools[0].Spec.Addresses = []v1beta1.AddressRange{"198.18.0.0/16"}
	o.Pools[0].Spec.Reservations = nil
	for _, s := range o.Speakers {
		s.Status.Held, s.Status.HeldCount = nil, 0
	}
	a := netip.MustParseAddr("198.18.0.1")
	for i := range many {
		name := fmt.Sprintf("s-%d", i)
		o.Services = append(o.Services, service(name, a.String()))
		s := o.Speakers[i%len(o.Speakers)]
		s.Status.HeldCount++
		if len(s.Status.Held) < config.MaxAnnounced {
			s.Status.Held = append(s.Status.Held, v1beta1.HeldAddress{Address: a.String(), Services: []string{"shop/" + name}})
		}
		a = a.Next()
	}
	return o
}

func serverOf(t testing.TB, objects func() explain.Objects) *Server {
	t.Helper()
	s, err := New(Options{
		Objects: objects, Now: now, Hosts: []string{"balance.example.org"}, Replica: "baliza-controller-1",
		Leader: func() string { return "baliza-controller-2" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// get asks for a path.
func get(t testing.TB, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:7475/", http.NoBody)
	target, err := r.URL.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = target
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// heap is what is in use, in bytes.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
