package page

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/config"
)

// Limits of what is listed on a page that is about more than that.
const (
	mostTroubles = 20
	mostNodes    = 24
	mostCells    = 1024
	mostHeld     = 200
)

type overviewView struct {
	Status    *explain.Status
	Picture   picture
	Alive     int
	Held      int
	Routes    int
	Sessions  int
	Up        int
	Troubles  []troubleRow
	Owners    []explain.MultipleOwners
	Conflicts []conflictRow
	Problems  []explain.Problem
	Unheard   []unheardRow
	Nodes     []explain.Speaker
	MoreNodes int
	// More are how many of each list are left out.
	MoreOwners, MoreConflicts, MoreProblems, MoreUnheard int
}

type troubleRow struct {
	explain.Trouble
	First []link
	More  int
}

type conflictRow struct {
	explain.Conflict
	Since when
}

type unheardRow struct {
	explain.Unheard
	Since when
}

// first are the first of many, and how many more there are.
func first[T any](all []T, most int) ([]T, int) {
	return all[:min(len(all), most)], max(0, len(all)-most)
}

func (s *Server) overview(now *snapshot, _ *http.Request) (answer, error) {
	status := &now.status
	v := overviewView{Status: status}
	for i := range status.Speakers {
		if one := &status.Speakers[i]; one.Alive {
			v.Alive++
			v.Held, v.Routes = v.Held+int(one.Held), v.Routes+int(one.Routes)
			v.Sessions, v.Up = v.Sessions+one.Sessions, v.Up+one.Established
		}
	}
	troubles, _ := first(status.Services.Troubles, mostTroubles)
	for i := range troubles {
		row := troubleRow{Trouble: troubles[i]}
		row.First, row.More = serviceLinks(troubles[i].Services)
		v.Troubles = append(v.Troubles, row)
	}
	v.Owners, v.MoreOwners = first(status.MultipleOwners, mostTroubles)
	conflicts, more := first(status.Conflicts, mostTroubles)
	v.Conflicts, v.MoreConflicts = conflictRows(conflicts, now), more
	v.Problems, v.MoreProblems = first(status.Problems, mostTroubles)
	unheard, more := first(now.unheard, mostTroubles)
	v.Unheard, v.MoreUnheard = unheardRows(unheard, now), more

	nodes := slices.Clone(status.Speakers)
	slices.SortStableFunc(nodes, func(a, b explain.Speaker) int { // those in trouble first
		switch inTrouble := func(s *explain.Speaker) bool { return s.Trouble != "" }; {
		case inTrouble(&a) == inTrouble(&b):
			return 0
		case inTrouble(&a):
			return -1
		}
		return 1
	})
	v.Nodes, v.MoreNodes = first(nodes, mostNodes)
	v.Picture = pictureOf(v.Nodes, v.MoreNodes, now.unheard, now.peers)
	return answer{"overview", "Overview", "overview", &v}, nil
}

func conflictRows(all []explain.Conflict, now *snapshot) []conflictRow {
	var rows []conflictRow
	for _, one := range all {
		rows = append(rows, conflictRow{one, whenOf(&one.Since, now.at)})
	}
	return rows
}

func unheardRows(all []explain.Unheard, now *snapshot) []unheardRow {
	var rows []unheardRow
	for _, one := range all {
		rows = append(rows, unheardRow{one, whenOf(&one.Since, now.at)})
	}
	return rows
}

type serviceView struct {
	*explain.Service
	Since     when
	Addresses []addressView
}

type addressView struct {
	explain.Address
	Links     []link
	More      int
	Sessions  []sessionRow
	Conflicts []conflictRow
	LastMove  *moveRow
	// Inner says that it is part of the page of a Service.
	Inner bool
}

func addressViewOf(a explain.Address, now *snapshot, inner bool) addressView {
	v := addressView{Address: a, Inner: inner, Conflicts: conflictRows(a.Conflicts, now)}
	v.Links, v.More = serviceLinks(a.Services)
	sessions, _ := first(a.Sessions, rowsOnAPage)
	v.Sessions = sessionRows(sessions, now.at)
	v.Nodes, _ = first(a.Nodes, rowsOnAPage)
	if a.LastMove != nil {
		move := moveRowOf(a.LastMove, now.at)
		v.LastMove = &move
	}
	return v
}

