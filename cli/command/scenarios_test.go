package command_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/command"
	"github.com/baliza-lb/baliza/cli/cures"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	explainWeb = "explain service web -n shop"
	explainNew = "explain service new -n shop"
)

// scenario is a set-up and what is asked about it.
type scenario struct {
	set    func(*world)
	ask    string
	status int
	// reason is the one whose cure the output must end with.
	reason v1beta1.Reason
	// says is more that must be in it.
	says string
}

// K01, K02: of each set-up the output says the cause and the cure. The whole output is
// in testdata, by the name of the scenario.
func TestTheCauseAndTheCure(t *testing.T) {
	all := scenarios()
	maps.Copy(all, bgpScenarios())
	maps.Copy(all, askScenarios())
	for name, s := range all {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if s.set != nil {
				s.set(w)
			}
			got := w.expect(t, name, s.ask, s.status)
			if cure, known := cures.For(s.reason); s.reason != "" && (!known || !strings.Contains(got, cure.Text) || !strings.Contains(got, string(s.reason))) {
				t.Errorf("the output has not the reason %s and its cure %q", s.reason, cure.Text)
			}
			if !strings.Contains(got, s.says) {
				t.Errorf("the output does not say %q", s.says)
			}
		})
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("got\n%s\nwant, of %s (-update writes it)\n%s", got, file, want)
	}
}

