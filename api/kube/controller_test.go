package kube

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

func loadBalancer() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
}

func write(before *corev1.Service) ServiceWrite {
	return ServiceWrite{
		Before: before, Pool: "lan", Unannounced: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Addresses:  []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		Conditions: []metav1.Condition{{Type: v1beta1.ConditionAllocated, Status: metav1.ConditionTrue, Reason: "Allocated"}},
	}
}

func TestOneWriteSaysEverythingAndAnEmptyOneTakesItBack(t *testing.T) {
	svc := loadBalancer()
	svc.Finalizers = []string{"example.com/other"}
	svc.Annotations = map[string]string{"example.com/theirs": "yes"}
	svc.Status.Conditions = []metav1.Condition{{Type: "example.com/Theirs", Status: metav1.ConditionTrue}}
	client := fake.NewClientset(svc)
	w := NewServices(Clients{Kubernetes: client}, []string{v1beta1.AnnotationAllocatedPool, v1beta1.AnnotationAllocatedAddresses, v1beta1.AnnotationUnannounced})
	after, err := w.Write(t.Context(), write(svc))
	if err != nil {
		t.Fatal(err)
	}
	live := func() *corev1.Service {
		t.Helper()
		got, err := client.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := live()
	vip := corev1.LoadBalancerIPModeVIP
	expected := []corev1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &vip}, {IP: "2001:db8::1", IPMode: &vip}}
	if !reflect.DeepEqual(got.Status.LoadBalancer.Ingress, expected) || len(got.Status.Conditions) != 2 ||
		!slices.Contains(got.Finalizers, v1beta1.Finalizer) || len(got.Finalizers) != 2 ||
		got.Annotations[v1beta1.AnnotationAllocatedPool] != "lan" || got.Annotations[v1beta1.AnnotationUnannounced] != "192.0.2.1" {
		t.Errorf("after the write: %+v", got)
	}
	again := write(after)
	again.Unannounced, again.Conditions[0].Reason = nil, "Other"
	if after, err = w.Write(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if got = live(); len(got.Status.LoadBalancer.Ingress) != 2 || len(got.Status.Conditions) != 2 || len(got.Annotations) != 3 {
		t.Errorf("after a change: %+v", got)
	}
	kept := ServiceWrite{Before: after, Pool: "lan"}
	if after, err = w.Write(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if got = live(); len(got.Status.LoadBalancer.Ingress) != 2 || len(got.Status.Conditions) != 1 {
		t.Errorf("addresses that are not to vanish: %+v", got)
	}
	if _, err := w.Write(t.Context(), ServiceWrite{Before: after, Vanish: true}); err != nil {
		t.Fatal(err)
	}
	got = live()
	if len(got.Status.LoadBalancer.Ingress) > 0 || len(got.Annotations) != 1 || !slices.Equal(got.Finalizers, []string{"example.com/other"}) ||
		len(got.Status.Conditions) != 1 || got.Status.Conditions[0].Type != "example.com/Theirs" {
		t.Errorf("after taking back: %+v", got)
	}
}

// The names are everybody's: kstatus knows no other.
func TestStalledAndReconcilingOfOthersStay(t *testing.T) {
	svc := loadBalancer()
	client := fake.NewClientset(svc)
	w := NewServices(Clients{Kubernetes: client}, nil)
	var now *corev1.Service
	expect := func(said ServiceWrite, want string) {
		t.Helper()
		after, err := w.Write(t.Context(), said)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, c := range after.Status.Conditions {
			all = append(all, c.Type+"="+c.Reason)
		}
		slices.Sort(all)
		if got := strings.Join(all, " "); got != want {
			t.Errorf("conditions %s, want %s", got, want)
		}
		now = after
		said.Before = after
		if !said.HasProgress() {
			t.Errorf("what was written is still missing: %+v", after.Status.Conditions)
		}
	}
	progress := func(kind string) *metav1.Condition {
		return &metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Allocated"}
	}
	said := write(svc)
	said.Progress = progress(v1beta1.ConditionReconciling)
	expect(said, "Reconciling=Allocated baliza.io/Allocated=Allocated")
	said = write(now)
	said.Progress = progress(v1beta1.ConditionStalled)
	expect(said, "Stalled=Allocated baliza.io/Allocated=Allocated")
	expect(write(now), "baliza.io/Allocated=Allocated")

	now.Status.Conditions = append(now.Status.Conditions, metav1.Condition{Type: v1beta1.ConditionStalled, Status: metav1.ConditionTrue, Reason: "Theirs"})
	theirs, err := client.CoreV1().Services("default").UpdateStatus(t.Context(), now, metav1.UpdateOptions{FieldManager: "other"})
	if err != nil {
		t.Fatal(err)
	}
	said = write(theirs)
	said.Progress = progress(v1beta1.ConditionStalled)
	expect(said, "Stalled=Theirs baliza.io/Allocated=Allocated")
	expect(write(now), "Stalled=Theirs baliza.io/Allocated=Allocated")
}

func TestWhatAnotherManagerWroteIsYieldedToWhenAsked(t *testing.T) {
	client := fake.NewClientset(loadBalancer())
	theirs := loadBalancer()
	theirs.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
	if _, err := client.CoreV1().Services("default").UpdateStatus(t.Context(), theirs, metav1.UpdateOptions{FieldManager: "other-lb"}); err != nil {
		t.Fatal(err)
	}
	w := NewServices(Clients{Kubernetes: client}, nil)
	said := write(theirs)
	said.Yield = true
	_, err := w.Write(t.Context(), said)
	var conflict *FieldConflict
	if !errors.As(err, &conflict) || !slices.Equal(conflict.Managers, []string{"other-lb"}) {
		t.Fatalf("got %v", err)
	}
	said.Yield = false
	got, err := w.Write(t.Context(), said)
	if err != nil || len(got.Status.LoadBalancer.Ingress) != 2 {
		t.Errorf("not yielding: %+v, %v", got, err)
	}
	said.Before, said.Addresses, said.Yield = got, said.Addresses[:1], true
	if got, err := w.Write(t.Context(), said); err != nil || len(got.Status.LoadBalancer.Ingress) != 1 {
		t.Errorf("what was written here: %+v, %v", got, err)
	}
}

func TestStaleAndGoneAreErrStale(t *testing.T) {
	client := fake.NewClientset()
	w := NewServices(Clients{Kubernetes: client}, nil)
	resource := schema.GroupResource{Resource: "services"}
	for sentence, answer := range map[string]error{
		"changed": apierrors.NewConflict(resource, "web", errors.New("modified")),
		"gone":    apierrors.NewNotFound(resource, "web"),
	} {
		client.PrependReactor("patch", "services", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, answer })
		if _, err := w.Write(t.Context(), write(loadBalancer())); !errors.Is(err, ErrStale) {
			t.Errorf("%s: got %v", sentence, err)
		}
	}
	yielding := write(loadBalancer())
	yielding.Yield = true
	if _, err := w.Write(t.Context(), yielding); !errors.Is(err, ErrStale) {
		t.Errorf("gone before it was asked whose the addresses are: %v", err)
	}
	if svc, err := w.Get(t.Context(), "default", "none"); svc != nil || err != nil {
		t.Errorf("a Service that is not there: %v, %v", svc, err)
	}
}

