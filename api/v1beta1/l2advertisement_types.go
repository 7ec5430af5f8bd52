package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// L2Advertisement makes one node answer ARP (RFC 826) and NDP (RFC 4861) for
// each address of the pools it selects, or one node for each client.
//
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=l2adv,categories=baliza
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="Interfaces",type=string,JSONPath=`.spec.interfaces`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type L2Advertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants. An empty spec announces every pool
	// from every node on every suitable interface.
	// +optional
	Spec L2AdvertisementSpec `json:"spec,omitempty"`
	// status is what Baliza sees.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status L2AdvertisementStatus `json:"status,omitempty"`
}

// L2AdvertisementSpec selects addresses, Services, nodes and interfaces.
// Within a list of selectors one must match; an absent list does not restrict.
//
// +kubebuilder:validation:XValidation:rule="has(self.failbackDelay) == (has(self.failback) && self.failback == 'After')",message="failbackDelay goes with failback: After"
// +kubebuilder:validation:XValidation:rule="!has(self.balancing) || self.balancing != 'PerClient' || (!has(self.preferredNodes) || size(self.preferredNodes) == 0) && (!has(self.failback) || self.failback == 'Never')",message="with balancing: PerClient no node owns the address: there are no preferredNodes and no failback"
type L2AdvertisementSpec struct {
	// ipAddressPools are names of pools whose addresses are announced. With
	// neither names nor selectors, all pools are.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=253
	IPAddressPools []string `json:"ipAddressPools,omitempty"`

	// ipAddressPoolSelectors select further pools by label.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	IPAddressPoolSelectors []metav1.LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// serviceSelectors select, by label, the Services whose addresses are
	// announced.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`

	// nodeSelectors select, by label, the nodes that may announce.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// interfaces on which the addresses are announced; empty means every
	// Ethernet interface that is up. Where several advertisements select an
	// address, their interfaces add up.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=15
	Interfaces []string `json:"interfaces,omitempty"`

	// balancing says what is spread over the nodes: whole addresses, each of
	// which one node owns, or with PerClient the clients of each address, so
	// that every node that may announce it serves some of them. All hosts
	// behind one router are one client. Where several advertisements select
	// an address, it is PerClient only if all of them say so.
	// +optional
	// +kubebuilder:default=PerAddress
	Balancing Balancing `json:"balancing,omitempty"`

	// preferredNodes are nodes that should rather own an address than others
	// that may, too. The weights of all that select a node add up, over all
	// advertisements of the address; the highest sum wins. They choose among
	// the nodes that are there when an address needs an owner; an owner is
	// left alone unless failback says otherwise.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	PreferredNodes []PreferredNode `json:"preferredNodes,omitempty"`

	// failback says whether an address goes back when a node returns that
	// comes before its present owner. Each move breaks connections, so that
	// the default is Never. Of several advertisements of one address the most
	// eager counts.
	// +optional
	// +kubebuilder:default=Never
	Failback Failback `json:"failback,omitempty"`

	// failbackDelay is how long the better node must have been back, with
	// failback: After.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be between 1s and 24h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=duration
	FailbackDelay *metav1.Duration `json:"failbackDelay,omitempty"`

	// answerPing has the kernel of the node that answers for an address answer
	// ping (ICMP echo requests), too. The speakers need the capability NET_ADMIN
	// for that, which the chart's value speaker.answerPing gives them. Of several
	// advertisements of one address one that says so is enough.
	// +optional
	AnswerPing bool `json:"answerPing,omitempty"`
}

// Balancing says what is spread over the nodes.
// +kubebuilder:validation:Enum=PerAddress;PerClient
type Balancing string

// Values of Balancing.
const (
	// BalancePerAddress has each address owned by one node.
	BalancePerAddress Balancing = "PerAddress"
	// BalancePerClient has each client of an address answered by one of the
	// nodes, chosen by a hash of the client's address.
	BalancePerClient Balancing = "PerClient"
)

// Failback says when an address goes back to a better node.
// +kubebuilder:validation:Enum=Never;Immediate;After
type Failback string

// Values of Failback.
const (
	FailbackNever     Failback = "Never"
	FailbackImmediate Failback = "Immediate"
	FailbackAfter     Failback = "After"
)

// PreferredNode gives the nodes that a selector matches a weight.
type PreferredNode struct {
	// weight of the preference.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`
	// nodeSelector selects nodes by label.
	// +required
	NodeSelector metav1.LabelSelector `json:"nodeSelector"`
}

// L2AdvertisementStatus is what Baliza sees of an advertisement.
type L2AdvertisementStatus struct {
	// observedGeneration is the generation of the spec that this is about; -1 as
	// long as nobody has looked at the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the advertisement: Ready, and Stalled while it cannot be used as it stands.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// L2AdvertisementList is a list of L2Advertisements.
//
// +kubebuilder:object:root=true
type L2AdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []L2Advertisement `json:"items"`
}
