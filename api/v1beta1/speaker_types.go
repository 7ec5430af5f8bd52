package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Speaker is what the speaker of the node of the same name says of itself:
// where it can be reached, which addresses it answers for, and why it does
// not answer for the others. Only that speaker writes it.
//
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=bspk,categories=baliza
// +kubebuilder:printcolumn:name="Held",type=integer,JSONPath=`.status.heldCount`
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=`.status.membersAlive`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.memberAddress`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Speaker struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// status is what the speaker reports.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status SpeakerStatus `json:"status,omitempty"`
}

// SpeakerStatus is one speaker's report.
type SpeakerStatus struct {
	// observedGeneration is the generation of the object that this is about: there is
	// no spec that could change, so it is 1, or -1 before the first report.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// memberAddress is where the other speakers reach this one for
	// membership: an address and port ("192.0.2.11:7946").
	// +optional
	// +kubebuilder:validation:MaxLength=64
	MemberAddress string `json:"memberAddress,omitempty"`

	// membershipKeys are the keys that this speaker accepts, the one that it
	// encrypts with first: of each the first 16 hexadecimal digits of its
	// SHA-256.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=16
	MembershipKeys []string `json:"membershipKeys,omitempty"`
	// version of the speaker's program.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`
	// membersAlive is how many speakers this one sees alive, itself included.
	// +optional
	MembersAlive int32 `json:"membersAlive,omitempty"`
	// heldCount is how many addresses this speaker answers for.
	// +optional
	HeldCount int32 `json:"heldCount"`

	// interfaces are those on which this speaker answers for each address of held
	// that names none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=15
	Interfaces []string `json:"interfaces,omitempty"`

	// held are the addresses that this speaker answers for, the first 4,096. One
	// program writes them all, so that managedFields need not name each.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Held []HeldAddress `json:"held,omitempty"`

	// withheld are the addresses that this speaker does not answer for and no
	// other node owns, grouped by why. Of an interface that it lacks it also says
	// of how many addresses that others own it keeps it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Withheld []WithheldAddresses `json:"withheld,omitempty"`

	// conflicts are the addresses that this speaker would answer for but for
	// another host that does (RFC 5227), the first 256.
	// +optional
	// +listType=map
	// +listMapKey=address
	// +kubebuilder:validation:MaxItems=256
	Conflicts []AddressConflict `json:"conflicts,omitempty"`

	// localAddresses are the addresses of IPAddressPools that this node has on an
	// interface of its own, or that are its gateway: no Service is to be given
	// them. The first 16; not those that kube-proxy puts on an interface.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=45
	LocalAddresses []string `json:"localAddresses,omitempty"`

	// unreachable are speakers that this one has not heard for some seconds, the
	// first 256. What those said before counts no more, unless they confirm that
	// they are alive. Of the speakers that hear each other the first three, by
	// name, say it for all.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Unreachable []UnreachableSpeaker `json:"unreachable,omitempty"`

	// confirmedAlive are the others that say that this speaker is unreachable,
	// each with its own time: who can answer is alive. The first 256.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	ConfirmedAlive []UnreachableSpeaker `json:"confirmedAlive,omitempty"`

	// bgp is what it says of its BGP sessions; absent without any.
	// +optional
	BGP *BGPReport `json:"bgp,omitempty"`

	// conditions of the speaker: Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// moves are the last addresses that this speaker has begun to answer for, and
	// those that it has given up and nobody else has taken: the last 32, the latest at
	// the end, those before its last start, too.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Moves []AddressMove `json:"moves,omitempty"`
}

// AddressMove is an address that went from one node to another, from nobody or to
// nobody.
type AddressMove struct {
	// time at which it was done.
	// +required
	Time metav1.MicroTime `json:"time"`
	// address, IPv4 or IPv6.
	// +required
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address"`
	// from is the node that answered before; absent if none did.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	From string `json:"from,omitempty"`
	// to is the node that answers from then on; absent if none does.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	To string `json:"to,omitempty"`
	// cause, in one word.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Cause MoveCause `json:"cause"`
	// unownedMilliseconds is for about how long nobody answered, where the node
	// before failed.
	// +optional
	UnownedMilliseconds int64 `json:"unownedMilliseconds,omitempty"`
}

// HeldAddress is an address that a speaker answers for.
type HeldAddress struct {
	// address, IPv4 or IPv6.
	// +required
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address"`
	// services that have the address, as namespace/name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=320
	Services []string `json:"services,omitempty"`
	// interfaces on which the speaker answers, where they are not those of the
	// status.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=15
	Interfaces []string `json:"interfaces,omitempty"`
	// balancing is PerClient where other speakers answer for the address, too,
	// each some of the clients.
	// +optional
	Balancing Balancing `json:"balancing,omitempty"`
}

// WithheldAddresses are addresses that a speaker does not answer for, for one
// reason.
type WithheldAddresses struct {
	// reason, in one word.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Reason Reason `json:"reason"`
	// message, in a sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// count of the addresses.
	// +required
	Count int32 `json:"count"`
	// addresses, the first 1,024.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=45
	Addresses []string `json:"addresses,omitempty"`
}

// AddressConflict is an address that another host on the network answers for,
// one that is no node of the cluster (RFC 5227).
type AddressConflict struct {
	// address, IPv4 or IPv6.
	// +required
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address"`
	// mac of that host, as last seen.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	MAC string `json:"mac,omitempty"`
	// interface on which it was seen.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	Interface string `json:"interface,omitempty"`
	// found says when: before this cluster used the address (FirstUse), or
	// while or after it did (InUse), as far as this speaker knows.
	// +required
	Found ConflictFound `json:"found"`
	// since when the conflict lasts, as far as this speaker knows.
	// +required
	Since metav1.Time `json:"since"`
}

// ConflictFound says when a conflict was found.
//
// +kubebuilder:validation:Enum=FirstUse;InUse
type ConflictFound string

// Times at which a conflict is found.
const (
	// FoundAtFirstUse: by the probe before the address was first answered
	// for (RFC 5227 section 2.1.1, RFC 4862 section 5.4).
	FoundAtFirstUse ConflictFound = "FirstUse"
	// FoundInUse: later (RFC 5227 section 2.4).
	FoundInUse ConflictFound = "InUse"
)

// UnreachableSpeaker names a speaker and a time.
type UnreachableSpeaker struct {
	// name of the speaker, which is its node's.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// since when it is unreachable, or says that another is.
	// +required
	Since metav1.Time `json:"since"`
}

// SpeakerList is a list of Speakers.
//
// +kubebuilder:object:root=true
type SpeakerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Speaker `json:"items"`
}
