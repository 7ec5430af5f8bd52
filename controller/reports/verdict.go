package reports

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Verdict is what the reports say about the addresses of one Service, in the words
// of a condition.
type Verdict struct {
	// Status is True where each address is announced, as it should be, and Unknown
	// where no Speaker is left to say so.
	Status metav1.ConditionStatus
	// Missing says that one of them is announced by nobody, which may be a moment
	// between two reports.
	Missing bool
	Reason  v1beta1.Reason
	Message string
	// Since is since when the same nodes announce the addresses, where any does.
	Since time.Time
}

// namesShown is how many nodes a message names. Where there are more, as in BGP,
// one that comes or goes is no news, and writes to no Service.
const namesShown = 3

// Verdict says what the reports say about these addresses. It is false where they
// prove nothing: no Speaker is ready, as when all are restarted, or an address is in
// none of the reports, and one is truncated.
func (r *Reports) Verdict(addresses []netip.Addr) (v Verdict, proven bool) {
	switch {
	case r.silentSince.IsZero():
	case !r.silent:
		return Verdict{}, false // a restart, perhaps
	default:
		return Verdict{
			Status: metav1.ConditionUnknown, Reason: v1beta1.ReasonNoSpeakerReady, Message: "no speaker is ready to say who announces it",
		}, true
	}
	var by []string
	how := ""
	for _, a := range addresses {
		if !r.Announced(a) {
			return r.unannounced(a)
		}
		if r.perClient[a] {
			how = ", per client"
		}
		by = append(by, r.announcers[a]...)
		if r.unchanged[a].After(v.Since) {
			v.Since = r.unchanged[a]
		}
	}
	for _, a := range addresses {
		if r.contested[a] {
			v.Status, v.Reason = metav1.ConditionFalse, v1beta1.ReasonMultipleOwners
			v.Message = fmt.Sprintf("%s is answered for by %s at once: these nodes do not hear each other; "+
				"open port %d, TCP and UDP, between them: their Speakers say which way it is closed", a, named(r.holders[a]), r.memberPort)
			return v, true
		}
	}
	slices.Sort(by)
	v.Status, v.Reason, v.Message = metav1.ConditionTrue, v1beta1.ReasonAnnounced, "announced by "+named(slices.Compact(by))+how
	return v, true
}

// unannounced says why nobody announces an address.
func (r *Reports) unannounced(a netip.Addr) (v Verdict, proven bool) {
	v = Verdict{
		Status: metav1.ConditionFalse, Missing: true, Reason: v1beta1.ReasonNoEligibleNode,
		Message: fmt.Sprintf("no node announces %s%s", a, r.detail[a]),
	}
	if reason, known := r.withheld[a]; known && rank(reason) < len(explaining()) {
		v.Reason = reason
	}
	if v.Reason == v1beta1.ReasonNodeExcluded {
		v.Message += "; nodes that could are excluded, by the label " + v1beta1.LabelExcludeNode + " or by a taint"
	}
	return v, v.Reason != v1beta1.ReasonNoEligibleNode || !r.truncated
}

// explaining are the reasons that explain a Service, in the order in which they do:
// first those of an owner that cannot announce, then those that concern every node
// alike. Any other means that no node is eligible.
func explaining() []v1beta1.Reason {
	return []v1beta1.Reason{
		v1beta1.ReasonAddressConflict, v1beta1.ReasonLocalAddress, v1beta1.ReasonInterfaceUnavailable, v1beta1.ReasonSocketError,
		v1beta1.ReasonNoAdvertisement, v1beta1.ReasonNoEndpoint, v1beta1.ReasonNoLocalEndpoint,
		v1beta1.ReasonCommunityUnresolved, v1beta1.ReasonTooManyCommunities, v1beta1.ReasonNoPeer, v1beta1.ReasonNoSession,
		v1beta1.ReasonNodeExcluded, v1beta1.ReasonNodeNotSelected,
	}
}

// rank is the place of a reason among those that explain: the lower, the more it
// does.
func rank(reason v1beta1.Reason) int {
	if i := slices.Index(explaining(), reason); i >= 0 {
		return i
	}
	return len(explaining())
}

// named lists nodes by name, as long as they are few.
func named(nodes []string) string {
	if len(nodes) > namesShown {
		return fmt.Sprintf("more than %d nodes", namesShown)
	}
	return strings.Join(nodes, ", ")
}
