package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BGPPeer is a router that the speakers of the selected nodes tell about the
// addresses (BGP-4, RFC 4271). A speaker opens the session and never listens;
// what the router announces is neither kept nor used.
//
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=bgpp,categories=baliza
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.peerAddress`
// +kubebuilder:printcolumn:name="Interface",type=string,JSONPath=`.spec.interface`,priority=1
// +kubebuilder:printcolumn:name="Gateway",type=string,JSONPath=`.spec.defaultGateway`,priority=1
// +kubebuilder:printcolumn:name="ASN",type=integer,JSONPath=`.spec.peerASN`
// +kubebuilder:printcolumn:name="My ASN",type=integer,JSONPath=`.spec.myASN`
// +kubebuilder:printcolumn:name="BFD",type=string,JSONPath=`.spec.bfdProfile`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BGPPeer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants.
	// +required
	Spec BGPPeerSpec `json:"spec"`
	// status is what Baliza sees.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status BGPPeerStatus `json:"status,omitempty"`
}

// DynamicASN says which side of the AS border a peer of unknown ASN is on.
//
// +kubebuilder:validation:Enum=internal;external
type DynamicASN string

// What a peer whose ASN is learnt from it must be.
const (
	DynamicASNInternal DynamicASN = "internal"
	DynamicASNExternal DynamicASN = "external"
)

// GatewayFamily is the family of a default route.
//
// +kubebuilder:validation:Enum=IPv4;IPv6
type GatewayFamily string

// Families of a default route.
const (
	GatewayIPv4 GatewayFamily = "IPv4"
	GatewayIPv6 GatewayFamily = "IPv6"
)

// BGPPeerSpec is what the operator wants of a peer.
//
// +kubebuilder:validation:XValidation:rule="(has(self.peerASN) && self.peerASN != 0 ? 1 : 0) + (has(self.peerASNFrom) ? 1 : 0) + (has(self.dynamicASN) ? 1 : 0) == 1",message="set one of peerASN, peerASNFrom and dynamicASN"
// +kubebuilder:validation:XValidation:rule="has(self.myASN) != has(self.myASNFrom)",message="set either myASN or myASNFrom"
// +kubebuilder:validation:XValidation:rule="!has(self.password) || !has(self.passwordSecret)",message="set either password or passwordSecret"
// +kubebuilder:validation:XValidation:rule="!has(self.ttlSecurity) || !self.ttlSecurity || !has(self.ebgpMultiHop) || !self.ebgpMultiHop",message="ttlSecurity is for peers one hop away: it excludes ebgpMultiHop"
// +kubebuilder:validation:XValidation:rule="(has(self.peerAddress) ? 1 : 0) + (has(self.peerAddressFrom) ? 1 : 0) + (has(self.interface) && size(self.interface) > 0 ? 1 : 0) + (has(self.defaultGateway) ? 1 : 0) == 1 || has(self.peerAddress) && has(self.interface) && !has(self.peerAddressFrom) && !has(self.defaultGateway) && ip(self.peerAddress).family() == 6 && ip(self.peerAddress).isLinkLocalUnicast()",message="set one of peerAddress, peerAddressFrom, interface and defaultGateway; only a link-local peerAddress goes with its interface"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceAddress) || has(self.peerAddress)",message="sourceAddress goes with peerAddress"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceAddress) || !has(self.peerAddress) || ip(self.sourceAddress).family() == ip(self.peerAddress).family()",message="sourceAddress and peerAddress must be of one family"
// +kubebuilder:validation:XValidation:rule="!has(self.ebgpMultiHop) || !self.ebgpMultiHop || (has(self.peerAddress) || has(self.peerAddressFrom)) && (!has(self.interface) || size(self.interface) == 0)",message="ebgpMultiHop goes with peerAddress: what an interface or a default route leads to is one hop away"
// +kubebuilder:validation:XValidation:rule="!has(self.disableMP) || !self.disableMP || !has(self.dualStackAddressFamily) || !self.dualStackAddressFamily",message="disableMP excludes dualStackAddressFamily"
// +kubebuilder:validation:XValidation:rule="!has(self.localASN) || !has(self.myASN) || self.localASN != self.myASN",message="localASN must differ from myASN"
type BGPPeerSpec struct {
	// myASN is the AS number of the cluster.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	MyASN int64 `json:"myASN,omitempty"`
	// myASNFrom takes it from each node, in place of myASN.
	// +optional
	MyASNFrom *NodeValue `json:"myASNFrom,omitempty"`
	// localASN replaces myASN in this session's OPEN, for a router that still
	// knows the cluster by another number; paths then carry both.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	LocalASN int64 `json:"localASN,omitempty"`
	// peerASN is the AS number of the router.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	PeerASN int64 `json:"peerASN,omitempty"`
	// peerASNFrom takes it from each node, in place of peerASN.
	// +optional
	PeerASNFrom *NodeValue `json:"peerASNFrom,omitempty"`
	// dynamicASN takes whatever AS number the router has, as long as it is
	// the same as ours (internal) or another (external).
	// +optional
	DynamicASN DynamicASN `json:"dynamicASN,omitempty"`

	// peerAddress of the router, IPv4 or IPv6. It may be the node's own, as that
	// of a routing daemon at 127.0.0.1, and link-local together with interface.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IP address"
	PeerAddress string `json:"peerAddress,omitempty"`
	// peerAddressFrom takes it from each node, in place of peerAddress: one
	// object serves every rack. (The value of a label has no colons, so that an
	// IPv6 address is taken from an annotation.)
	// +optional
	PeerAddressFrom *NodeValue `json:"peerAddressFrom,omitempty"`
	// interface of the node at whose other end the router is. Beside a link-local
	// peerAddress it is where that address is; in place of one the session runs between the link-local addresses of both
	// ("unnumbered"), and carries both families; the router needs the extended
	// next hop capability for IPv4 (RFC 8950). Both ends learn of each other
	// by router advertisements.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^/:[:space:]]*$') && self != '.' && self != '..'",message="must be the name of an interface"
	Interface string `json:"interface,omitempty"`
	// defaultGateway takes, in place of peerAddress, the gateway of each
	// node's default route of this family: one object serves every rack.
	// +optional
	DefaultGateway GatewayFamily `json:"defaultGateway,omitempty"`
	// sourceAddress to open the session from; it must be the node's own.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IP address"
	SourceAddress string `json:"sourceAddress,omitempty"`
	// peerPort is the router's TCP port.
	// +optional
	// +kubebuilder:default=179
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	PeerPort int32 `json:"peerPort,omitempty"`

	// holdTime after which a silent router is given up; 0 turns that off, and
	// 90s is the default. The lower of both ends' counts.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || (duration(self) >= duration('3s') && duration(self) <= duration('65535s'))",message="must be 0s, or from 3s to 65535s"
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`
	// keepaliveTime between signs of life; a third of the hold time unless
	// it is set.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('21845s')",message="must be from 1s to 21845s"
	KeepaliveTime *metav1.Duration `json:"keepaliveTime,omitempty"`
	// connectTime between attempts to connect, 1s by default.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('65535s')",message="must be from 1s to 65535s"
	ConnectTime *metav1.Duration `json:"connectTime,omitempty"`
	// routerID in the form of an IPv4 address; by default the node's IPv4
	// address, or a number made of its name. It is the same for all nodes that
	// are selected, and should differ between them: select one.
	// +optional
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="isIP(self) && ip(self).family() == 4",message="must have the form of an IPv4 address"
	RouterID string `json:"routerID,omitempty"`

	// nodeSelectors select, by label, the nodes that peer; one must match.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// password of the session (TCP MD5, RFC 2385). Whoever may read BGPPeers
	// can read it: prefer passwordSecret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=80
	Password string `json:"password,omitempty"`
	// passwordSecret names a Secret of type kubernetes.io/basic-auth in
	// Baliza's own namespace; its field password is the session's.
	// +optional
	PasswordSecret *PasswordSecret `json:"passwordSecret,omitempty"`

	// bfdProfile names the BFDProfile by which the path is watched.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	BFDProfile string `json:"bfdProfile,omitempty"`
	// enableGracefulRestart lets the router keep its routes while a speaker
	// restarts (RFC 4724).
	// +optional
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`
	// ebgpMultiHop allows a router of another AS to be several hops away; BFD
	// then runs over several hops too (RFC 5883).
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`
	// ttlSecurity refuses packets of the session that come from more than one
	// hop away (GTSM, RFC 5082). The router must be set to it as well.
	// +optional
	TTLSecurity bool `json:"ttlSecurity,omitempty"`
	// dualStackAddressFamily carries both families over this one session;
	// otherwise it carries that of peerAddress.
	// +optional
	DualStackAddressFamily bool `json:"dualStackAddressFamily,omitempty"`
	// disableMP restricts the session to the family of peerAddress.
	// That is so anyway unless dualStackAddressFamily is set: the field is there
	// for objects that come from MetalLB, where it is deprecated.
	// +optional
	DisableMP bool `json:"disableMP,omitempty"`

	// vrf is not supported: the session runs in the node's main table.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == ''",message="VRFs are not supported: the session runs in the node's main routing table"
	VRF string `json:"vrf,omitempty"`
}

// NodeValue names what a node has the value in. A node that lacks it, or has
// something else in it, has no session, and its Speaker says so.
//
// +kubebuilder:validation:XValidation:rule="has(self.nodeLabel) != has(self.nodeAnnotation)",message="set either nodeLabel or nodeAnnotation"
type NodeValue struct {
	// nodeLabel is the key of a label of the Node.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	NodeLabel string `json:"nodeLabel,omitempty"`
	// nodeAnnotation is the key of an annotation of the Node.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	NodeAnnotation string `json:"nodeAnnotation,omitempty"`
}

// PasswordSecret names a Secret in Baliza's own namespace.
type PasswordSecret struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// namespace of the Secret: Baliza's own, which is also the default.
	// Speakers may read Secrets nowhere else, so a peer that names another
	// namespace is not used and says so.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// BGPPeerStatus is what Baliza sees of a peer. The state of each node's
// session is in that node's Speaker.
type BGPPeerStatus struct {
	// observedGeneration is the generation of the spec that this is about; -1 as
	// long as nobody has looked at the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the peer: Ready, and Stalled while it cannot be used as it stands.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BGPPeerList is a list of BGPPeers.
//
// +kubebuilder:object:root=true
type BGPPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPPeer `json:"items"`
}
