package reconcile

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// bgpObjects are the operator's objects about BGP, by name.
func (r *Reconciler) bgpObjects() config.BGPObjects {
	objects := config.BGPObjects(r.Configuration.BGP())
	sortByName(objects.Peers)
	sortByName(objects.Advertisements)
	sortByName(objects.BFDProfiles)
	sortByName(objects.Communities)
	return objects
}

func sameBGP(a, b *config.BGPObjects) bool {
	return samePlan(a.Peers, b.Peers) && samePlan(a.Advertisements, b.Advertisements) &&
		samePlan(a.BFDProfiles, b.BFDProfiles) && samePlan(a.Communities, b.Communities)
}

// eachBGP calls f for every object about BGP.
func (r *Reconciler) eachBGP(f func(kind string, object metav1.Object, conditions []metav1.Condition)) {
	objects := &r.objects.BGP
	for _, o := range objects.Peers {
		f(config.KindBGPPeer, o, o.Status.Conditions)
	}
	for _, o := range objects.Advertisements {
		f(config.KindBGPAdvertisement, o, o.Status.Conditions)
	}
	for _, o := range objects.BFDProfiles {
		f(config.KindBFDProfile, o, o.Status.Conditions)
	}
	for _, o := range objects.Communities {
		f(config.KindCommunity, o, o.Status.Conditions)
	}
}

// metaOf is what a condition needs to know of its object.
func metaOf(object metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: object.GetName(), UID: object.GetUID(), Generation: object.GetGeneration()}
}

// readRoutes counts as owner each node from which a router knows an address.
func (p *reports) readRoutes(s *v1beta1.Speaker) {
	if s.Status.BGP == nil {
		return
	}
	for _, text := range s.Status.BGP.Announced {
		if a, err := config.ParseAddress(text); err == nil && !slices.Contains(p.owners[a], s.Name) {
			p.owners[a] = append(p.owners[a], s.Name)
		}
	}
}
