package metallb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ours "github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// Translation is what MetalLB's objects are to Baliza.
type Translation struct {
	// Objects are ours, each kind by name.
	Objects config.Objects
	// Findings are what differs and what is lost, in the order of SortFindings.
	Findings []Finding
}

// Translate makes objects of ours of MetalLB's. What would reach further than
// MetalLB's own does is left out instead: a peer in a VRF, an advertisement that
// would be told to all peers because none of its own is left.
//
// The outcome does not depend on the order of the objects.
func Translate(o *Objects) Translation {
	t := &translator{}
	t.findings = slices.Clone(o.findings)
	t.pools(o.Pools)
	for _, object := range sorted(o.L2Advertisements) {
		t.l2Advertisement(object)
	}
	lost := map[string]bool{}
	for _, object := range sorted(o.BGPPeers) {
		if !t.bgpPeer(object) {
			lost[object.Name] = true
		}
	}
	for _, object := range sorted(o.BGPAdvertisements) {
		t.bgpAdvertisement(object, o.BGPPeers, lost)
	}
	for _, object := range sorted(o.BFDProfiles) {
		t.bfdProfile(object)
	}
	for _, object := range sorted(o.Communities) {
		t.community(object)
	}
	SortFindings(t.findings)
	return Translation{Objects: t.objects, Findings: t.findings}
}

// translator gathers objects and findings.
type translator struct {
	objects  config.Objects
	findings []Finding
}

// about notes findings of one object.
type about struct {
	*translator
	kind, name string
}

func (a about) note(outcome Outcome, field, format string, args ...any) {
	a.findings = append(a.findings, Finding{outcome, a.kind, a.name, field, fmt.Sprintf(format, args...)})
}

// fit notes a list that is longer than the API server takes of ours.
func (a about) fit(field string, length, most int) {
	if length > most {
		a.note(Lost, field, "there are %d, and the API server takes %d at most: make several objects of it", length, most)
	}
}

// Limits of lists in our schema.
const (
	mostRanges      = 128
	mostSelectors   = 64
	mostNames       = 256
	mostNamespaces  = 1024
	mostInterfaces  = 64
	mostCommunities = 63
)

// sorted are objects by name.
func sorted[S any](objects []*Object[S]) []*Object[S] {
	all := slices.Clone(objects)
	slices.SortStableFunc(all, func(a, b *Object[S]) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// metaOf is what of an object's metadata means something to us: its name, its labels,
// by which pools are selected, and its age, by which the older of two pools counts.
func metaOf[S any](o *Object[S]) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Name: o.Name, CreationTimestamp: o.CreationTimestamp}
	for key, value := range o.Labels {
		if !deployersLabel(key) {
			metav1.SetMetaDataLabel(&meta, key, value)
		}
	}
	return meta
}

// deployersLabel reports whether a label says which tool brought an object, which
// would take ours for its own and delete it.
func deployersLabel(key string) bool {
	prefix, _, _ := strings.Cut(key, "/")
	return key == "app.kubernetes.io/managed-by" || key == "app.kubernetes.io/instance" || prefix == "helm.sh" ||
		prefix == "kustomize.toolkit.fluxcd.io" || prefix == "helm.toolkit.fluxcd.io" || prefix == "argocd.argoproj.io"
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: ours.SchemeGroupVersion.String(), Kind: kind}
}
