package checks

// ID names a check, for scripts and for docs/checks.md. It outlasts what is printed. No
// reason of api/v1beta1 has the same name.
type ID string

// Checks of the cluster.
const (
	// KubernetesVersion: the API server is new enough.
	KubernetesVersion ID = "KubernetesVersion"
	// KubeProxy: it does not answer ARP for addresses that Baliza announces.
	KubeProxy ID = "KubeProxy"
	// OtherProviders: nobody else gives addresses to the same Services.
	OtherProviders ID = "OtherProviders"
	// EligibleNodes: a node may own addresses.
	EligibleNodes ID = "EligibleNodes"
	// Clocks of the nodes agree.
	Clocks ID = "Clocks"
	// MemberPort: speakers can reach each other.
	MemberPort ID = "MemberPort"
	// Interfaces: nodes have those that are to be announced on.
	Interfaces ID = "Interfaces"
)

// Checks of the installation.
const (
	// OneInstallation: Baliza is there once; before that, not yet.
	OneInstallation ID = "OneInstallation"
	// InstallPermissions: the user may install it.
	InstallPermissions ID = "InstallPermissions"
	// PodSecurity: the namespace admits the speakers.
	PodSecurity ID = "PodSecurity"
	// CustomResourceDefinitions are there, served, and of this version.
	CustomResourceDefinitions ID = "CustomResourceDefinitions"
	// Permissions: the service accounts may do what the programs do.
	Permissions ID = "Permissions"
	// ControllerReady: a replica of the controller is ready and leads.
	ControllerReady ID = "ControllerReady"
	// SpeakersReady: a speaker is alive and ready on each node that should have one.
	SpeakersReady ID = "SpeakersReady"
	// Versions of all programs are the same.
	Versions ID = "Versions"
	// MembershipKey: speakers understand each other.
	MembershipKey ID = "MembershipKey"
	// MembersHeard: speakers hear each other, in both directions.
	MembersHeard ID = "MembersHeard"
	// BGPSessions are established.
	BGPSessions ID = "BGPSessions"
)

// Checks of the addresses.
const (
	// Configuration: each object is used as it stands.
	Configuration ID = "Configuration"
	// PoolOverlap: pools have no address that the cluster itself has.
	PoolOverlap ID = "PoolOverlap"
	// DHCP: no server gives away addresses of pools.
	DHCP ID = "DHCP"
	// Quarantine: no address of a pool is set aside because another host has it.
	Quarantine ID = "Quarantine"
	// Services have what they ask for.
	Services ID = "Services"
	// OneOwner: each address is reported by exactly one speaker, and by no other host.
	OneOwner ID = "OneOwner"
	// OneAnswer: each address is answered for by one MAC on the network.
	OneAnswer ID = "OneAnswer"
)

// Cure is what to do where the check fails, one sentence or two. Reasons that a finding
// gives have their own.
func (id ID) Cure() string { return idCures()[id] }

// IDs are those of all checks.
func IDs() []ID {
	return []ID{
		KubernetesVersion, KubeProxy, OtherProviders, EligibleNodes, Clocks, MemberPort, Interfaces,
		OneInstallation, InstallPermissions, PodSecurity, CustomResourceDefinitions, Permissions, ControllerReady, SpeakersReady,
		Versions, MembershipKey, MembersHeard, BGPSessions,
		Configuration, PoolOverlap, DHCP, Quarantine, Services, OneOwner, OneAnswer,
	}
}

func idCures() map[ID]string {
	return map[ID]string{
		KubernetesVersion: "Upgrade Kubernetes to 1.32 or newer.",
		KubeProxy: "Set ipvs.strictARP to true in the ConfigMap kube-system/kube-proxy and restart kube-proxy: " +
			"without it each node answers ARP for every Service address.",
		OtherProviders: "Have one provider for each Service: give the other a class of its own, or Baliza by serveClassless false of the chart; " +
			"or stop the other.",
		EligibleNodes: "Take the label node.kubernetes.io/exclude-from-external-load-balancers off a node, " +
			"or set ignoreExcludeLabel of the chart.",
		Clocks:     "Let the nodes have the time of one server (NTP): ages, histories and logs of several nodes cannot be compared otherwise.",
		MemberPort: "Open port 7946, TCP and UDP, in both directions between the nodes; kubectl baliza check says whether speakers hear each other.",
		Interfaces: "Name the interfaces in spec.interfaces of the L2Advertisement; kubectl baliza explain node says what a node lacks.",
		OneInstallation: "One cluster has one Baliza: install it by Helm or by install.yaml, " +
			"and uninstall it from the other namespace first.",
		InstallPermissions:        "Install as a user who may create these kinds, usually a cluster administrator.",
		PodSecurity:               "Label the namespace pod-security.kubernetes.io/enforce=privileged: speakers use the network of their node.",
		CustomResourceDefinitions: "Install the definitions of this version: crds.yaml of the release, or the chart with crds.enabled.",
		Permissions:               "Install the chart or install.yaml of this version again: it brings the roles and bindings.",
		ControllerReady:           "Look at the Deployment baliza-controller and the logs of its pods.",
		SpeakersReady: "Look at the DaemonSet baliza-speaker and at its pods on these nodes; " +
			"kubectl baliza explain node has the reasons.",
		Versions: "Let the update end, or look why it does not: kubectl rollout status of the Deployment and the DaemonSet. " +
			"Use the plugin of the same version.",
		MembershipKey: "Let the rotation of the key end; if none is under way, " +
			"restart the DaemonSet baliza-speaker, so that each speaker reads the Secret again.",
		MembersHeard:  "Open port 7946 (unless it was changed), TCP and UDP, in both directions between these nodes.",
		BGPSessions:   "Correct what keeps the sessions down: kubectl baliza peers has the last error of each.",
		Configuration: "Correct the objects that are named; the rest of the configuration stays in use meanwhile.",
		PoolOverlap: "Take the addresses that are named out of the pool, or list them under spec.excluded; " +
			"they are not given meanwhile.",
		DHCP:       "Take the addresses of pools out of what the DHCP server of that network gives.",
		Quarantine: "Find the hosts that have these addresses, or exclude the addresses from the pool.",
		Services:   "Ask about one of them: kubectl baliza explain service says why it waits.",
		OneOwner:   "Ask about one of them: kubectl baliza explain address says who answers for it.",
		OneAnswer:  "Ask about one of them: kubectl baliza explain address --probe says which MACs answer.",
	}
}