func TestStripKeepsWhatDecides(t *testing.T) {
	svc := loadBalancer()
	svc.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	svc.Labels = map[string]string{"tier": "gold"}
	svc.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}", v1beta1.AnnotationPool: "lan"}
	svc.Finalizers = []string{"example.com/other", v1beta1.Finalizer}
	svc.Spec.Selector = map[string]string{"app": "web"}
	svc.Spec.ClusterIPs = []string{"10.0.0.1"}
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, NodePort: 30000}}
	svc.Status.Conditions = []metav1.Condition{{Type: "example.com/Theirs"}, {Type: v1beta1.ConditionAllocated}}
	slim := serviceStripper([]string{v1beta1.AnnotationPool})(svc)
	if len(slim.ManagedFields) > 0 || len(slim.Annotations) != 1 || len(slim.Finalizers) != 1 || len(slim.Status.Conditions) != 1 ||
		len(slim.Spec.ClusterIPs) > 0 || slim.Spec.Ports[0] != (corev1.ServicePort{Protocol: corev1.ProtocolTCP, Port: 80}) ||
		slim.Spec.Selector["app"] != "web" || slim.Labels["tier"] != "gold" {
		t.Errorf("got %+v", slim)
	}
	svc.Spec.Type = corev1.ServiceTypeClusterIP
	if slim := serviceStripper(nil)(svc); len(slim.Spec.Ports) > 0 || len(slim.Labels) > 0 {
		t.Errorf("of a Service that is no load balancer: %+v", slim)
	}
}

