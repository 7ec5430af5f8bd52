package explain_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
)

func now() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

func service(name string, changes ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(now().Add(-time.Hour))}}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	for _, change := range changes {
		change(svc)
	}
	return svc
}

func shows(address string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Annotations = map[string]string{v1beta1.AnnotationAllocatedPool: "lan"}
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
	}
}

func says(kind string, status metav1.ConditionStatus, reason v1beta1.Reason, since time.Duration) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Status.Conditions = append(svc.Status.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: string(reason), Message: "so it is", LastTransitionTime: metav1.NewTime(now().Add(-since)),
		})
	}
}

func young(svc *corev1.Service) { svc.CreationTimestamp = metav1.NewTime(now().Add(-5 * time.Second)) }

// outdated has the Service changed after the controller last looked at it.
func outdated(since time.Duration) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Generation = 2
		at := metav1.NewTime(now().Add(-since))
		svc.ManagedFields = []metav1.ManagedFieldsEntry{{Time: &at}}
	}
}

func ofClass(class string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &class }
}

func speaker(name string, held ...string) *v1beta1.Speaker {
	s := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Status.Conditions = []metav1.Condition{{Type: v1beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: string(v1beta1.ReasonAnnouncing)}}
	for _, address := range held {
		s.Status.Held = append(s.Status.Held, v1beta1.HeldAddress{Address: address})
		s.Status.HeldCount++
	}
	return s
}

// How far a Service is follows from its conditions, while they are not out of date.
func TestSituation(t *testing.T) {
	allocated := says(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated, time.Hour)
	announced := says(v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced, time.Hour)
	for sentence, test := range map[string]struct {
		service *corev1.Service
		speaker *v1beta1.Speaker
		want    explain.State
		reason  v1beta1.Reason
	}{
		"announced":                                {service("a", shows("192.0.2.10"), allocated, announced), speaker("n1", "192.0.2.10"), explain.Announced, v1beta1.ReasonAnnounced},
		"announced, it says, and nobody does":      {service("a", shows("192.0.2.10"), allocated, announced), speaker("n1"), explain.Unannounced, ""},
		"announced by one that cannot list all":    {service("a", shows("192.0.2.10"), allocated, announced), truncated(speaker("n1")), explain.Announced, v1beta1.ReasonAnnounced},
		"announced, and the controller is slow":    {service("a", shows("192.0.2.10"), allocated), speaker("n1", "192.0.2.10"), explain.Announced, v1beta1.ReasonAnnounced},
		"not announced":                            {service("a", shows("192.0.2.10"), allocated, says(v1beta1.ConditionAnnounced, metav1.ConditionFalse, v1beta1.ReasonNoEndpoint, time.Hour)), speaker("n1"), explain.Unannounced, v1beta1.ReasonNoEndpoint},
		"nobody can say":                           {service("a", shows("192.0.2.10"), allocated, says(v1beta1.ConditionAnnounced, metav1.ConditionUnknown, v1beta1.ReasonNoSpeakerReady, time.Hour)), speaker("n1"), explain.Unannounced, v1beta1.ReasonNoSpeakerReady},
		"given a moment ago":                       {service("a", shows("192.0.2.10"), says(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated, time.Second)), speaker("n1"), explain.Recent, ""},
		"given long ago, and nobody says anything": {service("a", shows("192.0.2.10"), allocated), speaker("n1"), explain.Unannounced, ""},
		"pending":                             {service("a", says(v1beta1.ConditionAllocated, metav1.ConditionFalse, v1beta1.ReasonNoPool, time.Hour)), speaker("n1"), explain.Pending, v1beta1.ReasonNoPool},
		"made a moment ago":                   {service("a", young), speaker("n1"), explain.Recent, ""},
		"made long ago, and nobody looked":    {service("a"), speaker("n1"), explain.Pending, ""},
		"changed long ago, and nobody looked": {service("a", outdated(time.Minute), allocated, announced, shows("192.0.2.10")), speaker("n1", "192.0.2.10"), explain.Pending, ""},
		"changed a moment ago":                {service("a", outdated(time.Second), allocated, announced, shows("192.0.2.10")), speaker("n1", "192.0.2.10"), explain.Announced, v1beta1.ReasonAnnounced},
		"of another class":                    {service("a", ofClass("example.org/other")), speaker("n1"), explain.NotServed, ""},
		"of our class":                        {service("a", ofClass(v1beta1.LoadBalancerClass)), speaker("n1"), explain.Pending, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := explain.New(explain.Objects{Services: []*corev1.Service{test.service}, Speakers: []*v1beta1.Speaker{test.speaker}}, now())
			got, found := c.Service("shop/a")
			if !found || got.Situation.State != test.want || got.Situation.Reason != test.reason {
				t.Errorf("got %+v, want %s %s", got.Situation, test.want, test.reason)
			}
		})
	}
}