func (s *Server) service(now *snapshot, r *http.Request) (answer, error) {
	key := r.PathValue("namespace") + "/" + r.PathValue("name")
	one, known := now.explained(key)
	if !known {
		return answer{}, notFound("there is no Service " + key + " of type LoadBalancer")
	}
	v := serviceView{Service: &one}
	for _, a := range one.Addresses {
		v.Addresses = append(v.Addresses, addressViewOf(a, now, true))
	}
	i, listed := slices.BinarySearchFunc(now.services, key, func(row explain.ServiceRow, _ string) int {
		return cmp.Or(strings.Compare(row.Namespace, r.PathValue("namespace")), strings.Compare(row.Name, r.PathValue("name")))
	})
	if listed {
		v.Since = whenOf(now.services[i].Since, now.at)
	}
	return answer{"service", "Service " + key, "services", &v}, nil
}

func (s *Server) address(now *snapshot, r *http.Request) (answer, error) {
	a, err := config.ParseAddress(r.PathValue("address"))
	if err != nil {
		return answer{}, notFound(err.Error())
	}
	one := ask(now, func(c *explain.Cluster) explain.Address { return c.Address(a) })
	v := addressViewOf(one, now, false)
	return answer{"address", "Address " + one.Address, "services", &v}, nil
}

type poolView struct {
	poolRow
	Map     *grid
	Cells   []explain.Cell // those that are not free
	TooMany bool
}

func (s *Server) pool(now *snapshot, r *http.Request) (answer, error) {
	name := r.PathValue("pool")
	use, found := explain.PoolNamed(now.poolUses(), name)
	if !found {
		return answer{}, notFound("there is no IPAddressPool " + name)
	}
	v := poolView{poolRow: poolRowOf(use)}
	cells := ask(now, func(c *explain.Cluster) []explain.Cell {
		cells, few := c.PoolMap(name, mostCells)
		v.TooMany = !few
		return cells
	})
	if len(cells) > 0 {
		v.Map = gridOf(name, cells)
	}
	for _, cell := range cells {
		if cell.State != explain.CellFree {
			v.Cells = append(v.Cells, cell)
		}
	}
	return answer{"pool", "Pool " + name, "pools", &v}, nil
}

type nodeView struct {
	*explain.Node
	HeldFirst []heldRow
	MoreHeld  int
	Routed    []string
	MoreRoute int
	Sessions  []sessionRow
	Conflicts []conflictRow
	Unheard   []unheardRow
}

type heldRow struct {
	Address    string
	Interfaces []string
	Services   []link
	More       int
}

func (s *Server) node(now *snapshot, r *http.Request) (answer, error) {
	name := r.PathValue("node")
	type found struct {
		explain.Node
		known bool
	}
	one := ask(now, func(c *explain.Cluster) found {
		node, known := c.Node(name)
		return found{node, known}
	})
	if !one.known {
		return answer{}, notFound("there is neither a node " + name + " nor a Speaker of its name")
	}
	v := nodeView{Node: &one.Node, Sessions: sessionRows(one.Sessions, now.at), Conflicts: conflictRows(one.Conflicts, now)}
	held, more := first(one.Held, mostHeld)
	v.MoreHeld = more
	for i := range held {
		row := heldRow{Address: held[i].Address, Interfaces: held[i].Interfaces}
		row.Services, row.More = serviceLinks(held[i].Services)
		v.HeldFirst = append(v.HeldFirst, row)
	}
	v.Routed, v.MoreRoute = first(one.Routes, mostHeld)
	for _, u := range one.Unreachable {
		link := explain.Unheard{Node: u.Speaker, By: name, Since: u.Since, Alive: u.Alive}
		v.Unheard = append(v.Unheard, unheardRow{link, whenOf(&u.Since, now.at)})
	}
	return answer{"node", "Node " + name, "nodes", &v}, nil
}
