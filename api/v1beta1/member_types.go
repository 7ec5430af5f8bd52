package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Member is what the speaker of the node of the same name says to the other
// speakers: where it can be reached, whom it misses, and what its node has. Only
// that speaker writes it, and only when one of these changes; the other speakers
// watch it. What it says to people and to the controller stands in its Speaker: that
// changes with each address that moves, and is nothing that every node has to be
// sent.
//
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=bmem
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.memberAddress`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Member struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// status is what the speaker says to the others.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status MemberStatus `json:"status,omitempty"`
}

// MemberStatus is what one speaker says to the others. Each field is that of the
// same name in its SpeakerStatus.
type MemberStatus struct {
	// observedGeneration is the generation of the object that this is about: there is
	// no spec that could change, so it is 1, or -1 before the first report.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// memberAddress is where the other speakers reach this one for
	// membership: an address and port ("192.0.2.11:7946").
	// +optional
	// +kubebuilder:validation:MaxLength=64
	MemberAddress string `json:"memberAddress,omitempty"`

	// localAddresses are the addresses of IPAddressPools that this node has on an
	// interface of its own, or that are its gateway. The first 16.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=45
	LocalAddresses []string `json:"localAddresses,omitempty"`

	// unreachable are speakers that this one has not heard for some seconds, the
	// first 256.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Unreachable []UnreachableSpeaker `json:"unreachable,omitempty"`

	// confirmedAlive are the others that say that this speaker is unreachable,
	// each with its own time. The first 256.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	ConfirmedAlive []UnreachableSpeaker `json:"confirmedAlive,omitempty"`
}

// MemberList is a list of Members.
//
// +kubebuilder:object:root=true
type MemberList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Member `json:"items"`
}