func scenarios() map[string]scenario {
	return map[string]scenario{
		"status-all-is-well":    {ask: "status", says: "all is well"},
		"service-all-is-well":   {ask: explainWeb, says: "announced by n1"},
		"address-all-is-well":   {ask: "explain address 192.0.2.10", says: "is announced by n1"},
		"node-all-is-well":      {ask: "explain node n1", says: "every address of this node is answered for"},
		"pools":                 {ask: "pools", says: "L2Advertisement/lan"},
		"speakers":              {ask: "speakers"},
		"addresses":             {ask: "addresses"},
		"version":               {ask: "version"},
		"address-free":          {ask: "explain address 192.0.2.11", says: "pool lan may give it"},
		"address-of-no-pool":    {ask: "explain address 203.0.113.9", status: command.StatusWrong, reason: v1beta1.ReasonAddressOutsidePools},
		"service-is-not-there":  {ask: "explain service nothing -n shop", status: command.StatusUnknown},
		"node-is-not-there":     {ask: "explain node n9", status: command.StatusUnknown},
		"command-is-not-there":  {ask: "explain", status: command.StatusUnknown},
		"format-is-not-there":   {ask: "status -o xml", status: command.StatusUnknown},
		"address-is-none":       {ask: "explain address web", status: command.StatusUnknown},
		"not-installed":         {ask: "status", set: func(w *world) { *w = world{forbidden: map[string]bool{}} }, status: command.StatusWrong, says: "is Baliza installed?"},
		"no-pool":               {ask: explainNew, set: noPool, status: command.StatusWrong, reason: v1beta1.ReasonNoPool},
		"exhausted":             {ask: explainNew, set: exhausted, status: command.StatusWrong, reason: v1beta1.ReasonPoolExhausted},
		"status-exhausted":      {ask: "status", set: exhausted, status: command.StatusWrong, reason: v1beta1.ReasonPoolExhausted, says: "kubectl baliza " + explainNew},
		"wrong-namespace":       {ask: explainNew, set: wrongNamespace, status: command.StatusWrong, reason: v1beta1.ReasonPoolNotAllowed},
		"wrong-class":           {ask: explainNew, set: wrongClass, status: command.StatusWrong, says: "its loadBalancerClass is example.org/other"},
		"another-provider":      {ask: explainNew, set: anotherProvider, status: command.StatusWrong, reason: v1beta1.ReasonWriteConflict},
		"named-address-taken":   {ask: explainNew, set: namedAddressTaken, status: command.StatusWrong, reason: v1beta1.ReasonAddressInUse},
		"address-of-a-node":     {ask: explainNew, set: addressOfANode, status: command.StatusWrong, reason: v1beta1.ReasonUsedByCluster},
		"asks-about-node":       {ask: "explain address 192.0.2.2", set: addressOfANode, status: command.StatusWrong, reason: v1beta1.ReasonUsedByCluster},
		"no-advertisement":      {ask: explainWeb, set: noAdvertisement, status: command.StatusWrong, reason: v1beta1.ReasonNoAdvertisement},
		"selects-nothing":       {ask: "status", set: selectsNothing, status: command.StatusWrong, reason: v1beta1.ReasonNoMatch},
		"all-nodes-excluded":    {ask: explainWeb, set: allExcluded, status: command.StatusWrong, reason: v1beta1.ReasonNodeExcluded},
		"node-not-selected":     {ask: explainWeb, set: notSelected, status: command.StatusWrong, reason: v1beta1.ReasonNodeNotSelected},
		"node-cordoned":         {ask: "explain node n1", set: func(w *world) { w.nodes[0].Spec.Unschedulable = true }, says: "which keeps no address away"},
		"no-endpoint":           {ask: explainWeb, set: noEndpoint, status: command.StatusWrong, reason: v1beta1.ReasonNoEndpoint},
		"local-no-endpoint":     {ask: explainWeb, set: localWithoutEndpoints, status: command.StatusWrong, reason: v1beta1.ReasonNoLocalEndpoint},
		"interface-missing":     {ask: explainWeb, set: interfaceMissing, status: command.StatusWrong, reason: v1beta1.ReasonInterfaceUnavailable},
		"conflict":              {ask: explainWeb, set: conflict, status: command.StatusWrong, reason: v1beta1.ReasonAddressConflict, says: "00:00:5e:00:53:99"},
		"conflict-address":      {ask: "explain address 192.0.2.10", set: conflict, status: command.StatusWrong, reason: v1beta1.ReasonAddressConflict},
		"several-owners":        {ask: "explain address 192.0.2.10", set: severalOwners, status: command.StatusWrong, reason: v1beta1.ReasonMultipleOwners},
		"partitioned":           {ask: "explain node n1", set: partitioned, status: command.StatusWrong, reason: v1beta1.ReasonPartitioned},
		"speaker-missing":       {ask: "explain node n3", set: func(w *world) { w.speakers = w.speakers[:2] }, status: command.StatusWrong, says: "no speaker runs on this node"},
		"speaker-not-meant":     {ask: "explain node n3", set: speakerNotMeant, says: "does not tolerate the taint example.org/storage"},
		"status-not-meant":      {ask: "status", set: speakerNotMeant, says: "all is well"},
		"speaker-dead":          {ask: "status", set: speakerDead, status: command.StatusWrong, says: "cannot reach it"},
		"controller-stale":      {ask: explainNew, set: controllerStale, status: command.StatusWrong, says: "has not renewed its Lease for 10m"},
		"controller-not-ready":  {ask: "status", set: func(w *world) { w.controller.Status.ReadyReplicas = 0 }, status: command.StatusWrong, says: "describe deployment baliza-controller"},
		"condition-out-of-date": {ask: explainWeb, set: func(w *world) { w.nobodyHolds("", "") }, status: command.StatusWrong, says: "out of date"},
		"version-skew":          {ask: "version", set: func(w *world) { w.speakers[1].Status.Version = "v0.3.0" }, status: command.StatusWrong, says: "different versions"},
		"reader-of-a-namespace": {ask: "status -n shop", set: tenant, says: "you may not list leases"},
		"reader-of-nothing":     {ask: "status", set: outsider, status: command.StatusUnknown, says: "you may not list services"},
		"reader-of-no-service":  {ask: explainWeb, set: outsider, status: command.StatusUnknown, says: "you may not list services"},
		"reader-of-no-pool": {
			ask: "pools", set: func(w *world) { w.forbidden["ipaddresspools"] = true }, status: command.StatusUnknown, says: "you may not list ipaddresspools",
		},
		"no-eligible-node":        {ask: explainWeb, set: noEligibleNode, status: command.StatusWrong, reason: v1beta1.ReasonNoEligibleNode, says: "no L2Advertisement of the address selects this node"},
		"nic-without-carrier":     {ask: explainWeb, set: noCarrier, status: command.StatusWrong, reason: v1beta1.ReasonInterfaceUnavailable, says: "interface eth1 is down or has no carrier"},
		"ipvs-without-strict-arp": {ask: explainWeb, set: strictARP, status: command.StatusWrong, reason: v1beta1.ReasonAddressConflict, says: "set strictARP"},
		"blocked-one-way":         {ask: "explain node n1", set: blockedOneWay, status: command.StatusWrong, reason: v1beta1.ReasonPartitioned, says: "is not heard by n2"},
		"selects-no-pool":         {ask: explainWeb, set: selectsNoPool, status: command.StatusWrong, reason: v1beta1.ReasonNoAdvertisement, says: "L2Advertisement dmz: spec: no IPAddressPool is selected"},
		"speaker-evicted":         {ask: "explain node n3", set: speakerEvicted, says: "does not tolerate the taint example.org/storage"},
		"speaker-stopped":         {ask: "explain node n3", set: speakerStopped, status: command.StatusWrong, reason: v1beta1.ReasonStopped},
		"pool-has-gateway":        {ask: "status", set: poolHasGateway, says: "but for what does no harm: IPAddressPool lan"},
		"moved-just-now":          {ask: explainWeb, set: movedJustNow, says: "192.0.2.10: announced by n2"},
		"api-server-away":         {ask: "status", set: func(w *world) { w.unreachable = true }, status: command.StatusUnknown, says: "connection refused"},
	}
}

