package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
	"github.com/baliza-lb/baliza/config"
)

// Status is the whole on one screen.
type Status struct {
	Controller Controller `json:"controller"`
	Speakers   []Speaker  `json:"speakers"`
	Pools      []Pool     `json:"pools"`
	Services   Services   `json:"services"`
	Conflicts  []Conflict `json:"conflicts,omitempty"`
	// MultipleOwners are the addresses that several nodes answer for on layer 2,
	// each of which should be the only one.
	MultipleOwners []MultipleOwners `json:"multipleOwners,omitempty"`
	Problems       []Problem        `json:"problems,omitempty"`
	Unread         []Unread         `json:"unread,omitempty"`
	Overall        Verdict          `json:"overall"`
}

// Services are how many there are in each state, and those in trouble by reason.
type Services struct {
	// Namespace that was looked at; empty is all.
	Namespace   string    `json:"namespace,omitempty"`
	Total       int       `json:"total"`
	Announced   int       `json:"announced"`
	Recent      int       `json:"recent"`
	Pending     int       `json:"pending"`
	Unannounced int       `json:"unannounced"`
	NotServed   int       `json:"notServed"`
	Troubles    []Trouble `json:"troubles,omitempty"`
}

// Trouble is why some Services are pending or unannounced.
type Trouble struct {
	State  State          `json:"state"`
	Reason v1beta1.Reason `json:"reason,omitempty"`
	// Message of the first of them.
	Message  string   `json:"message"`
	Services []string `json:"services"`
	Cure     string   `json:"cure,omitempty"`
}

// MultipleOwners is an address and who answers for it.
type MultipleOwners struct {
	Address string   `json:"address"`
	Nodes   []string `json:"nodes"`
}

// Verdict is whether all is well, and if not, what to do.
type Verdict struct {
	Well bool `json:"well"`
	// Unknown says that it could not be found out.
	Unknown bool           `json:"unknown,omitempty"`
	Reason  v1beta1.Reason `json:"reason,omitempty"`
	Message string         `json:"message"`
	Cure    string         `json:"cure,omitempty"`
	// See is where the documentation says more of the reason, if there is a cure.
	See string `json:"see,omitempty"`
	// Next is the command to type.
	Next string `json:"next,omitempty"`
}

// referring says where more is said of the reason, unless the verdict does.
func (v Verdict) referring() Verdict {
	if v.See == "" && v.Cure != "" && v.Reason != "" {
		v.See = cures.See(string(v.Reason))
	}
	return v
}

// Pool is a pool and how full it is.
type Pool struct {
	Name       string   `json:"name"`
	Addresses  []string `json:"addresses"`
	AutoAssign bool     `json:"autoAssign"`
	// Assigned and Available are numbers of addresses; the latter may exceed 64 bits.
	AssignedIPv4  int64  `json:"assignedIPv4"`
	AssignedIPv6  int64  `json:"assignedIPv6"`
	AvailableIPv4 string `json:"availableIPv4"`
	AvailableIPv6 string `json:"availableIPv6"`
	Quarantined   int    `json:"quarantined"`
	// AdvertisedBy are the advertisements that select the pool.
	AdvertisedBy []string       `json:"advertisedBy,omitempty"`
	Ready        bool           `json:"ready"`
	Reason       v1beta1.Reason `json:"reason,omitempty"`
	Message      string         `json:"message,omitempty"`
}

// Pools are all, by name.
func (c *Cluster) Pools() []Pool {
	all := make([]Pool, 0, len(c.objects.Pools))
	for _, o := range c.objects.Pools {
		p := Pool{
			Name: o.Name, AutoAssign: o.Spec.AutoAssign == nil || *o.Spec.AutoAssign,
			AssignedIPv4: o.Status.AssignedIPv4, AssignedIPv6: o.Status.AssignedIPv6,
			AvailableIPv4: cmp.Or(o.Status.AvailableIPv4, "0"), AvailableIPv6: cmp.Or(o.Status.AvailableIPv6, "0"),
			Quarantined: len(o.Status.Quarantined), AdvertisedBy: c.advertisers(o.Name, labels.Merge(o.Labels, nil), whicheverServices),
		}
		for _, r := range o.Spec.Addresses {
			p.Addresses = append(p.Addresses, string(r))
		}
		if ready := meta.FindStatusCondition(o.Status.Conditions, v1beta1.ConditionReady); ready != nil {
			p.Ready, p.Reason, p.Message = ready.Status == "True", v1beta1.Reason(ready.Reason), ready.Message
		}
		all = append(all, p)
	}
	return all
}

