package text

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/manifests"
)

// manySpeakers is how many speakers a screen has room for; of more, only those in
// trouble are listed.
const manySpeakers = 12

// Status prints the whole on one screen.
func (p *Printer) Status(s *explain.Status) {
	p.line("Controller", p.controllerLine(&s.Controller))
	p.line("Speakers", speakersLine(s.Speakers))
	p.line("Services", servicesLine(&s.Services))
	for _, u := range s.Unread {
		p.line("Not read", oneLine(u.Why))
	}
	p.printf("\n")
	listed := s.Speakers
	if len(listed) > manySpeakers && !p.Wide {
		listed = nil
		for i := range s.Speakers {
			if s.Speakers[i].Trouble != "" {
				listed = append(listed, s.Speakers[i])
			}
		}
	}
	if len(listed) > 0 {
		p.Speakers(listed)
		p.printf("\n")
	}
	if !slices.ContainsFunc(s.Unread, func(u explain.Unread) bool { return u.Kind == "ipaddresspools" }) {
		p.Pools(s.Pools)
	}
	p.troubles(s)
	p.printf("\n")
	p.verdict("Overall", s.Overall)
}

func (p *Printer) controllerLine(c *explain.Controller) string {
	var parts []string
	if c.Installed {
		parts = append(parts, fmt.Sprintf("%d of %d ready in %s", c.Ready, c.Replicas, c.Namespace))
	}
	if c.Leader != "" {
		leader := "leader " + c.Leader
		if c.Renewed != nil {
			leader += ", renewed " + p.age(c.Renewed) + " ago"
		}
		parts = append(parts, leader)
	}
	if c.Trouble != "" {
		parts = append(parts, p.paint(red, oneLine(c.Trouble)))
	}
	if len(parts) == 0 {
		return "not known"
	}
	return strings.Join(parts, "; ")
}

func speakersLine(all []explain.Speaker) string {
	alive, held, routes, sessions, established := 0, 0, 0, 0, 0
	for i := range all {
		if all[i].Alive {
			alive++
			held, routes = held+int(all[i].Held), routes+int(all[i].Routes)
			sessions, established = sessions+all[i].Sessions, established+all[i].Established
		}
	}
	text := fmt.Sprintf("%d of %d alive; addresses held on layer 2: %d", alive, len(all), held)
	if sessions > 0 {
		text += fmt.Sprintf("; %d of %d BGP sessions established; addresses routed: %d", established, sessions, routes)
	}
	return text
}

func servicesLine(s *explain.Services) string {
	in := ""
	if s.Namespace != "" {
		in = " in " + s.Namespace
	}
	parts := []string{fmt.Sprintf("%d of type LoadBalancer%s: %d announced", s.Total, in, s.Announced)}
	for _, one := range []struct {
		count int
		what  string
	}{{s.Recent, "made a moment ago"}, {s.Pending, "pending"}, {s.Unannounced, "unannounced"}, {s.NotServed, "not served by Baliza"}} {
		if one.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", one.count, one.what))
		}
	}
	return strings.Join(parts, ", ")
}

// troubles prints what is wrong, if anything is.
func (p *Printer) troubles(s *explain.Status) {
	if len(s.Services.Troubles) > 0 {
		p.printf("\n")
		var rows [][]string
		for _, t := range s.Services.Troubles {
			rows = append(rows, []string{strconv.Itoa(len(t.Services)), string(t.State), string(t.Reason), p.few(t.Services), t.Message})
		}
		p.table([]string{"SERVICES", "STATE", "REASON", "WHICH", "MESSAGE OF THE FIRST"}, rows)
	}
	if len(s.MultipleOwners) > 0 {
		p.printf("\n")
		var rows [][]string
		for _, m := range s.MultipleOwners {
			rows = append(rows, []string{m.Address, p.few(m.Nodes)})
		}
		p.table([]string{"ADDRESS WITH SEVERAL OWNERS", "NODES"}, rows)
	}
	if len(s.Conflicts) > 0 {
		p.printf("\n")
		p.conflicts(s.Conflicts)
	}
	if len(s.Problems) > 0 {
		p.printf("\n")
		var rows [][]string
		for _, one := range s.Problems {
			rows = append(rows, []string{one.Kind + "/" + one.Name, string(one.Reason), one.Message})
		}
		p.table([]string{"OBJECT NOT READY", "REASON", "MESSAGE"}, rows)
	}
}

func (p *Printer) conflicts(all []explain.Conflict) {
	var rows [][]string
	for i := range all {
		one := &all[i]
		rows = append(rows, []string{one.Address, one.MAC, one.Node, one.Interface, p.age(&one.Since)})
	}
	p.table([]string{"ADDRESS IN CONFLICT", "MAC OF THE OTHER HOST", "SEEN BY", "ON", "SINCE"}, rows)
}

