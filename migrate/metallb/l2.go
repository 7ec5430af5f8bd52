package metallb

import (
	"fmt"
	"slices"

	ours "github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// index is the field of an entry.
func index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

func (t *translator) l2Advertisement(object *L2Advertisement) {
	from, a := &object.Spec, about{t, config.KindL2Advertisement, object.Name}
	to := &ours.L2Advertisement{TypeMeta: typeMeta(a.kind), ObjectMeta: metaOf(object)}
	to.Spec = ours.L2AdvertisementSpec{
		IPAddressPools: unique(from.IPAddressPools), IPAddressPoolSelectors: slices.Clone(from.IPAddressPoolSelectors),
		ServiceSelectors: slices.Clone(from.ServiceSelectors), NodeSelectors: slices.Clone(from.NodeSelectors),
		Interfaces: unique(from.Interfaces),
	}
	a.fit("spec.ipAddressPools", len(to.Spec.IPAddressPools), mostNames)
	a.fit("spec.ipAddressPoolSelectors", len(from.IPAddressPoolSelectors), mostSelectors)
	a.fit("spec.serviceSelectors", len(from.ServiceSelectors), mostSelectors)
	a.fit("spec.nodeSelectors", len(from.NodeSelectors), mostSelectors)
	a.fit("spec.interfaces", len(to.Spec.Interfaces), mostInterfaces)
	a.fit("spec.preferredNodeSelectors", len(from.PreferredNodeSelectors), mostSelectors)
	for i := range from.PreferredNodeSelectors {
		one := &from.PreferredNodeSelectors[i]
		to.Spec.PreferredNodes = append(to.Spec.PreferredNodes, ours.PreferredNode{Weight: one.Weight, NodeSelector: one.Preference})
	}
	if len(from.ServiceSelectors) > 0 {
		a.note(Differs, "spec.serviceSelectors", "Services that share an address are announced, too, where MetalLB refuses to")
	}
	if len(from.PreferredNodeSelectors) > 0 {
		to.Spec.Failback = ours.FailbackImmediate
		a.note(Exact, "spec.preferredNodeSelectors", "it is called preferredNodes, and failback: Immediate moves an address "+
			"as soon as a better node is there, as MetalLB does")
	}
	t.objects.L2Advertisements = append(t.objects.L2Advertisements, to)
}

// unique are names without duplicates, in their order.
func unique(names []string) []string {
	var all []string
	for _, name := range names {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}
