package cures

import (
	"strings"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Cure is what to do about a reason.
type Cure struct {
	// Well says that the reason is no trouble by itself.
	Well bool
	// Text is one sentence or two for an operator; empty where nothing is to be done.
	Text string
}

// For returns the cure for a reason, and whether there is one. Every constant of
// api/v1beta1/names.go has one.
func For(reason v1beta1.Reason) (Cure, bool) {
	for _, table := range []map[v1beta1.Reason]Cure{ofObjects(), ofAllocation(), ofAnnouncing()} {
		if cure, known := table[reason]; known {
			return cure, true
		}
	}
	return Cure{}, false
}

// page is where docs/checks.md is read.
const page = "https://github.com/baliza-lb/baliza/blob/main/docs/checks.md"

// See is where the documentation speaks of a reason, or of a check by its id.
func See(name string) string { return page + "#" + strings.ToLower(name) }

// ofObjects are the cures for reasons of Baliza's own objects.
func ofObjects() map[v1beta1.Reason]Cure {
	return map[v1beta1.Reason]Cure{
		v1beta1.ReasonValid:      {Well: true},
		v1beta1.ReasonAnnouncing: {Well: true},
		v1beta1.ReasonInvalidSpec: {
			Text: "Correct the field that the message names; the rest of the configuration stays in use meanwhile.",
		},
		v1beta1.ReasonOverlap: {
			Text: "Let each address be in one pool only, and each be announced by advertisements that agree: the message names the other object.",
		},
		v1beta1.ReasonReferenceNotFound: {
			Text: "Create the object that the message names, or correct its name.",
		},
		v1beta1.ReasonNoMatch: {
			Text: "Correct the selector, or label what it should select.",
		},
		v1beta1.ReasonInUseOutsideSpec: {
			Well: true,
			Text: "Nobody is renumbered. To free such an address delete its Service and make it anew, or put the address back into a pool.",
		},
		v1beta1.ReasonUsedByCluster: {
			Text: "Take the address that the message names out of the pool, or list it under spec.excluded.",
		},
		v1beta1.ReasonPartitioned: {
			Text: "Open the port that the message names (7946 unless it was changed), TCP and UDP, in both directions between the nodes.",
		},
		v1beta1.ReasonPingUnanswered: {
			Text: "Set speaker.answerPing of the chart, which gives the speakers the capability NET_ADMIN, " +
				"or take answerPing off the L2Advertisement. The addresses are announced all the same.",
		},
		v1beta1.ReasonStopped: {
			Text: "Wait for the DaemonSet to start the speaker again; if it does not, describe its pod on this node.",
		},
		v1beta1.ReasonInterfaceUnavailable: {
			Text: "Bring the interface that the message names up, connect its cable, or correct spec.interfaces of the L2Advertisement.",
		},
	}
}

// ofAllocation are the cures for reasons why a Service has no address.
func ofAllocation() map[v1beta1.Reason]Cure {
	return map[v1beta1.Reason]Cure{
		v1beta1.ReasonAllocated: {Well: true},
		v1beta1.ReasonPartiallyAllocated: {
			Well: true,
			Text: "To have both families, give the pool addresses of the other, or free some.",
		},
		v1beta1.ReasonNoPool: {
			Text: "Create an IPAddressPool with addresses of the nodes' network that nothing else uses.",
		},
		v1beta1.ReasonPoolNotFound: {
			Text: "Create the IPAddressPool that is named, or correct the annotation " + v1beta1.AnnotationPool + " of the Service.",
		},
		v1beta1.ReasonPoolNotAllowed: {
			Text: "Let the pool's spec.serviceAllocation admit this namespace and these labels, or give the Service a pool that does.",
		},
		v1beta1.ReasonAutoAssignDisabled: {
			Text: "Name the pool in the annotation " + v1beta1.AnnotationPool + " of the Service, or set spec.autoAssign of a pool.",
		},
		v1beta1.ReasonPoolExhausted: {
			Text: "Add addresses to the pool, or delete Services that need none any more: kubectl baliza addresses lists them.",
		},
		v1beta1.ReasonQuotaExceeded: {
			Text: "Raise spec.quota of the pool for this namespace, or delete one of its Services.",
		},
		v1beta1.ReasonIPFamilyUnavailable: {
			Text: "Add addresses of the IP family to the pool, or ask for another one by spec.ipFamilies of the Service.",
		},
		v1beta1.ReasonNoEligiblePool: {
			Text: "Each pool was refused for its own reason, which the message lists: remove one of them.",
		},
		v1beta1.ReasonAddressOutsidePools: {
			Text: "Name an address of a pool, or add this one to a pool; an address that a pool excludes is of none.",
		},
		v1beta1.ReasonAddressInUse: {
			Text: "Name another address, or give both Services the same annotation " + v1beta1.AnnotationSharingKey + " and different ports.",
		},
		v1beta1.ReasonAddressReserved: {
			Text: "Name another address, or change spec.reservations of the pool.",
		},
		v1beta1.ReasonAddressInCooldown: {
			Text: "Wait until spec.reuseDelay of the pool is over, or name another address.",
		},
		v1beta1.ReasonInvalidRequest: {
			Text: "Correct the annotation or field of the Service that the message names.",
		},
		v1beta1.ReasonConflictingRequests: {
			Text: "Remove spec.loadBalancerIP from the Service, or let it say what the annotation " + v1beta1.AnnotationAddresses + " says.",
		},
		v1beta1.ReasonSharingNotAllowed: {
			Text: "Give both Services the same annotation " + v1beta1.AnnotationSharingKey +
				", different ports and, under externalTrafficPolicy Local, the same selector.",
		},
		v1beta1.ReasonReleased: {
			Text: "To have an address again the Service must be of type LoadBalancer, and of a class that is served.",
		},
		v1beta1.ReasonWriteConflict: {
			Text: "Have one provider only: stop the program that the message names, or ask for Baliza by the annotation " + v1beta1.AnnotationPool +
				", or by loadBalancerClass on a new Service.",
		},
	}
}

// ofAnnouncing are the cures for reasons why an address is not announced.
func ofAnnouncing() map[v1beta1.Reason]Cure {
	return map[v1beta1.Reason]Cure{
		v1beta1.ReasonAnnounced: {Well: true},
		v1beta1.ReasonNotOwner:  {Well: true},
		v1beta1.ReasonUninstalled: {
			Text: "Install Baliza again, or take the address off: whoever serves the Service now will.",
		},
		v1beta1.ReasonMultipleOwners: {
			Text: "Open the port that the message names, TCP and UDP, in both directions between these nodes: they do not hear each other.",
		},
		v1beta1.ReasonNoAnswer: {
			Text: "Look at what is between the two nodes: a VLAN or switch port, an inspection of ARP, " +
				"or a hypervisor that lets a machine use its own addresses alone.",
		},
		v1beta1.ReasonNoSpeakerReady: {
			Text: "Look at the pods of the DaemonSet baliza-speaker: none of them is ready.",
		},
		v1beta1.ReasonNoAdvertisement: {
			Text: "Create an L2Advertisement or a BGPAdvertisement that selects the pool, or let one that exists select it and the Service.",
		},
		v1beta1.ReasonNoEndpoint: {
			Text: "Make a pod of the Service ready: its selector must match pods, they must pass their readiness probe, and listen on the IP family.",
		},
		v1beta1.ReasonNoLocalEndpoint: {
			Text: "Under externalTrafficPolicy Local a node with a speaker needs a ready pod of the Service: move one there, or use Cluster.",
		},
		v1beta1.ReasonNodeExcluded: {
			Text: "Take off what excludes the node: usually the label " + v1beta1.LabelExcludeNode +
				", which kubeadm puts on control planes. Where all nodes are control planes, set ignoreExcludeLabel of the chart.",
		},
		v1beta1.ReasonNodeNotSelected: {
			Text: "Let spec.nodeSelectors of an advertisement of the address select nodes that have a speaker.",
		},
		v1beta1.ReasonAddressConflict: {
			Text: "Find the host with the MAC that the message names, and take the address from it; or exclude the address from the pool. " +
				"Where it is a node and kube-proxy runs in IPVS mode, set strictARP.",
		},
		v1beta1.ReasonLocalAddress: {
			Text: "Take the address off the node's interface, or out of the pool.",
		},
		v1beta1.ReasonSocketError: {
			Text: "Let the speaker have the capability NET_RAW: its log has the error of the operating system.",
		},
		v1beta1.ReasonNoEligibleNode: {
			Text: "Each node was refused for its own reason, which is listed above: remove one of them.",
		},
		v1beta1.ReasonDraining: {Well: true},
		v1beta1.ReasonCommunityUnresolved: {
			Text: "Define the community in a Community object, or correct spec.communities of the BGPAdvertisement.",
		},
		v1beta1.ReasonTooManyCommunities: {
			Text: "Give the BGPAdvertisements of the address fewer communities: together they have more than a message carries.",
		},
		v1beta1.ReasonNoPodCIDR: {
			Text: "Take podCIDRs out of the BGPAdvertisement: whoever gives pods their addresses here does not use spec.podCIDRs of nodes.",
		},
		v1beta1.ReasonNoPeer: {
			Text: "Let a BGPPeer select the nodes, the BGPAdvertisement select that peer, and the session carry the address's IP family.",
		},
		v1beta1.ReasonNoSession: {
			Text: "Correct what keeps the session down: kubectl baliza peers has the last error of each, in the router's own words. " +
				"Where there is no answer, see whether the router is up, and compare the passwords of both sides.",
		},
	}
}
