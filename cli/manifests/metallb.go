package manifests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// noteTheirs remembers where an object of MetalLB is, under the names by which findings
// call it.
func (s *Set) noteTheirs(at place, gvk schema.GroupVersionKind, namespace, name string) {
	if gvk.Group == corev1.GroupName && namespace != "" {
		name = namespace + "/" + name
	}
	key := gvk.Kind + " " + name
	if _, before := s.theirs[key]; !before {
		s.theirs[key] = origin{at, gvk.Group}
	}
}

// TakeMetalLB takes what MetalLB's objects mean to Baliza for objects of its own, before
// [Set.Check]: what would be wrong with ours is said of them. What cannot be carried over
// is a Finding; what only differs is none. An object of ours of the same name counts.
func (s *Set) TakeMetalLB() error {
	s.translated = map[string]bool{}
	t := metallb.Translate(&s.metallb)
	left := map[string]bool{}
	lost := slices.Clone(t.Findings)
	for _, svc := range s.services {
		lost = append(lost, metallb.ServiceFindings(svc)...)
	}
	for i := range lost {
		if f := &lost[i]; f.Outcome == metallb.Lost {
			s.addTheirs(f.Kind, f.Name, f.Field, v1beta1.ReasonInvalidSpec, f.Message)
			left[f.Kind+" "+f.Name+" "+f.Field] = true
		}
	}
	s.lost = left // from here on fields are those of what was carried over
	ours, bgp := &t.Objects, &t.Objects.BGP
	for _, err := range []error{
		take(s, config.KindPool, ours.Pools, &s.objects.Pools),
		take(s, config.KindL2Advertisement, ours.L2Advertisements, &s.objects.L2Advertisements),
		take(s, config.KindBGPPeer, bgp.Peers, &s.objects.BGP.Peers),
		take(s, config.KindBGPAdvertisement, bgp.Advertisements, &s.objects.BGP.Advertisements),
		take(s, config.KindBFDProfile, bgp.BFDProfiles, &s.objects.BGP.BFDProfiles),
		take(s, config.KindCommunity, bgp.Communities, &s.objects.BGP.Communities),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// take judges objects that MetalLB's became, and puts them beside ours.
func take[T metav1.Object](s *Set, kind string, objects []T, into *[]T) error {
	for _, object := range objects {
		name := object.GetName()
		key := kind + " " + name
		if _, has := s.places[key]; has {
			continue
		}
		s.translated[key] = true
		*into = append(*into, object)
		gvk := v1beta1.SchemeGroupVersion.WithKind(kind)
		if s.schemas == nil || !s.schemas.Knows(gvk) {
			continue
		}
		text, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		violations, err := s.schemas.Judge(gvk, text)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		for _, v := range violations {
			s.addTheirs(kind, name, v.Field, v1beta1.ReasonInvalidSpec, v.Message)
			s.refuse(kind, name, v.Field)
		}
	}
	return nil
}

// addTheirs adds a finding about an object of MetalLB, whose field has a name of its own.
func (s *Set) addTheirs(kind, name, field string, reason v1beta1.Reason, message string) {
	from, theirs := s.theirs[kind+" "+name]
	if !theirs { // a Service
		s.add(s.places[kind+" "+name], kind, name, field, reason, message)
		return
	}
	field = s.theirField(kind, name, field)
	cure, _ := cures.For(reason)
	s.findings = append(s.findings, Finding{
		File: from.file, Document: from.number, Kind: kind, Group: from.group, Name: name,
		Field: field, Reason: reason, Message: message, Cure: cure.Text,
	})
}

// theirField is what MetalLB calls a field of ours. An entry of a list is where it was
// before those were left out that cannot be carried over.
func (s *Set) theirField(kind, name, field string) string {
	const preferred = "spec.preferredNodes["
	if rest, is := strings.CutPrefix(field, preferred); is && kind == config.KindL2Advertisement {
		return "spec.preferredNodeSelectors[" + strings.Replace(rest, "].nodeSelector", "].preference", 1)
	}
	list, rest, _ := strings.Cut(field, "[")
	text, rest, is := strings.Cut(rest, "]")
	place, err := strconv.Atoi(text)
	if !is || err != nil {
		return field
	}
	for i := 0; i <= place; i++ {
		if s.lost[kind+" "+name+" "+entry(list, i)] {
			place++
		}
	}
	return entry(list, place) + rest
}

func entry(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