func noPool(w *world) {
	w.pools, w.services = nil, nil
	w.pending(v1beta1.ReasonNoPool, "there is no IPAddressPool")
}

func exhausted(w *world) {
	for i, address := range []string{"192.0.2.11"} {
		other := service(fmt.Sprintf("other-%d", i))
		give(other, address)
		says(other, v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced, "announced by n2")
		w.services = append(w.services, other)
		w.hold(w.speakers[1], address, "shop/"+other.Name)
	}
	w.pools[0].Status.AssignedIPv4, w.pools[0].Status.AvailableIPv4 = 2, "0"
	w.pending(v1beta1.ReasonPoolExhausted, "pool lan: every IPv4 address is taken")
}

func wrongNamespace(w *world) {
	w.pools[0].Spec.AllocateTo = &v1beta1.ServiceAllocation{Namespaces: []string{"intranet"}}
	w.pending(v1beta1.ReasonPoolNotAllowed, "pool lan: its serviceAllocation does not admit this Service")
}

func wrongClass(w *world) {
	svc, class := service("new"), "example.org/other"
	svc.Spec.LoadBalancerClass = &class
	w.services = append(w.services, svc)
}

func anotherProvider(w *world) {
	w.pending(v1beta1.ReasonWriteConflict, "metallb-controller writes this Service's load-balancer status (192.0.2.200): it is left alone until that is empty",
		func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.200"}}
		})
}

func namedAddressTaken(w *world) {
	w.pending(v1beta1.ReasonAddressInUse, "192.0.2.10 is held by shop/web",
		func(svc *corev1.Service) {
			svc.Annotations = map[string]string{v1beta1.AnnotationAddresses: "192.0.2.10"}
		})
}

func addressOfANode(w *world) {
	w.pools[0].Spec.Addresses = []v1beta1.AddressRange{"192.0.2.0/28"}
	w.pending(v1beta1.ReasonUsedByCluster, "192.0.2.2 is of node n2",
		func(svc *corev1.Service) {
			svc.Annotations = map[string]string{v1beta1.AnnotationAddresses: "192.0.2.2"}
		})
}

func noAdvertisement(w *world) {
	w.l2 = nil
	w.nobodyHolds(v1beta1.ReasonNoAdvertisement, "no L2Advertisement selects the address's pool and the Service")
	w.unannounced(v1beta1.ReasonNoAdvertisement, "no node announces 192.0.2.10")
}

