package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BGPAdvertisement makes the selected nodes announce the addresses of the
// pools it selects to their BGPPeers. Where several select one address, it is
// announced to the peers of all, with the communities of all.
//
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=bgpadv,categories=baliza
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="Peers",type=string,JSONPath=`.spec.peers`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BGPAdvertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants. An empty spec announces every pool
	// from every node to every peer.
	// +optional
	Spec BGPAdvertisementSpec `json:"spec,omitempty"`
	// status is what Baliza sees.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status BGPAdvertisementStatus `json:"status,omitempty"`
}

// BGPAdvertisementSpec selects addresses, Services, nodes and peers, and says
// what the announced paths look like. Within a list of selectors one must
// match; an absent list does not restrict.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.podCIDRs) && self.podCIDRs || has(self.externalIPs) && self.externalIPs) || (!has(self.aggregationLength) || self.aggregationLength == 32) && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128)",message="podCIDRs and externalIPs exclude aggregationLength and aggregationLengthV6: the network around them is not this node's, or not the cluster's"
type BGPAdvertisementSpec struct {
	// ipAddressPools are names of pools whose addresses are announced. With
	// neither names nor selectors all pools are, unless the advertisement is one
	// of clusterIPs, externalIPs or podCIDRs.
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

	// clusterIPs announces the cluster IPs of the selected Services, of every type
	// and class, from the nodes that serve them: with internalTrafficPolicy Local
	// only from those that have an endpoint.
	// +optional
	ClusterIPs bool `json:"clusterIPs,omitempty"`
	// externalIPs announces spec.externalIPs of the selected Services, of every
	// type and class, as externalTrafficPolicy has it. Whoever may write a Service
	// then draws the traffic of any address: restrict that first.
	// +optional
	ExternalIPs bool `json:"externalIPs,omitempty"`
	// podCIDRs announces the pod ranges of each selected node (spec.podCIDRs of
	// the Node) from that node. They are not drained: no other node has these
	// pods. serviceSelectors do not matter to them.
	// +optional
	PodCIDRs bool `json:"podCIDRs,omitempty"`

	// serviceSelectors select, by label, the Services whose addresses are
	// announced.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`

	// nodeSelectors select, by label, the nodes that announce.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// peers are names of the BGPPeers that are told; none means all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=253
	Peers []string `json:"peers,omitempty"`

	// aggregationLength of the announced IPv4 prefix: 32 announces each
	// address, less announces the network around it as soon as this node
	// serves one of its addresses. A Service with externalTrafficPolicy Local is
	// announced by its address all the same, so that no node attracts what only
	// others serve.
	// +optional
	// +kubebuilder:default=32
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	AggregationLength *int32 `json:"aggregationLength,omitempty"`
	// aggregationLengthV6 is the same for IPv6.
	// +optional
	// +kubebuilder:default=128
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	AggregationLengthV6 *int32 `json:"aggregationLengthV6,omitempty"`

	// localPref is the LOCAL_PREF that peers of the same AS are told; the
	// highest of several wins, and 100 is the default.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	LocalPref *int64 `json:"localPref,omitempty"`
	// med is the MULTI_EXIT_DISC, by which a neighboring AS prefers lower
	// values; the lowest of several wins.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	MED *int64 `json:"med,omitempty"`
	// asPathPrepend is how often our AS number is put in front of the path
	// once more, for peers of another AS; the highest of several wins.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	ASPathPrepend int32 `json:"asPathPrepend,omitempty"`
	// communities that the paths carry: standard ("64512:100"), large
	// ("large:64512:1:2"), or a name that a Community object defines.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=63
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Communities []string `json:"communities,omitempty"`

	// weighted tells the routers, for Services with externalTrafficPolicy
	// Local, how many ready pods are behind each node, as a link bandwidth
	// (an extended community), so that each pod gets an equal share.
	// +optional
	Weighted bool `json:"weighted,omitempty"`

	// transitiveLinkBandwidth sends the link bandwidth of weighted as a transitive
	// community (0x0004) instead of a non-transitive one (0x4004), for routers
	// that take the latter off between autonomous systems (RFC 4360 section 6) and
	// understand the former.
	// +optional
	TransitiveLinkBandwidth bool `json:"transitiveLinkBandwidth,omitempty"`
}

// BGPAdvertisementStatus is what Baliza sees of an advertisement.
type BGPAdvertisementStatus struct {
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

// BGPAdvertisementList is a list of BGPAdvertisements.
//
// +kubebuilder:object:root=true
type BGPAdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPAdvertisement `json:"items"`
}
