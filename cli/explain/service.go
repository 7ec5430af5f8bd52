package explain

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Service is what is known of a Service, from what it asks for to what came of it.
type Service struct {
	Service   string       `json:"service"`
	Request   Request      `json:"request"`
	Pools     []PoolChoice `json:"pools,omitempty"`
	Situation Situation    `json:"situation"`
	Addresses []Address    `json:"addresses,omitempty"`
	Endpoints []Endpoints  `json:"endpoints,omitempty"`
	Verdict   Verdict      `json:"verdict"`
}

// Request is what a Service asks for, as it is understood.
type Request struct {
	Served       bool     `json:"served"`
	NotServed    string   `json:"notServed,omitempty"`
	Class        string   `json:"class,omitempty"`
	Families     []string `json:"families"`
	FamilyPolicy string   `json:"familyPolicy"`
	// Addresses and Pool are what it names, SharingKey what it may share by.
	Addresses  []string `json:"addresses,omitempty"`
	Pool       string   `json:"pool,omitempty"`
	SharingKey string   `json:"sharingKey,omitempty"`
	Ports      []string `json:"ports"`
	// TrafficPolicy is externalTrafficPolicy.
	TrafficPolicy string    `json:"trafficPolicy"`
	Problems      []Problem `json:"problems,omitempty"`
}

// Endpoints are the usable endpoints of one IP family.
type Endpoints struct {
	Family string `json:"family"`
	// Total is how many there are, Nodes where, and Unknown that of some it is not
	// known.
	Total   int            `json:"total"`
	Nodes   map[string]int `json:"nodes,omitempty"`
	Unknown bool           `json:"unknown,omitempty"`
}

// HasService reports whether there is such a Service of type LoadBalancer.
func (c *Cluster) HasService(key string) bool { return c.services[key] != nil }

// ServiceKeys are the Services of type LoadBalancer, as namespace/name, in order.
func (c *Cluster) ServiceKeys() []string { return keysOf(c.objects.Services) }

// Service explains a Service; false if there is none of type LoadBalancer. Its
// EndpointSlices, and those of the Services that share its addresses, must be among
// the objects.
func (c *Cluster) Service(key string) (Service, bool) {
	svc := c.services[key]
	if svc == nil {
		return Service{}, false
	}
	request, problems := config.ParseService(svc)
	out := Service{Service: key, Request: c.requestOf(svc, request, problems), Situation: c.situation(svc)}
	out.Verdict = c.verdictOf(svc).referring()
	if !out.Request.Served {
		return out, true
	}
	malformed := slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Reason == v1beta1.ReasonInvalidRequest })
	if !malformed {
		out.Pools = c.choices(svc, request)
	}
	for _, a := range shown(svc) {
		out.Addresses = append(out.Addresses, c.Address(a))
	}
	if !c.withoutEndpoints() {
		out.Endpoints = c.endpointsOf(svc, request)
	}
	for _, one := range out.Addresses {
		if out.Verdict.Well && one.Verdict.Reason == v1beta1.ReasonMultipleOwners {
			out.Verdict = one.Verdict
		}
	}
	for _, a := range shown(svc) {
		if v, found := c.wrongOnWire(a); found {
			out.Verdict = v // what the network says counts more than what is said of it
			break
		}
	}
	return out, true
}

// AddressesOf are the addresses that a Service shows.
func (c *Cluster) AddressesOf(key string) []netip.Addr {
	if svc := c.services[key]; svc != nil {
		return shown(svc)
	}
	return nil
}