// advertisers are the advertisements that select a pool and whose selection of Services
// suits, as kind/name. Labels that are nil are of a pool that there is not.
func (c *Cluster) advertisers(pool string, poolLabels map[string]string, suits func(selects func(labels.Set) bool) bool) []string {
	var found []string
	for _, one := range c.snapshot.L2Advertisements {
		if one.SelectsPool(pool, poolLabels) && suits(one.SelectsService) {
			found = append(found, config.KindL2Advertisement+"/"+one.Name)
		}
	}
	for _, one := range c.snapshot.BGPAdvertisements {
		if one.SelectsPool(pool, poolLabels) && suits(one.SelectsService) {
			found = append(found, config.KindBGPAdvertisement+"/"+one.Name)
		}
	}
	return found
}

// whicheverServices suits whatever Services an advertisement selects.
func whicheverServices(func(labels.Set) bool) bool { return true }

// Status says how all of it is.
func (c *Cluster) Status() Status {
	s := Status{
		Controller: c.controller(), Speakers: c.Speakers(), Pools: c.Pools(), Services: c.countServices(), Conflicts: c.Conflicts(),
		MultipleOwners: c.multipleOwners(), Problems: c.problemsOf(), Unread: c.objects.Unread,
	}
	s.Overall = c.overall(&s).referring()
	return s
}

func (c *Cluster) countServices() Services {
	out := Services{Namespace: c.objects.Namespace, Total: len(c.objects.Services)}
	places := map[Situation]int{}
	for _, svc := range c.objects.Services {
		at := c.situation(svc)
		switch at.State {
		case Announced:
			out.Announced++
			continue
		case Recent:
			out.Recent++
			continue
		case NotServed:
			out.NotServed++
			continue
		case Pending:
			out.Pending++
		case Unannounced:
			out.Unannounced++
		}
		key := Situation{State: at.State, Reason: at.Reason}
		place, known := places[key]
		if !known {
			place = len(out.Troubles)
			places[key] = place
			out.Troubles = append(out.Troubles, Trouble{State: at.State, Reason: at.Reason, Message: at.Message, Cure: cureFor(at.Reason)})
		}
		out.Troubles[place].Services = append(out.Troubles[place].Services, config.ServiceKey(svc))
	}
	slices.SortStableFunc(out.Troubles, func(a, b Trouble) int { return cmp.Compare(len(b.Services), len(a.Services)) })
	return out
}

