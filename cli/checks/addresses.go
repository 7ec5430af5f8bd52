package checks

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
)

// configuration looks at what the controller says of each object.
func (in *Input) configuration() Result {
	if r, unread := in.unread("ipaddresspools", "l2advertisements", "bgpadvertisements", "bgppeers", "bfdprofiles", "communities"); unread {
		return r
	}
	status := in.Cluster.Status()
	var wrong []Finding
	state := Warning
	for _, p := range status.Problems {
		if p.Reason == v1beta1.ReasonUsedByCluster {
			continue // of which there is another check
		}
		if cure, _ := cures.For(p.Reason); !cure.Well {
			state = Failed
		}
		wrong = append(wrong, Finding{Object: p.Kind + "/" + p.Name, Reason: p.Reason, Message: p.Message})
	}
	switch n := len(in.Objects.Pools); {
	case len(wrong) > 0:
		return Result{State: state, Message: count(len(wrong), "object") + " not used as it stands", Findings: wrong}
	case n == 0:
		return Result{
			State: Warning, Message: "there is no IPAddressPool",
			Findings: []Finding{{Reason: v1beta1.ReasonNoPool, Message: "no Service can be given an address"}},
		}
	default:
		return passed("%s, each object is used as it stands", count(n, "pool"))
	}
}

// poolOverlap looks for addresses of pools that the cluster itself has.
func (in *Input) poolOverlap() Result {
	if r, unread := in.unread("nodes", "servicecidrs"); unread {
		return r
	}
	if why := in.Cluster.CannotRead("ipaddresspools"); why != "" || len(in.Objects.Pools) == 0 {
		return notChecked("there is no IPAddressPool yet")
	}
	var wrong []Finding
	for _, p := range in.Cluster.Problems() {
		if p.Reason == v1beta1.ReasonUsedByCluster {
			wrong = append(wrong, Finding{Object: p.Kind + "/" + p.Name, Reason: p.Reason, Message: p.Message})
		}
	}
	return found(wrong, Warning, count(len(wrong), "pool")+" with addresses of the cluster itself",
		fmt.Sprintf("%s without addresses of nodes, pods, cluster IPs and the API server", count(len(in.Objects.Pools), "pool")))
}

func (in *Input) quarantine() Result {
	if r, unread := in.unread("ipaddresspools"); unread {
		return r
	}
	var wrong []Finding
	for _, p := range in.Objects.Pools {
		var texts []string
		for i := range p.Status.Quarantined {
			texts = append(texts, p.Status.Quarantined[i].Address)
		}
		if len(texts) > 0 {
			wrong = append(wrong, Finding{
				Object: "IPAddressPool/" + p.Name, Reason: v1beta1.ReasonAddressConflict, Message: strings.Join(few(texts), ", "),
			})
		}
	}
	return found(wrong, Warning, "addresses are set aside, for another host has them", "no address is set aside")
}

func (in *Input) services() Result {
	if r, unread := in.unread("services"); unread {
		return r
	}
	s := in.Cluster.Status().Services
	var wrong []Finding
	for _, t := range s.Troubles {
		wrong = append(wrong, Finding{
			Object: "Service/" + t.Services[0], Reason: t.Reason, Message: t.Message + andMore(len(t.Services)-1),
		})
	}
	return found(wrong, Failed, fmt.Sprintf("of %s %d pending and %d unannounced", count(s.Total, "Service"), s.Pending, s.Unannounced),
		fmt.Sprintf("%s of type LoadBalancer, %d announced", count(s.Total, "Service"), s.Announced))
}

func andMore(n int) string {
	if n < 1 {
		return ""
	}
	return " (and " + count(n, "other") + ")"
}

// oneOwner compares what speakers say.
func (in *Input) oneOwner() Result {
	if r, unread := in.unread("speakers", "services"); unread {
		return r
	}
	status := in.Cluster.Status()
	var wrong []Finding
	for _, m := range status.MultipleOwners {
		wrong = append(wrong, Finding{
			Object: m.Address, Reason: v1beta1.ReasonMultipleOwners, Message: "answered for by " + strings.Join(m.Nodes, ", "),
		})
	}
	for i := range status.Conflicts {
		c := &status.Conflicts[i]
		wrong = append(wrong, Finding{
			Object: c.Address, Reason: v1beta1.ReasonAddressConflict, Message: fmt.Sprintf("%s has it, as %s sees on %s", c.MAC, c.Node, c.Interface),
		})
	}
	held := 0
	for _, a := range in.Cluster.Addresses() {
		if len(a.L2) > 0 {
			held++
		}
	}
	return found(wrong, Failed, count(len(wrong), "address")+" answered for by another, too",
		fmt.Sprintf("%s of layer 2, each reported by one speaker, or shared by intent", count(held, "address")))
}

// oneAnswer is about what the network says itself.
func (in *Input) oneAnswer() Result {
	if !in.Probe {
		return notChecked("the network is asked with --probe")
	}
	var wrong []Finding
	var silent []string
	well := 0
	for _, text := range in.Probed {
		a, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		switch v := in.Cluster.OnWire(a); {
		case v.Unknown:
			silent = append(silent, text+": "+v.Message)
		case v.Well:
			well++
		default:
			wrong = append(wrong, Finding{Object: text, Reason: v.Reason, Message: v.Message, Cure: v.Cure})
		}
	}
	total := 0
	for _, a := range in.Cluster.Addresses() {
		if len(a.L2) > 0 {
			total++
		}
	}
	text := fmt.Sprintf("%d of %s as speakers say", well, count(total, "address"))
	if len(silent) > 0 {
		text += "; of " + count(len(silent), "address") + " nothing was found out: " + silent[0]
	}
	switch {
	case total == 0:
		return passed("no address is announced on layer 2")
	case len(wrong) > 0:
		return Result{State: Failed, Message: text, Findings: wrong}
	case well == 0 && total > 0:
		return notChecked("%s", text)
	case well < total:
		return warning("%s", text)
	}
	return passed("%s", text)
}
