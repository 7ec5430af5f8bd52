package v1beta1

// Names on Services. The metallb.io and metallb.universe.tf spellings of the
// annotations are read as aliases; where both are present ours wins.
const (
	// LoadBalancerClass is the spec.loadBalancerClass of the Services that
	// are always served.
	LoadBalancerClass = "baliza.io/lb"

	// AnnotationAddresses names the wanted addresses: one, or one of each
	// family, separated by a comma.
	AnnotationAddresses = "baliza.io/addresses"
	// AnnotationPool names the only IPAddressPool that may serve the Service.
	AnnotationPool = "baliza.io/pool"
	// AnnotationSharingKey lets Services with equal keys share an address as
	// long as their ports differ.
	AnnotationSharingKey = "baliza.io/sharing-key"
	// AnnotationPreferredNode names the node that is to answer for the Service's
	// addresses in layer 2 as long as it can. They are moved there, and back there,
	// without a connection lost; while the node cannot, others do.
	AnnotationPreferredNode = "baliza.io/preferred-node"

	// AnnotationAllocatedPool is written by the controller: the pool that the
	// Service's addresses came from. It outlives the pool, so that what was
	// given stays announced when the pool is edited or deleted.
	AnnotationAllocatedPool = "baliza.io/allocated-from-pool"

	// AnnotationAllocatedAddresses is written by the controller: the addresses
	// that it gave, separated by commas. It tells a later version of the
	// controller, and another replica, what came from a controller of ours. On a
	// Service that shows nothing, as one that was restored from a backup without
	// its status, it is a wish to have them again.
	AnnotationAllocatedAddresses = "baliza.io/allocated-addresses"

	// AnnotationUnannounced is written by the controller: those of the Service's
	// addresses, separated by commas, that it gave and that no node has
	// announced yet. Only these may still be replaced when another host turns
	// out to have them.
	AnnotationUnannounced = "baliza.io/unannounced-addresses"

	// AnnotationKeyRotation is on the membership Secret: the last rotation of
	// its key that was begun, by the word that the operator gave.
	AnnotationKeyRotation = "baliza.io/key-rotation"
	// AnnotationIncomingKey is on the membership Secret while its key is
	// rotated: which of the keys is the new one, as in a Speaker's
	// status.membershipKeys.
	AnnotationIncomingKey = "baliza.io/incoming-key"

	// Finalizer keeps a deleted Service until its address has been taken
	// back. It is our own: the one that Kubernetes reserves for load balancers,
	// service.kubernetes.io/load-balancer-cleanup, belongs to whichever cloud
	// provider put it there, and a controller of k8s.io/cloud-provider takes it
	// off deleted Services that it does not serve.
	Finalizer = "baliza.io/address"
	// FormerFinalizer is what versions before v0.1.0 used in its place. It is
	// taken off where the API server's record of field managers says that the
	// controller put it there, and nobody else.
	FormerFinalizer = "service.kubernetes.io/load-balancer-cleanup"

	// LabelExcludeNode takes a node out of external load balancing. The
	// value is parsed as a boolean; an empty value counts as true.
	LabelExcludeNode = "node.kubernetes.io/exclude-from-external-load-balancers"
)

// Condition types.
const (
	// ConditionReady is on every Baliza object: its spec is valid and in use.
	ConditionReady = "Ready"
	// ConditionAllocated is on Services: every wanted address is assigned.
	ConditionAllocated = "baliza.io/Allocated"
	// ConditionAnnounced is on Services: the network is told where every
	// assigned address lives.
	ConditionAnnounced = "baliza.io/Announced"
	// ConditionStalled is on Baliza's objects and on Services while nobody but an
	// operator can help, and ConditionReconciling on Services while something is under
	// way. Both have the names that kstatus reads, by which Helm, Flux and others find
	// out whether to wait for an object or to give up: hence no prefix.
	ConditionStalled     = "Stalled"
	ConditionReconciling = "Reconciling"
)

// Reason is why a condition, an event, a metric or a log line says what it
// says. One vocabulary serves all four.
type Reason string

