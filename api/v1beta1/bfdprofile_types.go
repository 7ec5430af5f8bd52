package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BFDProfile says how the path to a BGPPeer is watched (RFC 5880):
// asynchronous mode, over one hop (RFC 5881), or several for peers with
// ebgpMultiHop and peers of our own AS that are on no subnet of the node
// (RFC 5883).
//
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=bfdp,categories=baliza
// +kubebuilder:printcolumn:name="Transmit",type=integer,JSONPath=`.spec.transmitInterval`
// +kubebuilder:printcolumn:name="Receive",type=integer,JSONPath=`.spec.receiveInterval`
// +kubebuilder:printcolumn:name="Multiplier",type=integer,JSONPath=`.spec.detectMultiplier`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BFDProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants.
	// +optional
	Spec BFDProfileSpec `json:"spec,omitempty"`
	// status is what Baliza sees.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status BFDProfileStatus `json:"status,omitempty"`
}

// BFDProfileSpec has the times of a BFD session, in milliseconds.
type BFDProfileSpec struct {
	// receiveInterval is the shortest time between packets of the router that
	// this end can keep up with, in milliseconds.
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	ReceiveInterval int32 `json:"receiveInterval,omitempty"`
	// transmitInterval is the time between our packets, in milliseconds; a
	// router may ask for more.
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	TransmitInterval int32 `json:"transmitInterval,omitempty"`
	// detectMultiplier is how many packets may be missed.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=255
	DetectMultiplier int32 `json:"detectMultiplier,omitempty"`
	// passiveMode leaves the first packet to the router.
	// +optional
	PassiveMode bool `json:"passiveMode,omitempty"`
	// echoMode is not supported.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self",message="the echo function is not supported"
	EchoMode bool `json:"echoMode,omitempty"`
	// echoInterval between echo packets, in milliseconds. It has no meaning
	// without echoMode; the field is there for profiles that come from
	// MetalLB.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	EchoInterval int32 `json:"echoInterval,omitempty"`
	// minimumTtl that a packet must have on arrival, on paths of several hops:
	// 255 less the number of routers between. On paths of one hop it is always
	// 255 (RFC 5881).
	// +optional
	// +kubebuilder:default=254
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=254
	MinimumTTL int32 `json:"minimumTtl,omitempty"`
}

// BFDProfileStatus is what Baliza sees of a profile.
type BFDProfileStatus struct {
	// observedGeneration is the generation of the spec that this is about; -1 as
	// long as nobody has looked at the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the profile: Ready, and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BFDProfileList is a list of BFDProfiles.
//
// +kubebuilder:object:root=true
type BFDProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BFDProfile `json:"items"`
}
