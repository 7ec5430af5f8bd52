package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPAddressPool is a set of addresses that may be given to Services of type
// LoadBalancer.
//
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=bpool,categories=baliza
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="Auto",type=boolean,JSONPath=`.spec.autoAssign`
// +kubebuilder:printcolumn:name="Used4",type=integer,JSONPath=`.status.assignedIPv4`
// +kubebuilder:printcolumn:name="Free4",type=string,JSONPath=`.status.availableIPv4`
// +kubebuilder:printcolumn:name="Used6",type=integer,JSONPath=`.status.assignedIPv6`
// +kubebuilder:printcolumn:name="Free6",type=string,JSONPath=`.status.availableIPv6`,priority=1
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type IPAddressPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants.
	// +required
	Spec IPAddressPoolSpec `json:"spec"`
	// status is what Baliza sees.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status IPAddressPoolStatus `json:"status,omitempty"`
}

// AddressRange is a CIDR without host bits (192.0.2.0/24, 2001:db8::/64) or
// two addresses of one family joined by a hyphen, lowest first, both included
// (192.0.2.10-192.0.2.20).
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=100
// +kubebuilder:validation:XValidation:rule="self.contains('-') ? (self.split('-').size() == 2 && self.split('-').all(a, isIP(a.trim()))) : isCIDR(self.trim())",message="must be a CIDR (192.0.2.0/24) or a range of two addresses (192.0.2.10-192.0.2.20)"
// +kubebuilder:validation:XValidation:rule="self.contains('-') || !isCIDR(self.trim()) || cidr(self.trim()).masked() == cidr(self.trim())",message="a CIDR must not have host bits set"
// +kubebuilder:validation:XValidation:rule="!self.contains('-') || self.split('-').size() != 2 || !self.split('-').all(a, isIP(a.trim())) || ip(self.split('-')[0].trim()).family() == ip(self.split('-')[1].trim()).family()",message="both ends of a range must be of one family"
type AddressRange string

// IPAddressPoolSpec is what the operator wants of a pool.
type IPAddressPoolSpec struct {
	// addresses that the pool may give, of one family or of both. Ranges may
	// not overlap each other or those of another pool; where they do, the
	// older pool is used and the younger says so in its Ready condition.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	Addresses []AddressRange `json:"addresses"`

	// excluded are addresses that are never given, though the list above
	// covers them: gateways, for example.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	Excluded []AddressRange `json:"excluded,omitempty"`

	// autoAssign says whether the pool serves Services that do not name it,
	// nor one of its addresses.
	// +optional
	// +kubebuilder:default=true
	AutoAssign *bool `json:"autoAssign,omitempty"`

	// avoidBuggyIPs leaves out IPv4 addresses that end in .0 or .255, which
	// some old devices mistake for network or broadcast addresses, and IPv6
	// addresses whose last 64 bits are zero, which every router of that
	// network answers for (RFC 4291 section 2.6.1).
	// +optional
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// serviceAllocation restricts which Services the pool serves, and in
	// which order pools are tried.
	// +optional
	AllocateTo *ServiceAllocation `json:"serviceAllocation,omitempty"`

	// reservations set addresses of the pool aside. An address that a Service
	// has already stays with it, whoever it is reserved for now.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Reservations []Reservation `json:"reservations,omitempty"`

	// quota limits how many addresses of the pool the Services of one
	// namespace may hold. Nobody loses an address by it.
	// +optional
	Quota *PoolQuota `json:"quota,omitempty"`

	// reuseDelay is how long an address rests after a Service gave it up,
	// before it is given to another namespace: clients and name servers may
	// still know it as the former Service. The namespace that had it may have
	// it back at once, and so may anyone once the pool has no other address
	// left. "0s" switches it off; at most a week.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('168h')",message="must be from 0s to 168h"
	ReuseDelay *metav1.Duration `json:"reuseDelay,omitempty"`

	// allocationOrder says which of the free addresses is given: the lowest
	// (LowestFree), or one that was never given, and after those the one that
	// was given up longest ago (LeastRecentlyUsed).
	// +optional
	// +kubebuilder:default=LowestFree
	AllocationOrder AllocationOrder `json:"allocationOrder,omitempty"`
}

// AllocationOrder says which of the free addresses of a pool is given.
//
// +kubebuilder:validation:Enum=LowestFree;LeastRecentlyUsed
type AllocationOrder string

// Orders of allocation.
const (
	// LowestFree gives the lowest free address.
	LowestFree AllocationOrder = "LowestFree"
	// LeastRecentlyUsed gives the lowest address that was not given since the
	// controller started; when there is none, the one that was given up
	// longest ago.
	LeastRecentlyUsed AllocationOrder = "LeastRecentlyUsed"
)