// Pools prints pools and how full they are.
func (p *Printer) Pools(pools []explain.Pool) {
	if len(pools) == 0 {
		p.printf("No IPAddressPool.\n")
		return
	}
	header := []string{"POOL", "READY", "REASON", "IPV4 USED", "FREE", "IPV6 USED", "FREE", "QUARANTINED", "ADVERTISED BY"}
	if p.Wide {
		header = append(header, "AUTO-ASSIGN", "ADDRESSES", "MESSAGE")
	}
	var rows [][]string
	for i := range pools {
		o := &pools[i]
		row := []string{
			o.Name, yesNo(o.Ready), string(o.Reason), strconv.FormatInt(o.AssignedIPv4, 10), o.AvailableIPv4,
			strconv.FormatInt(o.AssignedIPv6, 10), o.AvailableIPv6, strconv.Itoa(o.Quarantined), p.few(o.AdvertisedBy),
		}
		if p.Wide {
			row = append(row, yesNo(o.AutoAssign), strings.Join(o.Addresses, " "), o.Message)
		}
		rows = append(rows, row)
	}
	p.table(header, rows)
}

// Speakers prints speakers, and what is wrong with each.
func (p *Printer) Speakers(all []explain.Speaker) {
	header := []string{"NODE", "ALIVE", "READY", "HELD", "ROUTES", "BGP", "HEARS"}
	if p.Wide {
		header = append(header, "ADDRESS", "VERSION")
	}
	header = append(header, "TROUBLE")
	var rows [][]string
	for i := range all {
		s := &all[i]
		row := []string{s.Node, yesNo(s.Alive), yesNo(s.Ready && s.Alive), "", "", "", ""}
		if s.Alive {
			row[3], row[6] = strconv.Itoa(int(s.Held)), strconv.Itoa(int(s.Members))
		}
		if s.Alive && s.Sessions > 0 {
			row[4], row[5] = strconv.Itoa(int(s.Routes)), fmt.Sprintf("%d/%d up", s.Established, s.Sessions)
		}
		if p.Wide {
			row = append(row, s.MemberAddress, s.Version)
		}
		trouble := s.Trouble
		if s.NotMeant != "" {
			trouble = "none is to run here: " + s.NotMeant
		}
		if s.Excluded != "" {
			trouble = strings.TrimPrefix(trouble+"; excluded: "+s.Excluded, "; ")
		}
		rows = append(rows, append(row, trouble))
	}
	p.table(header, rows)
}

// Addresses prints the addresses that Services have.
func (p *Printer) Addresses(all []explain.Held) {
	if len(all) == 0 {
		p.printf("No Service has an address.\n")
		return
	}
	var rows [][]string
	for i := range all {
		o := &all[i]
		rows = append(rows, []string{
			o.Address, o.Pool, p.few(o.Services), p.few(o.L2), p.few(o.BGP), string(o.State), string(o.Reason), p.age(o.Since),
		})
	}
	p.table([]string{"ADDRESS", "POOL", "SERVICES", "L2 OWNER", "BGP FROM", "STATE", "REASON", "SINCE"}, rows)
}

// Peers prints BGP sessions.
func (p *Printer) Peers(all []explain.Session) {
	if len(all) == 0 {
		p.printf("No BGPPeer, and no session.\n")
		return
	}
	var rows [][]string
	for i := range all {
		s := &all[i]
		asn := ""
		if s.ASN > 0 {
			asn = strconv.FormatInt(s.ASN, 10)
		}
		rows = append(rows, []string{s.Peer, s.Node, s.Address, asn, s.State, p.age(s.Since), s.BFD, strconv.Itoa(int(s.Routes)), s.Error})
	}
	p.table([]string{"PEER", "NODE", "ROUTER", "ASN", "STATE", "SINCE", "BFD", "ROUTES", "LAST ERROR"}, rows)
}

// Findings prints what is wrong with the objects of files.
func (p *Printer) Findings(all []manifests.Finding, objects int) {
	if len(all) == 0 {
		p.printf("%s  objects without a mistake: %d\n", p.paint(green, "OK"), objects)
		return
	}
	var rows [][]string
	for i := range all {
		f := &all[i]
		file, kind := f.File, f.Kind
		if f.Document > 0 {
			file += "#" + strconv.Itoa(f.Document)
		}
		if f.Group != "" {
			kind += "." + f.Group
		}
		rows = append(rows, []string{file, strings.Trim(kind+"/"+f.Name, "/"), f.Field, string(f.Reason), f.Message})
	}
	p.table([]string{"FILE", "OBJECT", "FIELD", "REASON", "MESSAGE"}, rows)
}

// Versions prints what is of which version.
func (p *Printer) Versions(v *explain.Versions) {
	p.line("Client", v.Client)
	p.line("Controller", orDash(v.Controller))
	for _, version := range sortedKeys(v.Speakers) {
		p.line("Speakers", fmt.Sprintf("%s (%d)", version, v.Speakers[version]))
	}
	if v.Skew != "" {
		p.line("Warning", p.paint(red, v.Skew))
	}
}
