package kube

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

func held(name string, annotations map[string]string) *corev1.Service {
	svc := loadBalancer()
	svc.Name, svc.Annotations, svc.Finalizers = name, annotations, []string{"example.com/other", v1beta1.FormerFinalizer}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	return svc
}

// putBy has the API server's record say who put the former finalizer there.
func putBy(svc *corev1.Service, managers ...string) {
	for _, manager := range managers {
		svc.ManagedFields = append(svc.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: "status", FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:finalizers":{".":{},"v:\"service.kubernetes.io/load-balancer-cleanup\"":{}}}}`),
		})
	}
}

// Defect 3: the finalizer that cloud providers share is ours to take off only
// where the record of field managers proves that we put it there.
func TestDefect3TheFormerFinalizerIsTakenOffWhereItIsProvablyOurs(t *testing.T) {
	for name, one := range map[string]struct {
		managers []string
		ours     bool
	}{
		"by us":                      {[]string{FieldManager}, true},
		"by a cloud provider":        {[]string{"cloud-controller-manager"}, false},
		"by us and a cloud provider": {[]string{FieldManager, "cloud-controller-manager"}, false},
		"nobody knows by whom":       {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			svc := held("web", nil)
			putBy(svc, one.managers...)
			strip := serviceStripper(nil)
			slim := strip(strip(svc)) // a transform may run twice
			w := ServiceWrite{Before: slim, Pool: "lan"}
			add, remove := w.finalizers()
			if !slices.Equal(add, []string{v1beta1.Finalizer}) || slices.Contains(remove, v1beta1.FormerFinalizer) != one.ours || w.HasFinalizers() {
				t.Errorf("adds %q, removes %q", add, remove)
			}
		})
	}
}

// Defect 10: a speaker is told that the controller leaves a Service alone, and
// nothing else of what that says.
func TestDefect10ASpeakerSeesThatAServiceIsLeftAlone(t *testing.T) {
	strip := speakerStripper("n1", serviceStripper(nil))
	for reason, kept := range map[v1beta1.Reason]int{v1beta1.ReasonWriteConflict: 1, v1beta1.ReasonAllocated: 0} {
		svc := loadBalancer()
		svc.Status.Conditions = []metav1.Condition{{Type: v1beta1.ConditionAllocated, Reason: string(reason), Message: "any", LastTransitionTime: metav1.Now()}}
		slim, err := strip(svc)
		if err != nil {
			t.Fatal(err)
		}
		got := slim.(*corev1.Service).Status.Conditions
		if len(got) != kept || kept > 0 && (got[0].Message != "" || !got[0].LastTransitionTime.IsZero()) {
			t.Errorf("%s: %+v", reason, got)
		}
	}
}

func TestI03_ReleaseTakesOffOurFinalizerAndNoOther(t *testing.T) {
	ours, theirs := held("ours", map[string]string{v1beta1.AnnotationAllocatedPool: "lan"}), held("theirs", nil)
	ours.Finalizers = append(ours.Finalizers, v1beta1.Finalizer)
	putBy(ours, FieldManager)
	putBy(theirs, "cloud-controller-manager")
	waiting := loadBalancer() // without an address: nobody is to wait for it any more
	waiting.Name = "waiting"
	for _, kind := range []string{v1beta1.ConditionAllocated, v1beta1.ConditionStalled} {
		waiting.Status.Conditions = append(waiting.Status.Conditions, metav1.Condition{Type: kind, Reason: string(v1beta1.ReasonPoolExhausted)})
	}
	client := fake.NewClientset(ours, theirs, waiting)
	var released []string
	err := ReleaseServices(t.Context(), Clients{Kubernetes: client}, func(namespace, name string) { released = append(released, namespace+"/"+name) })
	if err != nil || !slices.Equal(released, []string{"default/ours"}) {
		t.Fatalf("released %v, %v", released, err)
	}
	got, err := client.CoreV1().Services("default").Get(t.Context(), "ours", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Finalizers, []string{"example.com/other"}) {
		t.Errorf("finalizers %v", got.Finalizers)
	}
	if len(got.Status.LoadBalancer.Ingress) != 1 || got.Annotations[v1beta1.AnnotationAllocatedPool] != "lan" {
		t.Errorf("the address is to stay, and where it is from: %+v", got)
	}
	if c := meta.FindStatusCondition(got.Status.Conditions, v1beta1.ConditionAnnounced); c == nil || c.Reason != string(v1beta1.ReasonUninstalled) {
		t.Errorf("condition %+v", c)
	}
	got, err = client.CoreV1().Services("default").Get(t.Context(), "theirs", metav1.GetOptions{})
	if err != nil || len(got.Finalizers) != 2 || len(got.Status.Conditions) != 0 {
		t.Errorf("another provider's Service was touched: %+v, %v", got, err)
	}
	got, err = client.CoreV1().Services("default").Get(t.Context(), "waiting", metav1.GetOptions{})
	if err != nil || len(got.Status.Conditions) != 1 || got.Status.Conditions[0].Type != v1beta1.ConditionAllocated {
		t.Errorf("what waited has the conditions %+v, %v", got.Status.Conditions, err)
	}
	events, err := client.EventsV1().Events("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(events.Items) != 1 || events.Items[0].Regarding.Name != "ours" {
		t.Errorf("events %+v, %v", events, err)
	}
}

func TestI03_NothingIsReleasedWhileAControllerLives(t *testing.T) {
	now := time.Now()
	holder := "replica"
	lease := func(renewed time.Time) *coordinationv1.Lease {
		at := metav1.NewMicroTime(renewed)
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "lease"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &at},
		}
	}
	wait := func(client *fake.Clientset) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return WaitNoLeader(ctx, Clients{Kubernetes: client}, "ns", "lease", func() time.Time { return now })
	}
	if err := wait(fake.NewClientset()); err != nil {
		t.Errorf("without a Lease: %v", err)
	}
	if err := wait(fake.NewClientset(lease(now.Add(-time.Minute)))); err != nil {
		t.Errorf("one that ran out: %v", err)
	}
	client := fake.NewClientset(lease(now))
	done := make(chan error, 1)
	go func() { done <- wait(client) }()
	for i := 0; ; i++ {
		select {
		case err := <-done:
			if !errors.Is(err, ErrControllerAlive) {
				t.Errorf("one that is renewed: %v", err)
			}
			return
		case <-time.After(100 * time.Millisecond):
			if _, err := client.CoordinationV1().Leases("ns").Update(t.Context(), lease(now.Add(time.Duration(i)*time.Second)), metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTheTrialSaysWhyThereIsNoAddressAndLeavesNothing(t *testing.T) {
	client := fake.NewClientset()
	clients := Clients{Kubernetes: client}
	trial, err := NewTrial(t.Context(), clients, "ns", "trial", v1beta1.LoadBalancerClass, "lan")
	if err != nil {
		t.Fatal(err)
	}
	svc, err := client.CoreV1().Services("ns").Get(t.Context(), "trial", metav1.GetOptions{})
	if err != nil || svc.Annotations[v1beta1.AnnotationPool] != "lan" || *svc.Spec.LoadBalancerClass != v1beta1.LoadBalancerClass {
		t.Fatalf("%+v, %v", svc, err)
	}
	say := func(kind string, status metav1.ConditionStatus, message string) {
		meta.SetStatusCondition(&svc.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: "Any", Message: message})
		if _, err := client.CoreV1().Services("ns").UpdateStatus(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	say(v1beta1.ConditionAllocated, metav1.ConditionFalse, "pool lan is empty")
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := trial.Announced(short); err == nil || !strings.Contains(err.Error(), "pool lan is empty") {
		t.Errorf("got %v", err)
	}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}}
	say(v1beta1.ConditionAllocated, metav1.ConditionTrue, "")
	say(v1beta1.ConditionAnnounced, metav1.ConditionTrue, "")
	if all, err := trial.Announced(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("got %v, %v", all, err)
	}
	if err := trial.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := client.CoreV1().Services("ns").Get(t.Context(), "trial", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is there still: %v", err)
	}
}

// The Secret of the speakers has the passwords that peers name and no others,
// follows them, and is not made for nothing.
func TestI05_SpeakersGetThePasswordsOfPeersAlone(t *testing.T) {
	secret := func(name, password string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Type: corev1.SecretTypeBasicAuth,
			Data: map[string][]byte{corev1.BasicAuthPasswordKey: []byte(password), "username": []byte("nobody")},
		}
	}
	client := fake.NewClientset(secret("rack", "one"), secret("other", "hidden"))
	var peers []*v1beta1.BGPPeer
	p := NewPasswords(Clients{Kubernetes: client}, "ns", func() BGPObjects { return BGPObjects{Peers: peers} }, slog.New(slog.DiscardHandler))
	read := func() map[string][]byte {
		got, err := client.CoreV1().Secrets("ns").Get(t.Context(), PasswordsSecret, metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return got.Data
	}
	if got, err := p.existing(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("got %v, %v", got, err)
	}
	peers = []*v1beta1.BGPPeer{
		{Spec: v1beta1.BGPPeerSpec{PasswordSecret: &v1beta1.PasswordSecret{Name: "rack"}}},
		{Spec: v1beta1.BGPPeerSpec{PasswordSecret: &v1beta1.PasswordSecret{Name: "absent"}}},
		{},
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	eventually := func(what string, ok func(map[string][]byte) bool) {
		t.Helper()
		for range 200 {
			if ok(read()) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("%s: %q", what, read())
	}
	eventually("the one password", func(d map[string][]byte) bool { return len(d) == 1 && string(d["rack"]) == "one" })
	if _, err := client.CoreV1().Secrets("ns").Update(ctx, secret("rack", "two"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("a changed one", func(d map[string][]byte) bool { return string(d["rack"]) == "two" })
	if err := client.CoreV1().Secrets("ns").Delete(ctx, "rack", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("a deleted one", func(d map[string][]byte) bool { return d["rack"] == nil })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