func selectsNothing(w *world) {
	other := &v1beta1.L2Advertisement{ObjectMeta: named("", "dmz")}
	other.Spec.IPAddressPoolSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"zone": "dmz"}}}
	other.Status.Conditions = ready(v1beta1.ReasonNoMatch, "spec: no IPAddressPool is selected")
	w.l2 = append(w.l2, other)
}

func allExcluded(w *world) {
	for _, node := range w.nodes {
		node.Labels = map[string]string{v1beta1.LabelExcludeNode: ""}
	}
	w.nobodyHolds(v1beta1.ReasonNodeExcluded, "the node has the label "+v1beta1.LabelExcludeNode)
	w.unannounced(v1beta1.ReasonNodeExcluded, "no node announces 192.0.2.10; nodes that could are excluded, by the label "+v1beta1.LabelExcludeNode+" or by a taint")
}

func notSelected(w *world) {
	w.l2[0].Spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"uplink": "true"}}}
	w.nobodyHolds(v1beta1.ReasonNodeNotSelected, "no L2Advertisement of the address selects this node")
	w.unannounced(v1beta1.ReasonNodeNotSelected, "no node announces 192.0.2.10")
}

func noEndpoint(w *world) {
	w.endpoints = nil
	w.nobodyHolds(v1beta1.ReasonNoEndpoint, "the Service has no usable endpoint of the address's family")
	w.unannounced(v1beta1.ReasonNoEndpoint, "no node announces 192.0.2.10")
}

// localWithoutEndpoints: the only pod is on a node without a speaker.
func localWithoutEndpoints(w *world) {
	w.services[0].Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	w.endpoints = append(w.endpoints[:0], slice("web", "n3"))
	w.speakers = w.speakers[:2]
	w.nobodyHolds(v1beta1.ReasonNoLocalEndpoint, "externalTrafficPolicy is Local and this node has no usable endpoint")
	w.unannounced(v1beta1.ReasonNoLocalEndpoint, "no node announces 192.0.2.10")
}

func interfaceMissing(w *world) {
	w.l2[0].Spec.Interfaces = []string{"eth7"}
	w.nobodyHolds(v1beta1.ReasonInterfaceUnavailable, "interface eth7 does not exist here")
	w.unannounced(v1beta1.ReasonInterfaceUnavailable, "no node announces 192.0.2.10")
}

// noEligibleNode: the one node that is selected is excluded, and no Speaker says so.
func noEligibleNode(w *world) {
	w.l2[0].Spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"uplink": "true"}}}
	w.nodes[0].Labels = map[string]string{"uplink": "true", v1beta1.LabelExcludeNode: ""}
	w.nobodyHolds("", "")
	w.unannounced(v1beta1.ReasonNoEligibleNode, "no node announces 192.0.2.10")
}

func noCarrier(w *world) {
	w.l2[0].Spec.Interfaces = []string{"eth1"}
	w.nobodyHolds(v1beta1.ReasonInterfaceUnavailable, "interface eth1 is down or has no carrier")
	w.unannounced(v1beta1.ReasonInterfaceUnavailable, "no node announces 192.0.2.10: interface eth1 is down or has no carrier")
}

// strictARP: the kernel of n2 answers for what kube-proxy put on kube-ipvs0.
func strictARP(w *world) {
	const message = "node n2 itself answers for the address on eth0 (00:00:5e:00:53:02): it is an address of the node, or of kube-vip " +
		"or keepalived on it, or kube-proxy in IPVS mode has it without strictARP"
	w.nobodyHolds(v1beta1.ReasonAddressConflict, message)
	w.unannounced(v1beta1.ReasonAddressConflict, "no node announces 192.0.2.10: "+message)
}

// selectsNoPool: the one advertisement selects pools that there are not.
func selectsNoPool(w *world) {
	noAdvertisement(w)
	selectsNothing(w)
}

// blockedOneWay: what n1 sends does not come to n2.
func blockedOneWay(w *world) {
	w.speakers[0].Status.Conditions = ready(v1beta1.ReasonPartitioned,
		"this speaker is not heard by n2, which it hears: open port 7946, UDP and TCP, for what this node sends to theirs")
	w.speakers[1].Status.Conditions = ready(v1beta1.ReasonPartitioned,
		"this speaker does not hear n1, though they are alive: open port 7946, UDP and TCP, for what their nodes send to this one")
	w.speakers[1].Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n1", Since: ago(time.Minute)}}
	w.speakers[0].Status.ConfirmedAlive = []v1beta1.UnreachableSpeaker{{Name: "n2", Since: ago(time.Minute)}}
}