// Sharers are the Services that have an address in common with one, itself included.
func (c *Cluster) Sharers(key string) []string {
	keys := []string{key}
	if svc := c.services[key]; svc != nil {
		for _, a := range shown(svc) {
			keys = append(keys, c.Holders(a)...)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (c *Cluster) requestOf(svc *corev1.Service, r config.Request, problems []config.Problem) Request {
	out := Request{
		Served: c.served(svc), FamilyPolicy: string(r.Policy), Pool: r.Pool, SharingKey: r.SharingKey, TrafficPolicy: "Cluster",
	}
	if !out.Served {
		out.NotServed = c.notServed(svc)
	}
	if svc.Spec.LoadBalancerClass != nil {
		out.Class = *svc.Spec.LoadBalancerClass
	}
	if r.Local {
		out.TrafficPolicy = "Local"
	}
	for _, f := range r.Families {
		out.Families = append(out.Families, string(f))
	}
	for _, a := range r.Addresses {
		out.Addresses = append(out.Addresses, a.String())
	}
	for _, p := range r.Ports {
		out.Ports = append(out.Ports, fmt.Sprintf("%d/%s", p.Number, protocolOf(p.Protocol)))
	}
	for _, p := range problems {
		out.Problems = append(out.Problems, problem(p.Field, p.Name, p.Reason, p.Message))
	}
	return out
}

func protocolOf(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

func (c *Cluster) endpointsOf(svc *corev1.Service, r config.Request) []Endpoints {
	service := plan.ServiceOf(svc, c.slicesOf(svc))
	var all []Endpoints
	for _, family := range r.Families {
		from := &service.IPv4
		if family == corev1.IPv6Protocol {
			from = &service.IPv6
		}
		one := Endpoints{Family: string(family), Nodes: maps.Clone(from.Counts), Unknown: from.Unknown}
		for _, n := range one.Nodes {
			one.Total += n
		}
		all = append(all, one)
	}
	return all
}

// verdictOf says of a Service whether all is well, and if not, what to do.
func (c *Cluster) verdictOf(svc *corev1.Service) Verdict {
	at := c.situation(svc)
	v := Verdict{Reason: at.Reason, Message: at.Message, Cure: cureFor(at.Reason)}
	if at.Reason == v1beta1.ReasonNoAdvertisement {
		v.Message += c.unusedAdvertisements()
	}
	controller := c.controller()
	switch {
	case at.State == NotServed:
		v.Cure = "Nothing is to be done if another provider serves it. To have Baliza serve it, make the Service anew with loadBalancerClass " +
			c.installation.classes[0] + "."
	case at.State == Announced:
		v.Well = true
		v.Message = texts(shown(svc)) + ": " + c.whoAnnounces(svc, at.Message)
		if a := findReason(svc); a != v1beta1.ReasonAllocated {
			if cure, known := cures.For(a); known && cure.Text != "" {
				v.Cure, v.See = cure.Text, cures.See(string(a))
			}
		}
	case at.Reason == "" && controller.Trouble != "":
		v.Message += "; " + controller.Trouble
		v.Cure = "Bring the controller back: until then no Service is given an address, and what is announced stays so."
		v.Next = "kubectl -n " + controller.Namespace + " describe deployment " + deploymentName
	case at.State == Recent:
		v.Well, v.Cure = true, "Ask again in a few seconds."
	case at.Reason == "":
		v.Next = "kubectl -n " + controller.Namespace + " logs deployment/" + deploymentName
		v.Cure = "See what the controller says in its log."
	}
	if v.Next == "" && !v.Well {
		v.Next = c.nextFor(svc, at.Reason)
	}
	return v
}

// unusedAdvertisements are those that are not used as they stand, and why: one of them may
// be meant for a Service that none selects.
func (c *Cluster) unusedAdvertisements() string {
	const most = 3
	texts := []string{""}
	for _, p := range c.problemsOf() {
		if (p.Kind == config.KindL2Advertisement || p.Kind == config.KindBGPAdvertisement) && len(texts) <= most {
			texts = append(texts, fmt.Sprintf("%s %s: %s", p.Kind, p.Name, p.Message))
		}
	}
	return strings.Join(texts, "; ")
}

// findReason is the reason of the condition Allocated.
func findReason(svc *corev1.Service) v1beta1.Reason {
	if said := meta.FindStatusCondition(svc.Status.Conditions, v1beta1.ConditionAllocated); said != nil {
		return v1beta1.Reason(said.Reason)
	}
	return v1beta1.ReasonAllocated
}

// whoAnnounces are those who say that they announce a Service's addresses: a condition
// follows them by some seconds, and counts where they cannot be read.
func (c *Cluster) whoAnnounces(svc *corev1.Service, condition string) string {
	var nodes []string
	perClient := ""
	for _, a := range shown(svc) {
		nodes = append(nodes, c.announcing(a)...)
		if slices.ContainsFunc(c.announcers[a], func(one announcer) bool { return one.perClient }) {
			perClient = ", per client"
		}
	}
	if len(nodes) == 0 {
		return condition
	}
	slices.Sort(nodes)
	return "announced by " + shorten(slices.Compact(nodes)) + perClient
}

// nextFor is the command that shows what a cure is about.
func (c *Cluster) nextFor(svc *corev1.Service, reason v1beta1.Reason) string {
	switch reason {
	case v1beta1.ReasonPoolExhausted, v1beta1.ReasonNoEligiblePool, v1beta1.ReasonQuotaExceeded, v1beta1.ReasonPoolNotFound,
		v1beta1.ReasonPoolNotAllowed, v1beta1.ReasonNoPool, v1beta1.ReasonAutoAssignDisabled, v1beta1.ReasonIPFamilyUnavailable,
		v1beta1.ReasonAddressOutsidePools, v1beta1.ReasonAddressReserved, v1beta1.ReasonAddressInCooldown:
		return "kubectl baliza pools"
	case v1beta1.ReasonNoEndpoint, v1beta1.ReasonNoLocalEndpoint:
		return fmt.Sprintf("kubectl -n %s get endpointslices -l kubernetes.io/service-name=%s", svc.Namespace, svc.Name)
	case v1beta1.ReasonNoSession, v1beta1.ReasonNoPeer:
		return "kubectl baliza peers"
	case v1beta1.ReasonNoAdvertisement, v1beta1.ReasonNodeNotSelected, v1beta1.ReasonCommunityUnresolved, v1beta1.ReasonTooManyCommunities:
		return "kubectl get l2advertisements,bgpadvertisements"
	case v1beta1.ReasonNodeExcluded, v1beta1.ReasonNoEligibleNode, v1beta1.ReasonInterfaceUnavailable, v1beta1.ReasonSocketError,
		v1beta1.ReasonNoSpeakerReady, v1beta1.ReasonMultipleOwners, v1beta1.ReasonLocalAddress:
		return "kubectl baliza speakers"
	case v1beta1.ReasonAddressInUse, v1beta1.ReasonSharingNotAllowed:
		return "kubectl baliza addresses"
	default:
		return fmt.Sprintf("kubectl -n %s describe service %s", svc.Namespace, svc.Name)
	}
}
