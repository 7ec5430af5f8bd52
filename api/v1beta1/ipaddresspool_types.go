package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPAddressPool is a set of addresses that may be given to Services of type
// LoadBalancer.
//
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ippool;bpool,categories=baliza
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
	// some old devices mistake for network or broadcast addresses.
	// +optional
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// serviceAllocation restricts which Services the pool serves, and in
	// which order pools are tried.
	// +optional
	AllocateTo *ServiceAllocation `json:"serviceAllocation,omitempty"`
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
	// assignedIPv4 is the number of IPv4 addresses that Services hold.
	// +optional
	AssignedIPv4 int64 `json:"assignedIPv4"`
	// assignedIPv6 is the number of IPv6 addresses that Services hold.
	// +optional
	AssignedIPv6 int64 `json:"assignedIPv6"`
	// availableIPv4 is the number of IPv4 addresses that can still be given,
	// in decimal.
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

	// conditions of the pool: Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IPAddressPoolList is a list of IPAddressPools.
//
// +kubebuilder:object:root=true
type IPAddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPAddressPool `json:"items"`
}