func TestMembershipSecretIsMadeOnceAndHolds32Bytes(t *testing.T) {
	client := fake.NewClientset()
	clients := Clients{Kubernetes: client}
	for _, made := range []bool{true, false} {
		got, err := EnsureMembershipSecret(t.Context(), clients, "baliza-system", "baliza-membership", "")
		if err != nil || got != made {
			t.Errorf("made: %v, %v; want %v", got, err, made)
		}
	}
	secret, err := client.CoreV1().Secrets("baliza-system").Get(t.Context(), "baliza-membership", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(string(secret.Data[MembershipKeyField]))
	if err != nil || len(key) != 32 {
		t.Errorf("%d bytes, %v", len(key), err)
	}
}

func TestA14OneLeaderAtATimeAndTheNextAfterAGracefulStop(t *testing.T) {
	clients := Clients{Kubernetes: fake.NewClientset()}
	first, second := NewElection(clients, "ns", "lease", "first"), NewElection(clients, "ns", "lease", "second")
	if first.Leading() {
		t.Error("leading before the election")
	}
	run := func(e *Election) (stop context.CancelFunc, leads chan bool, ended chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		leads, ended = make(chan bool, 2), make(chan error, 1)
		go func() {
			ended <- e.Run(ctx, func(ctx context.Context) error {
				leads <- e.Leading()
				<-ctx.Done()
				leads <- e.Leading() // the Lease is given up only after this returns
				return nil
			})
		}()
		return cancel, leads, ended
	}
	stopFirst, leads, ended := run(first)
	if !<-leads {
		t.Error("the leader is not leading")
	}
	stopSecond, secondLeads, secondEnded := run(second)
	select {
	case <-secondLeads:
		t.Fatal("two leaders")
	case <-time.After(3 * time.Second):
	}
	stopFirst()
	if !<-leads {
		t.Error("the Lease was given up before the work had stopped")
	}
	if err := <-ended; err != nil {
		t.Errorf("a graceful stop: %v", err)
	}
	if first.Leading() {
		t.Error("leading after the end")
	}
	if !<-secondLeads {
		t.Error("the second is not leading")
	}
	stopSecond()
	if err := <-secondEnded; err != nil {
		t.Error(err)
	}
}

func TestLeadershipLostWhenTheLeaseCannotBeRenewed(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	e := NewElection(Clients{Kubernetes: client}, "ns", "lease", "only")
	var down atomic.Bool
	client.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return down.Load(), nil, errors.New("the API server is gone")
	})
	lead := func(ctx context.Context) error {
		down.Store(true)
		<-ctx.Done()
		return nil
	}
	if err := e.Run(t.Context(), lead); !errors.Is(err, ErrLeadershipLost) {
		t.Errorf("got %v", err)
	}
	if e.Leading() {
		t.Error("leading still")
	}
}
