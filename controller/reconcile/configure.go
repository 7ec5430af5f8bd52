package reconcile

import (
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// configure reads the operator's objects; it reports whether they mean
// something new, and then it is to be decided for all.
func (r *Reconciler) configure() bool {
	objects := config.Objects{
		Pools: r.Configuration.Pools(), L2Advertisements: r.Configuration.L2Advertisements(), Namespace: r.options.Namespace,
	}
	sortByName(objects.Pools)
	sortByName(objects.L2Advertisements)
	objects.BGP, objects.InUse = r.bgpObjects(), r.inUse()
	before := r.objects
	r.objects = objects
	for _, gone := range before.Pools {
		if !slices.ContainsFunc(objects.Pools, func(o *v1beta1.IPAddressPool) bool { return o.Name == gone.Name }) {
			r.Metrics.forgetPool(gone.Name)
		}
	}
	if samePlan(before.Pools, objects.Pools) && samePlan(before.L2Advertisements, objects.L2Advertisements) &&
		sameBGP(&before.BGP, &objects.BGP) && slices.Equal(before.InUse, objects.InUse) {
		return false
	}
	r.snapshot, r.problems = config.Build(objects)
	r.allocator.SetSnapshot(r.snapshot)
	r.allocator.Wake() // who waits is decided for with all others
	return true
}

// inUse are the addresses that the cluster itself has: as its objects say, and,
// where no Service has them, as the speakers see them on nodes and beside them.
func (r *Reconciler) inUse() []config.InUse {
	var found []config.InUse
	for _, one := range r.Configuration.InUse() {
		found = append(found, config.InUse{Range: config.Prefixed(one.Prefix), By: one.By})
	}
	for _, s := range r.Configuration.Speakers() {
		for _, local := range s.Status.LocalAddresses {
			if a, err := config.ParseAddress(local); err == nil && !r.allocator.Taken(a) {
				found = append(found, config.InUse{Range: config.Range{First: a, Last: a}, By: "node " + s.Name})
			}
		}
	}
	return config.SortInUse(found)
}

func sortByName[T metav1.Object](objects []T) {
	slices.SortFunc(objects, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
}

// samePlan compares lists of objects in everything but status and version.
func samePlan[T metav1.Object](a, b []T) bool {
	return slices.EqualFunc(a, b, func(x, y T) bool {
		return x.GetUID() == y.GetUID() && x.GetName() == y.GetName() &&
			reflect.DeepEqual(x.GetLabels(), y.GetLabels()) && reflect.DeepEqual(specOf(x), specOf(y))
	})
}

func specOf(object any) any {
	return reflect.ValueOf(object).Elem().FieldByName("Spec").Interface()
}

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