func truncated(s *v1beta1.Speaker) *v1beta1.Speaker {
	s.Status.HeldCount = 5000
	return s
}

// Which Services are served is what the controller was told.
func TestTheControllersFlagsCount(t *testing.T) {
	for args, want := range map[string]explain.State{
		"--serve-classless=false": explain.NotServed, "--serve-classless": explain.Pending, "--serve-classless=true --log-level=info": explain.Pending, "": explain.Pending,
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "lb", Name: "baliza-controller"}}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Args: strings.Fields(args)}}
		c := explain.New(explain.Objects{Services: []*corev1.Service{service("a")}, Deployments: []*appsv1.Deployment{d}}, now())
		if got, _ := c.Service("shop/a"); got.Situation.State != want {
			t.Errorf("%q: %+v, want %s", args, got.Situation, want)
		}
	}
}

// A Speaker that others miss and that does not deny it says nothing of addresses.
func TestTheReportOfADeadSpeakerDoesNotCount(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.10")
	since := metav1.NewTime(now().Add(-time.Minute))
	dead, other := speaker("n1", a.String()), speaker("n2")
	other.Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n1", Since: since}}
	objects := explain.Objects{Services: []*corev1.Service{service("a", shows(a.String()))}, Speakers: []*v1beta1.Speaker{dead, other}}
	if got := explain.New(objects, now()).Address(a); len(got.Owners) != 0 {
		t.Errorf("owned by %v", got.Owners)
	}
	dead.Status.ConfirmedAlive = []v1beta1.UnreachableSpeaker{{Name: "n2", Since: since}}
	if got := explain.New(objects, now()).Address(a); !slices.Equal(got.Owners, []string{"n1"}) {
		t.Errorf("owned by %v, who denies that it is dead", got.Owners)
	}
}

