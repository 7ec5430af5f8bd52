package plan

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
)

// View is everything that a plan follows from. All speakers that share Config,
// Services, Nodes, Alive, Owners, Links and Unable agree on who owns what; Self,
// Interfaces and Yielded are each one's own.
type View struct {
	// Self is the node that the plan is for.
	Self string
	// Config in use.
	Config *config.Snapshot
	// Services that are served and have addresses.
	Services *Services
	// Nodes by name. A living speaker whose node is missing here counts as a
	// node without labels: its Node object is gone or has not arrived yet, and
	// its addresses are better answered for than not.
	Nodes map[string]Node
	// Alive are the names of the nodes whose speakers are alive.
	Alive []string
	// Owners are the present owners of addresses as far as they are known.
	// An owner that may stay stays.
	Owners map[netip.Addr]string
	// AliveFor is how long each of Alive has been alive and ready. Who is
	// missing here counts as new.
	AliveFor map[string]time.Duration
	// Interfaces of Self: where it announces. Who owns what follows from Links.
	Interfaces []model.Interface
	// Local are the addresses that Self has on interfaces of its own, with the
	// interface: BGP does not announce them.
	Local map[netip.Addr]string
	// Links are the nodes' interfaces, by node, sorted by name. A node that is
	// missing here has said nothing yet, and a name that is missing is one that it
	// has not said anything of: both count as usable, but without an address. A
	// node that says that it cannot is passed over. What Self tells the others
	// belongs here, too, so that all see the same; where it is missing, it has
	// its Interfaces.
	Links map[string][]model.Link
	// Unable are the nodes, by address, that cannot or will not answer for it:
	// they say so, or have not although it was theirs to take. They come into
	// question only where nobody else does.
	Unable map[netip.Addr][]string
	// Successions are the addresses that their owners hand to another node, which
	// takes them if it can.
	Successions map[netip.Addr]model.Handing
	// Yielded are the addresses that Self has let go because another living
	// speaker's claim was better: that one keeps them, whatever this view says of
	// it.
	Yielded map[netip.Addr]bool
}

// Node is what matters of a Kubernetes node.
type Node struct {
	Labels labels.Set
	// Annotations and PodCIDRs of the node that the plan is for; nobody asks for
	// those of others.
	Annotations map[string]string
	PodCIDRs    []netip.Prefix
	// Excluded says, in words, what takes the node out of load balancing; it
	// is empty if nothing does.
	Excluded string
	// Unusable says that what excludes the node also keeps it from serving: it is
	// not drained, since there is nothing that it could finish.
	Unusable bool
}

// Equal reports whether a plan for BGP follows from both alike.
func (n *Node) Equal(o *Node) bool {
	return n.Excluded == o.Excluded && n.Unusable == o.Unusable && maps.Equal(n.Labels, o.Labels) &&
		maps.Equal(n.Annotations, o.Annotations) && slices.Equal(n.PodCIDRs, o.PodCIDRs)
}

// Service is what matters of a Kubernetes Service.
type Service struct {
	// Key is namespace/name.
	Key    string
	Labels labels.Set
	// Pool that the addresses came from, or empty if that is not known.
	Pool string
	// PreferredNode is the one that is to own the addresses if it can, or empty.
	PreferredNode string
	// Addresses that are assigned.
	Addresses []netip.Addr
	// ClusterIPs and ExternalIPs are announced only where a BGPAdvertisement says
	// so.
	ClusterIPs, ExternalIPs []netip.Addr
	// Local is externalTrafficPolicy: Local, InternalLocal the same of the
	// internalTrafficPolicy, which counts for ClusterIPs.
	Local, InternalLocal bool
	// HealthPort is the healthCheckNodePort, or 0, and LocalSince when a usable
	// endpoint under Local appeared on the node that the plan is for; zero if there
	// is none. The plan does not follow from them.
	HealthPort uint16
	LocalSince time.Time
	// IPv4 and IPv6 endpoints: an address is served by those of its family.
	IPv4, IPv6 Endpoints
}

// Endpoints are the usable endpoints of one family: the ready ones or, if none
// is ready, those that still serve while they terminate, as kube-proxy has it.
type Endpoints struct {
	// Any says that there is a usable endpoint.
	Any bool
	// Nodes that have one.
	Nodes map[string]bool
	// Unknown says that the node of a usable endpoint is not known.
	Unknown bool
	// Counts are how many each of Nodes has.
	Counts map[string]int
}

// taints that take a node out of load balancing, whatever their effect.
const (
	taintToBeDeleted  = "ToBeDeletedByClusterAutoscaler"
	taintOutOfService = corev1.TaintNodeOutOfService
)

