package metallb

import (
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/config"
)

// Carried are the fields of the objects' specs that are set and that no finding says
// to differ or to be lost, those within lists by the list. Of an object that is left
// out nothing is carried over.
func (o *Objects) Carried(t *Translation) []Finding {
	var all []Finding
	carried(&all, config.KindPool, o.Pools, t.Objects.Pools, t.Findings)
	carried(&all, config.KindL2Advertisement, o.L2Advertisements, t.Objects.L2Advertisements, t.Findings)
	carried(&all, config.KindBGPPeer, o.BGPPeers, t.Objects.BGP.Peers, t.Findings)
	carried(&all, config.KindBGPAdvertisement, o.BGPAdvertisements, t.Objects.BGP.Advertisements, t.Findings)
	carried(&all, config.KindBFDProfile, o.BFDProfiles, t.Objects.BGP.BFDProfiles, t.Findings)
	carried(&all, config.KindCommunity, o.Communities, t.Objects.BGP.Communities, t.Findings)
	SortFindings(all)
	return all
}

func carried[S any, O metav1.Object](all *[]Finding, kind string, objects []*Object[S], made []O, found []Finding) {
	for _, object := range objects {
		if !slices.ContainsFunc(made, func(one O) bool { return one.GetName() == object.Name }) {
			continue
		}
		for _, field := range setFields("spec", object.Spec) {
			said := func(f Finding) bool {
				return f.Kind == kind && f.Name == object.Name && (f.Field == field || strings.HasPrefix(f.Field, field+"["))
			}
			if !slices.ContainsFunc(found, said) {
				*all = append(*all, Finding{Outcome: Exact, Kind: kind, Name: object.Name, Field: field})
			}
		}
	}
}

// setFields are the paths of the fields that are set in a struct, and in those within.
func setFields(path string, value any) []string {
	data, err := json.Marshal(value)
	var fields map[string]any
	if err != nil || json.Unmarshal(data, &fields) != nil {
		return nil // a duration, for example, which is no struct in JSON
	}
	var all []string
	for name, one := range fields {
		if within, is := one.(map[string]any); is && name == "serviceAllocation" {
			all = append(all, setFields(path+"."+name, within)...)
			continue
		}
		all = append(all, path+"."+name)
	}
	slices.Sort(all)
	return all
}