// Reasons of conditions on Baliza's own objects.
const (
	// ReasonValid says that the object is used as it stands.
	ReasonValid Reason = "Valid"
	// ReasonInvalidSpec says that a field cannot be understood; the rest of
	// the configuration stays in use.
	ReasonInvalidSpec Reason = "InvalidSpec"
	// ReasonOverlap says that the addresses overlap those of an older pool, or
	// that another advertisement of the same addresses overrules this one.
	ReasonOverlap Reason = "Overlap"
	// ReasonReferenceNotFound says that a named object does not exist.
	ReasonReferenceNotFound Reason = "ReferenceNotFound"
	// ReasonNoMatch says that a selector selects no object.
	ReasonNoMatch Reason = "NoMatch"
	// ReasonInUseOutsideSpec says that Services hold addresses that the
	// pool's spec no longer covers.
	ReasonInUseOutsideSpec Reason = "InUseOutsideSpec"
	// ReasonAnnouncing says that a speaker answers for every address that it owns.
	ReasonAnnouncing Reason = "Announcing"
	// ReasonUsedByCluster says that the cluster itself has the address: a node, its
	// pods, the cluster IPs of Services, the API server. It is not given.
	ReasonUsedByCluster Reason = "UsedByCluster"
	// ReasonPartitioned says that this speaker and others, which live, do not hear
	// each other, or one of them not the other: several nodes may answer for one
	// address.
	ReasonPartitioned Reason = "Partitioned"
	// ReasonPingUnanswered says that an advertisement wants ping answered, and
	// that this node cannot.
	ReasonPingUnanswered Reason = "PingUnanswered"
	// ReasonStopped says that a speaker was told to stop, and has.
	ReasonStopped Reason = "Stopped"
	// ReasonInterfaceUnavailable says that a node has none of the interfaces that
	// it should announce on, or that one of them does not exist or has no carrier.
	ReasonInterfaceUnavailable Reason = "InterfaceUnavailable"
)

// Reasons of ConditionAllocated and of the allocator's refusals.
const (
	// ReasonAllocated says that every wanted address is assigned.
	ReasonAllocated Reason = "Allocated"
	// ReasonPartiallyAllocated says that a PreferDualStack Service has one
	// family and waits for the other.
	ReasonPartiallyAllocated Reason = "PartiallyAllocated"
	// ReasonNoPool says that no IPAddressPool exists or is valid.
	ReasonNoPool Reason = "NoPool"
	// ReasonPoolNotFound says that the named pool does not exist.
	ReasonPoolNotFound Reason = "PoolNotFound"
	// ReasonPoolNotAllowed says that the pool's serviceAllocation excludes
	// the Service.
	ReasonPoolNotAllowed Reason = "PoolNotAllowed"
	// ReasonAutoAssignDisabled says that the pool has autoAssign off and was not named.
	ReasonAutoAssignDisabled Reason = "AutoAssignDisabled"
	// ReasonPoolExhausted says that every address of the pool is taken.
	ReasonPoolExhausted Reason = "PoolExhausted"
	// ReasonQuotaExceeded says that the namespace holds as many addresses of
	// the pool as its quota allows.
	ReasonQuotaExceeded Reason = "QuotaExceeded"
	// ReasonIPFamilyUnavailable says that the pool has no address of a wanted IP
	// family.
	ReasonIPFamilyUnavailable Reason = "IPFamilyUnavailable"
	// ReasonNoEligiblePool says that several pools were tried for several reasons.
	ReasonNoEligiblePool Reason = "NoEligiblePool"
	// ReasonAddressOutsidePools says that a named address is in no pool, or
	// not in the named one.
	ReasonAddressOutsidePools Reason = "AddressOutsidePools"
	// ReasonAddressInUse says that a named address is held by another Service.
	ReasonAddressInUse Reason = "AddressInUse"
	// ReasonAddressReserved says that a named address is reserved for others,
	// or for nobody.
	ReasonAddressReserved Reason = "AddressReserved"
	// ReasonAddressInCooldown says that a named address was given up by another
	// namespace a moment ago and is not given again yet.
	ReasonAddressInCooldown Reason = "AddressInCooldown"
	// ReasonInvalidRequest says that an annotation or spec.loadBalancerIP
	// cannot be understood, or contradicts the Service's families.
	ReasonInvalidRequest Reason = "InvalidRequest"
	// ReasonConflictingRequests says that the annotation and
	// spec.loadBalancerIP name different addresses; the annotation is used.
	ReasonConflictingRequests Reason = "ConflictingRequests"
	// ReasonSharingNotAllowed says that the address exists but may not be shared
	// with this Service.
	ReasonSharingNotAllowed Reason = "SharingNotAllowed"
	// ReasonReleased says that the Service's address was taken back.
	ReasonReleased Reason = "Released"
	// ReasonWriteConflict says that something else writes this Service's
	// load-balancer status; Baliza leaves it alone.
	ReasonWriteConflict Reason = "WriteConflict"
)

// MoveCause is why an address went from one node to another, or to none.
type MoveCause string

