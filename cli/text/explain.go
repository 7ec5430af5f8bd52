package text

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/baliza-lb/baliza/cli/explain"
)

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

// Service prints what is known of a Service.
func (p *Printer) Service(s *explain.Service) {
	p.heading("Service " + s.Service)
	p.request(&s.Request)
	if s.Request.Served {
		p.choices(s.Pools)
		for i := range s.Addresses {
			p.printf("\n")
			p.address(&s.Addresses[i])
		}
		if len(s.Addresses) == 0 {
			p.printf("\n")
			p.line("Address", "none")
		}
		p.endpoints(s.Endpoints, s.Request.TrafficPolicy)
	}
	p.printf("\n")
	p.verdict("Verdict", s.Verdict)
}

func (p *Printer) request(r *explain.Request) {
	p.line("Asks for", fmt.Sprintf("%s (%s), ports %s, externalTrafficPolicy %s",
		strings.Join(r.Families, " and "), r.FamilyPolicy, strings.Join(r.Ports, ", "), r.TrafficPolicy))
	p.line("Class", r.Class)
	p.line("Addresses", strings.Join(r.Addresses, ", "))
	p.line("Pool", oneLine(r.Pool))
	p.line("Sharing key", oneLine(r.SharingKey))
	for _, problem := range r.Problems {
		p.line(string(problem.Reason), oneLine(problem.Kind+": "+problem.Message))
	}
	p.line("Not served", r.NotServed)
}

func (p *Printer) choices(all []explain.PoolChoice) {
	if len(all) == 0 {
		return
	}
	p.printf("\n")
	var rows [][]string
	for i := range all {
		one := &all[i]
		result := "no"
		switch {
		case one.Chosen:
			result = "chosen"
		case one.Fits:
			result = "fits"
		}
		rows = append(rows, []string{one.Pool, result, string(one.Reason), one.Message})
	}
	p.table([]string{"POOL", "RESULT", "REASON", "WHY NOT"}, rows)
}

func (p *Printer) endpoints(all []explain.Endpoints, policy string) {
	p.printf("\n")
	for _, one := range all {
		text := fmt.Sprintf("%d usable of %s", one.Total, one.Family)
		var on []string
		for _, node := range sortedKeys(one.Nodes) {
			on = append(on, fmt.Sprintf("%s: %d", node, one.Nodes[node]))
		}
		if len(on) > 0 {
			text += " (" + p.few(on) + ")"
		}
		if one.Unknown {
			text += ", and some whose node is not known"
		}
		if policy == "Local" {
			text += "; only these nodes may announce the address (externalTrafficPolicy Local)"
		}
		p.line("Endpoints", text)
	}
}

// Address prints what is known of an address.
func (p *Printer) Address(a *explain.Address) {
	p.address(a)
	p.printf("\n")
	p.verdict("Verdict", a.Verdict)
}

func (p *Printer) address(a *explain.Address) {
	p.heading("Address " + a.Address)
	p.line("Pool", orDash(a.Pool))
	p.line("Services", orDash(p.few(a.Services)))
	if len(a.Services) == 0 {
		p.wire(a.Wire)
		return
	}
	p.line("Advertised", orDash(strings.Join(a.Advertisements, ", ")))
	if len(a.Nodes) > 0 {
		p.nodes(a.Nodes)
	}
	if len(a.Sessions) > 0 {
		p.printf("\n")
		p.Peers(a.Sessions)
	}
	if m := a.LastMove; m != nil {
		p.line("Last move", p.pastMove(m))
	}
	if len(a.Conflicts) > 0 {
		p.printf("\n")
		p.conflicts(a.Conflicts)
	}
	p.wire(a.Wire)
}

// nodes prints what each node does, those of which the same is true together.
func (p *Printer) nodes(all []explain.NodeView) {
	var rows [][]string
	names := map[string][]string{}
	for i := range all {
		v := &all[i]
		row := []string{v.Node, string(v.Protocol), yesNo(v.Announces), strings.Join(v.On, ", "), string(v.Reason), v.Message}
		key := strings.Join(row[1:], "\x00")
		if !p.Wide && names[key] != nil {
			names[key] = append(names[key], v.Node)
			continue
		}
		names[key] = []string{v.Node}
		rows = append(rows, row)
	}
	for _, row := range rows {
		if all := names[strings.Join(row[1:], "\x00")]; !p.Wide {
			row[0] = p.few(all)
		}
	}
	p.table([]string{"NODE", "BY", "ANNOUNCES", "ON", "REASON", "MESSAGE"}, rows)
}

// Node prints what is known of a node.
func (p *Printer) Node(n *explain.Node) {
	p.heading("Node " + n.Node)
	p.Speakers([]explain.Speaker{n.Speaker})
	if n.Cordoned {
		p.line("Cordoned", "yes, which keeps no address away")
	}
	if n.NotReady {
		p.line("NotReady", "yes, which keeps no address away while its speaker lives")
	}
	p.line("Own, gateway", strings.Join(n.LocalAddresses, ", "))
	for _, u := range n.Unreachable {
		text := "does not hear " + u.Speaker + " for " + p.age(&u.Since)
		if u.Alive {
			text += ", which is alive"
		}
		p.line("Unreachable", text)
	}
	p.held(n)
	if len(n.Withheld) > 0 {
		p.printf("\n")
		var rows [][]string
		for i := range n.Withheld {
			w := &n.Withheld[i]
			rows = append(rows, []string{strconv.Itoa(int(w.Count)), string(w.Reason), p.few(w.Addresses), w.Message})
		}
		p.table([]string{"NOT ANNOUNCED", "REASON", "WHICH", "MESSAGE"}, rows)
	}
	if len(n.Conflicts) > 0 {
		p.printf("\n")
		p.conflicts(n.Conflicts)
	}
	if len(n.Sessions) > 0 {
		p.printf("\n")
		p.Peers(n.Sessions)
	}
	p.printf("\n")
	p.verdict("Verdict", n.Verdict)
}

// mostHeld is how many addresses of a node are listed on a screen.
const mostHeld = 20

func (p *Printer) held(n *explain.Node) {
	if len(n.Held) == 0 {
		return
	}
	p.printf("\n")
	var rows [][]string
	for i := range n.Held {
		if i == mostHeld && !p.Wide {
			rows = append(rows, []string{fmt.Sprintf("and %d more", len(n.Held)-i)})
			break
		}
		h := &n.Held[i]
		rows = append(rows, []string{h.Address, strings.Join(h.Interfaces, ", "), p.few(h.Services)})
	}
	p.table([]string{"ADDRESS HELD", "ON", "SERVICES"}, rows)
}