// multipleOwners are addresses for which several living speakers answer on layer 2.
func (c *Cluster) multipleOwners() []MultipleOwners {
	var addresses []netip.Addr
	for a := range c.announcers {
		if len(c.owners(a)) > 1 {
			addresses = append(addresses, a)
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	var found []MultipleOwners
	for _, a := range addresses {
		found = append(found, MultipleOwners{a.String(), c.owners(a)})
	}
	return found
}

// owners are the nodes that answer for an address on layer 2, each as the only one.
func (c *Cluster) owners(a netip.Addr) []string {
	var nodes []string
	for _, one := range c.announcers[a] {
		if !one.bgp && !one.perClient {
			nodes = append(nodes, one.node)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// overall is what counts most: first what keeps everything from working, then what
// one Service or node suffers from, then what does not hurt yet.
func (c *Cluster) overall(s *Status) Verdict {
	for _, look := range []func(*Status) *Verdict{
		c.wrongController, wrongSpeakers, wrongOwners, wrongServices, wrongConflicts, wrongObjects, c.unknown,
	} {
		if v := look(s); v != nil {
			return *v
		}
	}
	return Verdict{Well: true, Message: "all is well" + harmless(s)}
}

func (c *Cluster) wrongController(s *Status) *Verdict {
	if s.Controller.Trouble == "" {
		return nil
	}
	v := &Verdict{Message: s.Controller.Trouble}
	if s.Controller.Installed {
		v.Next = "kubectl -n " + s.Controller.Namespace + " describe deployment " + deploymentName
	} else {
		v.Next = "kubectl get deployments --all-namespaces -l app.kubernetes.io/name=baliza"
	}
	return v
}

func wrongSpeakers(s *Status) *Verdict {
	var wrong []string
	for i := range s.Speakers {
		if s.Speakers[i].Trouble != "" && s.Speakers[i].Excluded == "" {
			wrong = append(wrong, s.Speakers[i].Node)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &Verdict{
		Message: plural(len(wrong), "speaker") + " of " + strconv.Itoa(len(s.Speakers)) + " in trouble: " + shorten(wrong),
		Next:    "kubectl baliza explain node " + wrong[0],
	}
}

func wrongOwners(s *Status) *Verdict {
	if len(s.MultipleOwners) == 0 {
		return nil
	}
	one := s.MultipleOwners[0]
	return &Verdict{
		Reason:  v1beta1.ReasonMultipleOwners,
		Message: plural(len(s.MultipleOwners), "address") + " answered for by several nodes: " + one.Address + " by " + strings.Join(one.Nodes, ", "),
		Cure:    cureFor(v1beta1.ReasonMultipleOwners), Next: "kubectl baliza explain address " + one.Address,
	}
}

func wrongServices(s *Status) *Verdict {
	if len(s.Services.Troubles) == 0 {
		return nil
	}
	first := s.Services.Troubles[0]
	var parts []string
	if n := s.Services.Pending; n > 0 {
		parts = append(parts, plural(n, "Service")+" pending")
	}
	if n := s.Services.Unannounced; n > 0 {
		parts = append(parts, plural(n, "Service")+" unannounced")
	}
	return &Verdict{
		Reason: first.Reason, Message: strings.Join(parts, ", "), Cure: first.Cure, Next: explainCommand(first.Services[0]),
	}
}

// explainCommand is the command that explains a Service.
func explainCommand(key string) string {
	namespace, name, _ := strings.Cut(key, "/")
	return "kubectl baliza explain service " + name + " -n " + namespace
}

func wrongConflicts(s *Status) *Verdict {
	if len(s.Conflicts) == 0 {
		return nil
	}
	return &Verdict{
		Reason:  v1beta1.ReasonAddressConflict,
		Message: plural(len(s.Conflicts), "address") + " in use by another host on the network",
		Cure:    cureFor(v1beta1.ReasonAddressConflict), Next: "kubectl baliza explain address " + s.Conflicts[0].Address,
	}
}

func wrongObjects(s *Status) *Verdict {
	i := slices.IndexFunc(s.Problems, func(p Problem) bool {
		cure, _ := cures.For(p.Reason)
		return !cure.Well && p.Reason != v1beta1.ReasonUsedByCluster // which are just not given
	})
	if i < 0 {
		return nil
	}
	p := s.Problems[i]
	return &Verdict{
		Reason: p.Reason, Message: fmt.Sprintf("%s %s: %s", p.Kind, p.Name, p.Message), Cure: p.Cure,
		Next: "kubectl describe " + strings.ToLower(p.Kind) + " " + p.Name,
	}
}

// harmless names the objects that are not ready, where nobody suffers from that.
func harmless(s *Status) string {
	var names []string
	for _, p := range s.Problems {
		names = append(names, p.Kind+" "+p.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return ", but for what does no harm: " + shorten(names)
}

// unknown says that nothing that matters could be read: that is not well.
func (c *Cluster) unknown(*Status) *Verdict {
	for _, kind := range []string{"services", "speakers"} {
		if c.unread(kind) {
			return &Verdict{
				Unknown: true, Message: "without " + kind + " nothing follows from the rest", Next: "kubectl auth can-i list " + kind,
			}
		}
	}
	return nil
}

// plural counts things.
func plural(n int, one string) string {
	switch {
	case n == 1:
		return "1 " + one
	case strings.HasSuffix(one, "s"):
		return strconv.Itoa(n) + " " + one + "es"
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// shorten lists the first of many.
func shorten(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