func speakerStopped(w *world) {
	w.speakers[2].Status.Conditions = ready(v1beta1.ReasonStopped, "the speaker has ended as planned")
}

// speakerEvicted: the taint came after the speaker, whose last word is still there.
func speakerEvicted(w *world) {
	all := w.speakers
	speakerNotMeant(w)
	w.speakers = all
	speakerStopped(w)
}

func conflict(w *world) {
	w.nobodyHolds("", "")
	w.speakers[0].Status.Withheld = []v1beta1.WithheldAddresses{{
		Reason: v1beta1.ReasonAddressConflict, Message: "00:00:5e:00:53:99 answers for it on eth0", Count: 1, Addresses: []string{"192.0.2.10"},
	}}
	w.speakers[0].Status.Conflicts = []v1beta1.AddressConflict{{
		Address: "192.0.2.10", MAC: "00:00:5e:00:53:99", Interface: "eth0", Found: v1beta1.FoundInUse, Since: ago(5 * time.Minute),
	}}
	w.unannounced(v1beta1.ReasonAddressConflict, "no node announces 192.0.2.10: 00:00:5e:00:53:99 answers for it on eth0")
}

func severalOwners(w *world) {
	w.hold(w.speakers[1], "192.0.2.10", "shop/web")
	w.unannounced(v1beta1.ReasonMultipleOwners, "192.0.2.10 is answered for by n1, n2 at once: these nodes do not hear each other; open port 7946, TCP and UDP, between them")
}

func poolHasGateway(w *world) {
	w.pools[0].Status.Conditions = ready(v1beta1.ReasonUsedByCluster, "spec.addresses: 192.0.2.2 is of node n2; these addresses are not given to Services")
}

// movedJustNow: the speakers say so, and the condition not yet.
func movedJustNow(w *world) {
	w.nobodyHolds("", "")
	w.hold(w.speakers[1], "192.0.2.10", "shop/web")
}

func partitioned(w *world) {
	w.speakers[0].Status.Conditions = ready(v1beta1.ReasonPartitioned, "n2 is alive and is not heard here: open port 7946, TCP and UDP, from n2 to n1")
	w.speakers[0].Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n2", Since: ago(time.Minute)}}
	w.speakers[1].Status.ConfirmedAlive = []v1beta1.UnreachableSpeaker{{Name: "n1", Since: ago(time.Minute)}}
}

func speakerNotMeant(w *world) {
	w.speakers = w.speakers[:2]
	w.nodes[2].Spec.Taints = []corev1.Taint{
		{Key: "node.kubernetes.io/unschedulable", Effect: corev1.TaintEffectNoSchedule}, {Key: "example.org/storage", Effect: corev1.TaintEffectNoSchedule},
	}
	w.daemonSet = &appsv1.DaemonSet{ObjectMeta: named("baliza-system", "baliza-speaker")}
	w.daemonSet.Labels = map[string]string{"app.kubernetes.io/name": "baliza"}
	w.daemonSet.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists}}
}

func speakerDead(w *world) {
	for _, s := range w.speakers[:2] {
		s.Status.MembersAlive = 2
		s.Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n3", Since: ago(time.Minute)}}
	}
}

func controllerStale(w *world) {
	renewed := metav1.NewMicroTime(now().Add(-10 * time.Minute))
	w.lease.Spec.RenewTime = &renewed
	w.services = append(w.services, service("new"))
}

func tenant(w *world) {
	for _, kind := range []string{"leases", "nodes", "namespaces", "servicecidrs"} {
		w.forbidden[kind] = true
	}
}

func outsider(w *world) {
	tenant(w)
	for _, kind := range []string{"services", "deployments", "daemonsets", "endpointslices"} {
		w.forbidden[kind] = true
	}
}