// NodeOf makes a Node of the object. A cordon does not exclude a node, and
// NotReady does not: whether its speaker lives is known better. ignoreLabel says
// that the label does not either.
func NodeOf(object *corev1.Node, ignoreLabel bool) Node {
	node := Node{Labels: object.Labels, Annotations: object.Annotations}
	for _, text := range object.Spec.PodCIDRs {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			node.PodCIDRs = append(node.PodCIDRs, prefix.Masked())
		}
	}
	if value, ok := object.Labels[v1beta1.LabelExcludeNode]; ok && !ignoreLabel {
		// What is no boolean counts as true: the label was put there for a
		// reason, and its presence used to be enough.
		if excluded, err := strconv.ParseBool(value); err != nil || excluded {
			node.Excluded = "the node has the label " + v1beta1.LabelExcludeNode
		}
	}
	for _, taint := range object.Spec.Taints {
		if taint.Key == taintToBeDeleted || taint.Key == taintOutOfService {
			node.Excluded = "the node has the taint " + taint.Key
			node.Unusable = node.Unusable || taint.Key == taintOutOfService
		}
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == corev1.NodeNetworkUnavailable && condition.Status == corev1.ConditionTrue {
			node.Excluded, node.Unusable = "the node has the condition NetworkUnavailable", true
		}
	}
	return node
}

// ServiceOf makes a Service of the objects. What stands in status and is no
// address is left out.
func ServiceOf(object *corev1.Service, endpoints []*discoveryv1.EndpointSlice) Service {
	pool, _ := config.Annotation(object, v1beta1.AnnotationAllocatedPool)
	preferred, _ := config.Annotation(object, v1beta1.AnnotationPreferredNode)
	service := Service{
		Key: config.ServiceKey(object), Labels: object.Labels, Pool: pool, PreferredNode: preferred,
		Local:         object.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		HealthPort:    uint16(object.Spec.HealthCheckNodePort),
		InternalLocal: object.Spec.InternalTrafficPolicy != nil && *object.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
		ClusterIPs:    addresses(object.Spec.ClusterIPs), ExternalIPs: addresses(object.Spec.ExternalIPs),
		IPv4: endpointsOf(endpoints, discoveryv1.AddressTypeIPv4), IPv6: endpointsOf(endpoints, discoveryv1.AddressTypeIPv6),
	}
	if leftAlone(object) {
		return service
	}
	for _, ingress := range object.Status.LoadBalancer.Ingress {
		if address, err := config.ParseAddress(ingress.IP); err == nil {
			service.Addresses = append(service.Addresses, address)
		}
	}
	return service
}

// leftAlone reports whether the controller says that another provider writes
// what the Service shows, which is then that one's to announce.
func leftAlone(object *corev1.Service) bool {
	allocated := meta.FindStatusCondition(object.Status.Conditions, v1beta1.ConditionAllocated)
	return allocated != nil && allocated.Reason == string(v1beta1.ReasonWriteConflict)
}

// addresses reads those that are; a headless Service has "None".
func addresses(texts []string) (found []netip.Addr) {
	for _, text := range texts {
		if address, err := config.ParseAddress(text); err == nil {
			found = append(found, address)
		}
	}
	return found
}

func endpointsOf(all []*discoveryv1.EndpointSlice, family discoveryv1.AddressType) Endpoints {
	var ready, terminating Endpoints
	for _, slice := range all {
		if slice.AddressType != family {
			continue
		}
		for i := range slice.Endpoints {
			endpoint := &slice.Endpoints[i]
			isReady := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			serving := isReady
			if endpoint.Conditions.Serving != nil {
				serving = *endpoint.Conditions.Serving
			}
			switch {
			case isReady:
				ready.add(endpoint.NodeName)
			case serving && endpoint.Conditions.Terminating != nil && *endpoint.Conditions.Terminating:
				terminating.add(endpoint.NodeName)
			}
		}
	}
	if ready.Any {
		return ready
	}
	return terminating
}

func (e *Endpoints) add(node *string) {
	e.Any = true
	if node == nil || *node == "" {
		e.Unknown = true
		return
	}
	if e.Nodes == nil {
		e.Nodes, e.Counts = map[string]bool{}, map[string]int{}
	}
	e.Nodes[*node] = true
	e.Counts[*node]++
}

// of returns the endpoints that serve an address.
func (s *Service) of(a netip.Addr) *Endpoints {
	if a.Is4() {
		return &s.IPv4
	}
	return &s.IPv6
}
