package status

import (
	"bytes"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

var update = flag.Bool("update", false, "write testdata")

var at = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Each object as the controller leaves it. What programs that wait for objects make of
// these files is tested where such programs are at hand: see tools/gitops.
func TestStatesOfObjects(t *testing.T) {
	meta := metav1.ObjectMeta{Name: "lan", Generation: 2}
	problem := func(kind string, reason v1beta1.Reason) []config.Problem {
		return []config.Problem{{Kind: kind, Name: "lan", Field: "spec", Reason: reason, Message: "what is wrong"}}
	}
	view := func(problems []config.Problem, outside ...string) *View {
		return &View{
			Objects: &config.Objects{}, Problems: problems,
			Counters: func(string) ipam.Counters {
				return ipam.Counters{AvailableIPv4: new(big.Int), AvailableIPv6: new(big.Int), OutsideSpec: outside}
			},
			Quarantined: func(string) []v1beta1.QuarantinedAddress { return nil },
		}
	}
	pool := func(v *View) *v1beta1.IPAddressPool {
		o := &v1beta1.IPAddressPool{TypeMeta: typeMeta(config.KindPool), ObjectMeta: meta, Spec: v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}}}
		o.Status = v.Pool(o, nil, at)
		return o
	}
	files := map[string]any{
		"pool-valid":        pool(view(nil)),
		"pool-invalid":      pool(view(problem(config.KindPool, v1beta1.ReasonInvalidSpec))),
		"pool-overlap":      pool(view(problem(config.KindPool, v1beta1.ReasonOverlap))),
		"pool-used":         pool(view(problem(config.KindPool, v1beta1.ReasonUsedByCluster))),
		"pool-outside-spec": pool(view(nil, "default/web 192.0.3.1")),
		"pool-unseen": &v1beta1.IPAddressPool{
			TypeMeta: typeMeta(config.KindPool), ObjectMeta: metav1.ObjectMeta{Name: "lan", Generation: 1},
			Status: v1beta1.IPAddressPoolStatus{ObservedGeneration: -1},
		},
		"pool-edited": func() any {
			o := pool(view(nil))
			o.Generation++
			return o
		}(),
	}
	for name, one := range map[string]struct {
		kind   string
		reason v1beta1.Reason
	}{
		"l2advertisement-valid":        {kind: config.KindL2Advertisement},
		"l2advertisement-without-pool": {kind: config.KindL2Advertisement, reason: v1beta1.ReasonReferenceNotFound},
		"l2advertisement-no-match":     {kind: config.KindL2Advertisement, reason: v1beta1.ReasonNoMatch},
		"bgppeer-valid":                {kind: config.KindBGPPeer},
		"bgppeer-overlap":              {kind: config.KindBGPPeer, reason: v1beta1.ReasonOverlap},
		"bgpadvertisement-valid":       {kind: config.KindBGPAdvertisement},
		"bgpadvertisement-without":     {kind: config.KindBGPAdvertisement, reason: v1beta1.ReasonReferenceNotFound},
		"bfdprofile-valid":             {kind: config.KindBFDProfile},
		"bfdprofile-invalid":           {kind: config.KindBFDProfile, reason: v1beta1.ReasonInvalidSpec},
		"community-valid":              {kind: config.KindCommunity},
		"community-invalid":            {kind: config.KindCommunity, reason: v1beta1.ReasonInvalidSpec},
	} {
		v := view(nil)
		if one.reason != "" {
			v = view(problem(one.kind, one.reason))
		}
		files[name] = map[string]any{
			"apiVersion": v1beta1.SchemeGroupVersion.String(), "kind": one.kind, "metadata": meta,
			"status": map[string]any{"observedGeneration": meta.Generation, "conditions": v.conditions(one.kind, &meta, nil, v1beta1.ReasonValid, at)},
		}
	}
	services(files)
	for name, object := range files {
		golden(t, name, object)
	}
	kept, err := filepath.Glob("testdata/states/*.yaml")
	if err != nil || len(kept) != len(files) {
		t.Errorf("%d files of %d objects: %v", len(kept), len(files), err)
	}
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: v1beta1.SchemeGroupVersion.String(), Kind: kind}
}

// services adds Services in their states.
func services(files map[string]any) {
	condition := func(kind string, status metav1.ConditionStatus, reason v1beta1.Reason) *metav1.Condition {
		return &metav1.Condition{Type: kind, Status: status, Reason: string(reason), Message: "what is so", LastTransitionTime: metav1.NewTime(at)}
	}
	for name, one := range map[string]struct {
		allocated, announced *metav1.Condition
	}{
		"service-new":       {},
		"service-allocated": {allocated: condition(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated)},
		"service-exhausted": {allocated: condition(v1beta1.ConditionAllocated, metav1.ConditionFalse, v1beta1.ReasonPoolExhausted)},
		"service-no-pool":   {allocated: condition(v1beta1.ConditionAllocated, metav1.ConditionFalse, v1beta1.ReasonNoPool)},
		"service-foreign":   {allocated: condition(v1beta1.ConditionAllocated, metav1.ConditionFalse, v1beta1.ReasonWriteConflict)},
		"service-announced": {
			allocated: condition(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated),
			announced: condition(v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced),
		},
		"service-without-endpoint": {
			allocated: condition(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated),
			announced: condition(v1beta1.ConditionAnnounced, metav1.ConditionFalse, v1beta1.ReasonNoEndpoint),
		},
		"service-nodes-excluded": {
			allocated: condition(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated),
			announced: condition(v1beta1.ConditionAnnounced, metav1.ConditionFalse, v1beta1.ReasonNodeExcluded),
		},
		"service-speakers-silent": {
			allocated: condition(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated),
			announced: condition(v1beta1.ConditionAnnounced, metav1.ConditionUnknown, v1beta1.ReasonNoSpeakerReady),
		},
	} {
		s := &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}}
		s.Spec.Type, s.Spec.ClusterIP = corev1.ServiceTypeLoadBalancer, "198.18.0.1"
		for _, c := range []*metav1.Condition{one.allocated, one.announced, Progress(one.allocated, one.announced)} {
			if c != nil {
				s.Status.Conditions = append(s.Status.Conditions, *c)
			}
		}
		if one.allocated != nil && one.allocated.Status == metav1.ConditionTrue || name == "service-foreign" {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.10"}}
		}
		files[name] = s
	}
}

func golden(t *testing.T, name string, object any) {
	t.Helper()
	got, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "states", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("%s: %v\n%s", file, err, got)
	}
}

// A condition that says the same keeps its time, as Ready does.
func TestStalledKeepsItsTime(t *testing.T) {
	v := &View{Problems: []config.Problem{{Kind: config.KindBGPPeer, Name: "tor", Reason: v1beta1.ReasonInvalidSpec}}}
	object := &metav1.ObjectMeta{Name: "tor", Generation: 1}
	first := v.conditions(config.KindBGPPeer, object, nil, v1beta1.ReasonValid, at)
	again := v.conditions(config.KindBGPPeer, object, first, v1beta1.ReasonValid, at.Add(time.Hour))
	if len(first) != 2 || len(again) != 2 || !again[1].LastTransitionTime.Equal(&first[1].LastTransitionTime) {
		t.Errorf("first %v, then %v", first, again)
	}
}
