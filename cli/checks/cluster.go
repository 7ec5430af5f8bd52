package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Oldest is the oldest version of Kubernetes that Baliza runs on, as in Chart.yaml.
const Oldest = "1.32.0"

func (in *Input) kubernetesVersion() Result {
	if r, unread := in.unread("version"); unread {
		return r
	}
	got, err := version.ParseGeneric(in.Version)
	switch {
	case err != nil:
		return notChecked("the API server says %q of its version", in.Version)
	case got.LessThan(version.MustParseGeneric(Oldest)):
		return failed("%s, and Baliza needs %s", in.Version, Oldest)
	}
	return passed("%s, and Baliza needs %s", in.Version, Oldest)
}

// kubeProxy looks at the ConfigMap, as kubeadm makes it, and at the command line.
func (in *Input) kubeProxy() Result {
	if r, unread := in.unread("configmaps", "daemonsets"); unread {
		return r
	}
	var configured struct {
		Mode string `json:"mode"`
		IPVS struct {
			StrictARP bool `json:"strictARP"`
		} `json:"ipvs"`
	}
	known := false
	if in.KubeProxy != nil {
		text, has := in.KubeProxy.Data["config.conf"]
		if err := yaml.Unmarshal([]byte(text), &configured); err != nil {
			return notChecked("config.conf of ConfigMap kube-system/kube-proxy cannot be read: %v", err)
		}
		known = has
	}
	for _, set := range in.DaemonSets {
		if set.Name != "kube-proxy" {
			continue
		}
		for i := range set.Spec.Template.Spec.Containers {
			c := &set.Spec.Template.Spec.Containers[i]
			for _, arg := range append(slices.Clone(c.Command), c.Args...) {
				name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
				switch name {
				case "proxy-mode":
					configured.Mode, known = value, true
				case "ipvs-strict-arp":
					configured.IPVS.StrictARP = value != "false"
				}
			}
		}
	}
	switch {
	case !known:
		return notChecked("neither a ConfigMap kube-system/kube-proxy nor a DaemonSet of that name says in which mode it runs: " +
			"k3s and RKE2 start it on their own, others have none")
	case configured.Mode != "ipvs":
		mode := configured.Mode
		if mode == "" {
			mode = "iptables, its default on Linux"
		}
		return passed("mode %s", mode)
	case !configured.IPVS.StrictARP:
		return failed("mode ipvs without strictARP")
	}
	return passed("mode ipvs with strictARP")
}

// eligibleNodes looks whether any node may own addresses.
func (in *Input) eligibleNodes() Result {
	if r, unread := in.unread("nodes"); unread {
		return r
	}
	eligible, why := 0, ""
	all := in.Cluster.Speakers()
	linux := 0
	for i := range all {
		node := in.node(all[i].Node)
		if node == nil || node.Status.NodeInfo.OperatingSystem == "windows" {
			continue
		}
		linux++
		if all[i].Excluded == "" {
			eligible++
		} else if why == "" {
			why = node.Name + ": " + all[i].Excluded
		}
	}
	switch {
	case linux == 0:
		return failed("there is no Linux node")
	case eligible == 0:
		return Result{
			State: Failed, Message: fmt.Sprintf("none of %s may own addresses", count(linux, "node")),
			Findings: []Finding{{Reason: v1beta1.ReasonNodeExcluded, Message: why}},
		}
	case eligible < linux:
		return passed("%d of %s, the others are excluded: %s", eligible, count(linux, "node"), why)
	}
	return passed("%d of %s", eligible, count(linux, "node"))
}

func (in *Input) node(name string) *corev1.Node {
	i := slices.IndexFunc(in.Objects.Nodes, func(n *corev1.Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return in.Objects.Nodes[i]
}

// mostSkew is by how much a node's clock may be wrong. The API server notes whole
// seconds, and a request takes its time.
const mostSkew = 5 * time.Second

// clocks compares what each kubelet writes into its Lease with when the API server got
// it.
func (in *Input) clocks() Result {
	if r, unread := in.unread("leases"); unread {
		return r
	}
	if len(in.NodeLeases) == 0 {
		return notChecked("there is no Lease of a node in the namespace %s", corev1.NamespaceNodeLease)
	}
	var wrong []Finding
	compared := 0
	for _, lease := range in.NodeLeases {
		skew, known := skewOf(lease)
		if !known {
			continue
		}
		compared++
		if skew.Abs() <= mostSkew {
			continue
		}
		how := "behind"
		if skew > 0 {
			how = "ahead of"
		}
		wrong = append(wrong, Finding{
			Object: "Node/" + lease.Name, Message: fmt.Sprintf("its clock is %s %s that of the API server", skew.Abs().Round(time.Second), how),
		})
	}
	if compared == 0 {
		return notChecked("no Lease of a node says when the API server got it")
	}
	return found(wrong, Warning, fmt.Sprintf("of %s %d differ by more than %s from the API server's", count(compared, "clock"), len(wrong), mostSkew),
		fmt.Sprintf("%s within %s of the API server's", count(compared, "clock"), mostSkew))
}

// skewOf is by how much the clock of whoever renewed a Lease is ahead of the API
// server's.
func skewOf(lease *coordinationv1.Lease) (time.Duration, bool) {
	var written time.Time
	for i := range lease.ManagedFields {
		entry := &lease.ManagedFields[i]
		if entry.Time != nil && entry.Subresource == "" && entry.Time.After(written) {
			written = entry.Time.Time
		}
	}
	if written.IsZero() || lease.Spec.RenewTime == nil {
		return 0, false
	}
	return lease.Spec.RenewTime.Sub(written), true
}

func (in *Input) memberPort() Result {
	return notChecked("from here nobody can see whether nodes reach each other at port 7946, TCP and UDP")
}

func (in *Input) interfaces() Result {
	return notChecked("which interfaces nodes have is seen by their speakers alone")
}

func (in *Input) dhcp() Result {
	return notChecked("what DHCP servers give is not seen from here: let it have no address of a pool")
}