// ReservedAddresses is one address (192.0.2.10), or what an AddressRange may be.
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=100
// +kubebuilder:validation:XValidation:rule="self.contains('-') ? (self.split('-').size() == 2 && self.split('-').all(a, isIP(a.trim()))) : isIP(self.trim()) || isCIDR(self.trim())",message="must be an address (192.0.2.10), a CIDR (192.0.2.0/24) or a range of two addresses (192.0.2.10-192.0.2.20)"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.trim()) || cidr(self.trim()).masked() == cidr(self.trim())",message="a CIDR must not have host bits set"
type ReservedAddresses string

// Reservation sets addresses aside for the Services of a namespace, for one
// Service, or, when it names neither, for nobody.
//
// +kubebuilder:validation:XValidation:rule="!has(self.service) || has(self.namespace)",message="a service needs the namespace that it is in"
type Reservation struct {
	// addresses that are set aside: single ones, CIDRs or ranges. They must
	// be of the pool; those that are not have no effect.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Addresses []ReservedAddresses `json:"addresses"`

	// namespace whose Services may have the addresses. They are given these
	// before others of the pool.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// service of that namespace which alone may have the addresses. It need
	// not name them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Service string `json:"service,omitempty"`
}

// PoolQuota limits how many addresses of a pool a namespace may hold, those of
// both families together. An address that Services of one namespace share
// counts once.
//
// +kubebuilder:validation:XValidation:rule="has(self.perNamespace) || has(self.namespaces)",message="set perNamespace, namespaces or both"
type PoolQuota struct {
	// perNamespace is the limit of each namespace that the list below does
	// not have; unset, those are not limited.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PerNamespace *int32 `json:"perNamespace,omitempty"`

	// namespaces that have a limit of their own.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	Namespaces []NamespaceQuota `json:"namespaces,omitempty"`
}

// NamespaceQuota is the limit of one namespace.
type NamespaceQuota struct {
	// namespace that is limited.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// addresses that it may hold.
	// +required
	// +kubebuilder:validation:Minimum=0
	Addresses int32 `json:"addresses"`
}

// ServiceAllocation says which Services a pool serves. Where both namespaces
// (by name or label) and Services are restricted, both must match.
type ServiceAllocation struct {
	// priority orders the pools that could serve a Service: lower values are
	// tried first, and 0 (unset) comes last.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Priority int32 `json:"priority,omitempty"`

	// namespaces whose Services may use the pool.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=63
	Namespaces []string `json:"namespaces,omitempty"`

	// namespaceSelectors select, by label, further namespaces whose Services
	// may use the pool; one of them must match.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	NamespaceSelectors []metav1.LabelSelector `json:"namespaceSelectors,omitempty"`

	// serviceSelectors select, by label, the Services that may use the pool;
	// one of them must match.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// IPAddressPoolStatus is what Baliza sees of a pool. The counters are exact.
type IPAddressPoolStatus struct {
	// observedGeneration is the generation of the spec that this is about; -1 as
	// long as nobody has looked at the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// assignedIPv4 is the number of IPv4 addresses that Services hold.
	// +optional
	AssignedIPv4 int64 `json:"assignedIPv4"`
	// assignedIPv6 is the number of IPv6 addresses that Services hold.
	// +optional
	AssignedIPv6 int64 `json:"assignedIPv6"`
	// availableIPv4 is the number of IPv4 addresses that can still be given,
	// in decimal; those in quarantine cannot.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	AvailableIPv4 string `json:"availableIPv4,omitempty"`
	// availableIPv6 is the number of IPv6 addresses that can still be given,
	// in decimal: it may exceed 64 bits, up to 2^128.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	AvailableIPv6 string `json:"availableIPv6,omitempty"`

	// outsideSpec are assigned addresses that the spec no longer covers,
	// each with the Services that hold it ("192.0.2.9 default/web"), the
	// first hundred of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=400
	OutsideSpec []string `json:"outsideSpec,omitempty"`

	// quarantined are addresses that something else on the network answers
	// for. They are given only to Services that name them.
	// +optional
	// +listType=map
	// +listMapKey=address
	// +kubebuilder:validation:MaxItems=16
	Quarantined []QuarantinedAddress `json:"quarantined,omitempty"`

	// conditions of the pool: Ready, and Stalled while it cannot be used as it stands.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// QuarantinedAddress is an address of a pool that is not given to Services that
// do not name it, because another host on the network answers for it.
type QuarantinedAddress struct {
	// address, IPv4 or IPv6.
	// +required
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address"`
	// mac of that host, as last reported by a speaker.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	MAC string `json:"mac,omitempty"`
	// since when the address is in quarantine.
	// +required
	Since metav1.Time `json:"since"`
	// until is when the quarantine ends. It is absent as long as a speaker
	// reports the conflict.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
	// reassignedServices are the Services, as namespace/name, that were given
	// another address because of it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=320
	ReassignedServices []string `json:"reassignedServices,omitempty"`
}

// IPAddressPoolList is a list of IPAddressPools.
//
// +kubebuilder:object:root=true
type IPAddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPAddressPool `json:"items"`
}