// What cannot be read is not taken for what is not there.
func TestWhatCannotBeReadIsNoTrouble(t *testing.T) {
	objects := explain.Objects{Unread: []explain.Unread{{Kind: "deployments"}, {Kind: "leases"}, {Kind: "nodes"}}, Speakers: []*v1beta1.Speaker{speaker("n1")}}
	if status := explain.New(objects, now()).Status(); !status.Overall.Well {
		t.Errorf("%+v", status.Overall)
	}
	objects.Unread = nil
	if status := explain.New(objects, now()).Status(); status.Overall.Well {
		t.Error("neither a controller nor the speaker's node are there, and all is well")
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 90 * time.Second: "90s", 119 * time.Minute: "119m", 47 * time.Hour: "47h", 50 * time.Hour: "2d",
	} {
		if got := explain.Age(d); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}

// K03: many Services and nodes cost no more than each by itself.
func BenchmarkExplain10kServices(b *testing.B) {
	pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}}
	pool.Spec.Addresses = []v1beta1.AddressRange{"198.18.0.0/15"}
	advertisement := &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "lan"}}
	objects := explain.Objects{Pools: []*v1beta1.IPAddressPool{pool}, L2Advertisements: []*v1beta1.L2Advertisement{advertisement}}
	const nodes, services = 100, 10_000
	for n := range nodes {
		name := fmt.Sprintf("n%d", n)
		objects.Nodes = append(objects.Nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		objects.Speakers = append(objects.Speakers, speaker(name))
	}
	a := netip.MustParseAddr("198.18.0.0")
	for i := range services {
		objects.Services = append(objects.Services, service(fmt.Sprintf("s%d", i), shows(a.String()),
			says(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated, time.Hour),
			says(v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced, time.Hour)))
		s := objects.Speakers[i%nodes]
		s.Status.Held = append(s.Status.Held, v1beta1.HeldAddress{Address: a.String()})
		s.Status.HeldCount++
		a = a.Next()
	}
	b.Run("status", func(b *testing.B) {
		for b.Loop() {
			explain.New(objects, now()).Status()
		}
	})
	b.Run("service", func(b *testing.B) {
		for b.Loop() {
			explain.New(objects, now()).Service("shop/s5000")
		}
	})
}

// Where the DaemonSet of the speakers is not meant to put one, none is lacking.
func TestWhereASpeakerIsMeantToRun(t *testing.T) {
	pod := func(change func(*corev1.PodSpec)) *appsv1.DaemonSet {
		d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "lb", Name: "baliza-speaker"}}
		change(&d.Spec.Template.Spec)
		return d
	}
	tolerate := func(one corev1.Toleration) func(*corev1.PodSpec) {
		return func(spec *corev1.PodSpec) { spec.Tolerations = []corev1.Toleration{one} }
	}
	taint := corev1.Taint{Key: "example.org/storage", Value: "fast", Effect: corev1.TaintEffectNoSchedule}
	for sentence, test := range map[string]struct {
		daemonSet *appsv1.DaemonSet
		taint     corev1.Taint
		meant     bool
	}{
		"everything is tolerated":          {pod(tolerate(corev1.Toleration{Operator: corev1.TolerationOpExists})), taint, true},
		"the value is tolerated":           {pod(tolerate(corev1.Toleration{Key: taint.Key, Value: "fast"})), taint, true},
		"another value is":                 {pod(tolerate(corev1.Toleration{Key: taint.Key, Value: "slow"})), taint, false},
		"another effect is":                {pod(tolerate(corev1.Toleration{Key: taint.Key, Value: "fast", Effect: corev1.TaintEffectNoExecute})), taint, false},
		"nothing is":                       {pod(func(*corev1.PodSpec) {}), taint, false},
		"nothing needs to be":              {pod(func(*corev1.PodSpec) {}), corev1.Taint{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoExecute}, true},
		"the taint is a wish":              {pod(func(*corev1.PodSpec) {}), corev1.Taint{Key: taint.Key, Effect: corev1.TaintEffectPreferNoSchedule}, true},
		"another node is selected":         {pod(func(spec *corev1.PodSpec) { spec.NodeSelector = map[string]string{"uplink": "yes"} }), corev1.Taint{Key: "node.kubernetes.io/x"}, false},
		"an affinity may select another":   {pod(func(spec *corev1.PodSpec) { spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}} }), corev1.Taint{Key: "node.kubernetes.io/x"}, false},
		"the DaemonSet could not be found": {nil, taint, true},
	} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
		node.Spec.Taints = []corev1.Taint{test.taint}
		objects := explain.Objects{Nodes: []*corev1.Node{node}}
		if test.daemonSet != nil {
			objects.DaemonSets = []*appsv1.DaemonSet{test.daemonSet}
		}
		if got := explain.New(objects, now()).Speakers()[0]; (got.NotMeant == "") != test.meant || (got.Trouble != "") != test.meant {
			t.Errorf("%s: %+v", sentence, got)
		}
	}
}