// Causes of moves.
const (
	// MoveAssigned says that nobody had the address before.
	MoveAssigned MoveCause = "Assigned"
	// MoveReleased says that no Service has the address any more.
	MoveReleased MoveCause = "Released"
	// MoveNodeFailed says that the speaker of the owner was not heard any more.
	MoveNodeFailed MoveCause = "NodeFailed"
	// MoveNodeStopped says that the speaker of the owner was told to stop.
	MoveNodeStopped MoveCause = "NodeStopped"
	// MoveNodeDrained says that a label, a taint or a condition takes the owner out
	// of load balancing.
	MoveNodeDrained MoveCause = "NodeDrained"
	// MoveEndpointGone says that the owner, or every node, lacks a usable endpoint.
	MoveEndpointGone MoveCause = "EndpointGone"
	// MoveRequested says that the Service names the node.
	MoveRequested MoveCause = "Requested"
	// MoveRebalanced says that the owner had more than its share, and gave the
	// address to a node that has come back.
	MoveRebalanced MoveCause = "Rebalanced"
	// MovePartitionHealed says that two nodes answered, which had not heard each
	// other, and that the other's claim was the better one.
	MovePartitionHealed MoveCause = "PartitionHealed"
	// MoveOwnerUnable says that the owner could not answer: its sockets failed, or
	// its interface.
	MoveOwnerUnable MoveCause = "OwnerUnable"
	// MoveConflict says that another host on the network has the address.
	MoveConflict MoveCause = "Conflict"
	// MovePolicyChanged says that by the advertisements another node is to own it.
	MovePolicyChanged MoveCause = "PolicyChanged"
)

// MoveCauses are all of them.
func MoveCauses() []MoveCause {
	return []MoveCause{
		MoveAssigned, MoveReleased, MoveNodeFailed, MoveNodeStopped, MoveNodeDrained, MoveEndpointGone, MoveRequested, MoveRebalanced,
		MovePartitionHealed, MoveOwnerUnable, MoveConflict, MovePolicyChanged,
	}
}

// Reasons why a node announces an address, or does not.
const (
	// ReasonAnnounced says that the address is announced.
	ReasonAnnounced Reason = "Announced"
	// ReasonUninstalled says that Baliza was uninstalled, and nobody announces
	// what the Service still shows.
	ReasonUninstalled Reason = "Uninstalled"
	// ReasonMultipleOwners says that several nodes answer for the address at once,
	// each of which should be the only one.
	ReasonMultipleOwners Reason = "MultipleOwners"
	// ReasonNoAnswer says that a speaker answers for the address and that another
	// node which asked for it on the network heard nobody.
	ReasonNoAnswer Reason = "NoAnswer"
	// ReasonNoSpeakerReady says that no speaker is ready: what they reported last
	// counts for nothing.
	ReasonNoSpeakerReady Reason = "NoSpeakerReady"
	// ReasonNotOwner says that another node owns the address.
	ReasonNotOwner Reason = "NotOwner"
	// ReasonNoAdvertisement says that no advertisement selects the address.
	ReasonNoAdvertisement Reason = "NoAdvertisement"
	// ReasonNoEndpoint says that the Service has no usable endpoint.
	ReasonNoEndpoint Reason = "NoEndpoint"
	// ReasonNoLocalEndpoint says that externalTrafficPolicy is Local and this
	// node has no usable endpoint.
	ReasonNoLocalEndpoint Reason = "NoLocalEndpoint"
	// ReasonNodeExcluded says that a label, a taint or a condition takes the
	// node out of load balancing.
	ReasonNodeExcluded Reason = "NodeExcluded"
	// ReasonNodeNotSelected says that no advertisement selects the node.
	ReasonNodeNotSelected Reason = "NodeNotSelected"
	// ReasonAddressConflict says that another host on the network answers for
	// the address (RFC 5227).
	ReasonAddressConflict Reason = "AddressConflict"
	// ReasonLocalAddress says that the address is a node's own, on one of its
	// interfaces, so that announcing it would cut the node off.
	ReasonLocalAddress Reason = "LocalAddress"
	// ReasonSocketError says that the owner cannot speak ARP or NDP: the
	// operating system refuses it a socket.
	ReasonSocketError Reason = "SocketError"
	// ReasonNoEligibleNode says that no node is eligible.
	ReasonNoEligibleNode Reason = "NoEligibleNode"
	// ReasonDraining says that the node is being drained: it still announces
	// the address over BGP, as the last choice.
	ReasonDraining Reason = "Draining"
	// ReasonCommunityUnresolved says that a BGPAdvertisement of the address names
	// a community that nothing defines: a path without it could reach further
	// than it may.
	ReasonCommunityUnresolved Reason = "CommunityUnresolved"
	// ReasonTooManyCommunities says that the BGPAdvertisements of the address
	// together have more communities than a message carries.
	ReasonTooManyCommunities Reason = "TooManyCommunities"
	// ReasonNoPodCIDR says that a BGPAdvertisement announces the pod ranges of a
	// node that has none.
	ReasonNoPodCIDR Reason = "NoPodCIDR"
	// ReasonNoPeer says that no BGPPeer of this node is told of the address.
	ReasonNoPeer Reason = "NoPeer"
	// ReasonNoSession says that no session to a configured peer is
	// established.
	ReasonNoSession Reason = "NoSession"
)
