package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BGPReport is what a speaker says of its BGP sessions.
type BGPReport struct {
	// peers of this node, each with its session, by name.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Peers []BGPSession `json:"peers,omitempty"`
	// announcedCount is how many addresses are announced to one peer at least
	// whose session is established.
	// +optional
	AnnouncedCount int32 `json:"announcedCount"`
	// drainingCount is how many of them are announced as the last choice, because the
	// node is being drained.
	// +optional
	DrainingCount int32 `json:"drainingCount,omitempty"`
	// announced are these addresses in order, those that follow each other as one
	// range ("192.0.2.10-192.0.2.20"). The first 16,384 of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16384
	// +kubebuilder:validation:items:MaxLength=91
	Announced []string `json:"announced,omitempty"`
	// otherCount is how many prefixes beside those of load balancers (cluster
	// IPs, external IPs, pod ranges) are announced to one peer at least whose
	// session is established. What is not stands among withheld.
	// +optional
	OtherCount int32 `json:"otherCount,omitempty"`
}

// BGPSession is one session of a speaker.
type BGPSession struct {
	// name of the BGPPeer.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// address of the router; empty while it is not known, and with its
	// interface where it is link-local.
	// +required
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address"`
	// state of the session: Idle, Connect, OpenSent, OpenConfirm or
	// Established (RFC 4271).
	// +required
	// +kubebuilder:validation:MaxLength=16
	State string `json:"state"`
	// since is when the session was established, or lost.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// peerASN that the router has.
	// +optional
	PeerASN int64 `json:"peerASN,omitempty"`
	// lastError is why the session is not established, or was last lost.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastError string `json:"lastError,omitempty"`
	// bfd is the state of the path: Up, Init, Down or AdminDown; empty
	// without a BFD profile.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	BFD string `json:"bfd,omitempty"`
	// routesSent is how many prefixes the router has been told.
	// +optional
	RoutesSent int32 `json:"routesSent"`
}
