package page

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/cli/explain"
)

// rowsOnAPage is how many rows a table has at most.
const rowsOnAPage = 200

type servicesView struct {
	Query  string
	States []stateChoice
	Rows   []serviceRow
	Pager  pager
}

// stateChoice is a state that one may ask for, and how many Services are in it.
type stateChoice struct {
	State    explain.State
	Count    int
	Selected bool
}

type serviceRow struct {
	explain.ServiceRow
	Link  link
	Since when
}

func (s *Server) services(now *snapshot, r *http.Request) (answer, error) {
	query, state := bounded(r.URL.Query().Get("q")), explain.State(bounded(r.URL.Query().Get("state")))
	v := servicesView{Query: query}
	counts := now.status.Services
	for _, one := range []stateChoice{
		{State: explain.Pending, Count: counts.Pending},
		{State: explain.Unannounced, Count: counts.Unannounced},
		{State: explain.Recent, Count: counts.Recent},
		{State: explain.Announced, Count: counts.Announced},
		{State: explain.NotServed, Count: counts.NotServed},
	} {
		one.Selected = one.State == state
		v.States = append(v.States, one)
	}
	rows := matching(now.services, query, state)
	rows, v.Pager = paged(rows, rowsOnAPage, r)
	for i := range rows {
		one := &rows[i]
		v.Rows = append(v.Rows, serviceRow{*one, serviceLink(one.Namespace + "/" + one.Name), whenOf(one.Since, now.at)})
	}
	return answer{"services", "Services", "services", &v}, nil
}

// matching are the Services in a state, if one is named, each of whose words stands in
// one of the columns.
func matching(all []explain.ServiceRow, query string, state explain.State) []explain.ServiceRow {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 && state == "" {
		return all
	}
	var found []explain.ServiceRow
	for i := range all {
		one := &all[i]
		if state != "" && one.State != state {
			continue
		}
		columns := slices.Concat([]string{one.Namespace + "/" + one.Name, one.Pool, string(one.State), string(one.Reason)}, one.Addresses, one.Owners)
		if !slices.ContainsFunc(words, func(word string) bool {
			return !slices.ContainsFunc(columns, func(column string) bool { return strings.Contains(strings.ToLower(column), word) })
		}) {
			found = append(found, *one)
		}
	}
	return found
}

type peersView struct {
	Rows  []sessionRow
	Pager pager
}

type sessionRow struct {
	explain.Session
	Up    bool
	Since when
}

func sessionRows(all []explain.Session, now time.Time) []sessionRow {
	rows := make([]sessionRow, 0, len(all))
	for i := range all {
		rows = append(rows, sessionRow{all[i], all[i].State == explain.Established, whenOf(all[i].Since, now)})
	}
	return rows
}

func (s *Server) peers(now *snapshot, r *http.Request) (answer, error) {
	sessions, pages := paged(now.peers, rowsOnAPage, r)
	return answer{"peers", "Peers", "peers", &peersView{sessionRows(sessions, now.at), pages}}, nil
}

// hour is how far back moves are shown.
const hour = time.Hour

type movesView struct {
	Timeline timeline
	Rows     []moveRow
	Pager    pager
}

type moveRow struct {
	explain.PastMove
	When    when
	Unowned string
}

func moveRowOf(m *explain.PastMove, now time.Time) moveRow {
	row := moveRow{PastMove: *m, When: whenOf(&m.Time, now)}
	if m.UnownedMilliseconds > 0 {
		row.Unowned = (time.Duration(m.UnownedMilliseconds) * time.Millisecond).String()
	}
	return row
}

func (s *Server) moves(now *snapshot, r *http.Request) (answer, error) {
	var recent []explain.PastMove
	for _, m := range now.moves {
		if now.at.Sub(m.Time) <= hour {
			recent = append(recent, m)
		}
	}
	v := movesView{Timeline: timelineOf(recent, now.at)}
	slices.SortStableFunc(recent, func(a, b explain.PastMove) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Address, b.Address))
	})
	recent, v.Pager = paged(recent, rowsOnAPage, r)
	for i := range recent {
		v.Rows = append(v.Rows, moveRowOf(&recent[i], now.at))
	}
	return answer{"moves", "Moves", "moves", &v}, nil
}

type nodesView struct {
	Rows  []explain.Speaker
	Pager pager
}

func (s *Server) nodes(now *snapshot, r *http.Request) (answer, error) {
	var v nodesView
	v.Rows, v.Pager = paged(now.status.Speakers, rowsOnAPage, r)
	return answer{"nodes", "Nodes", "nodes", &v}, nil
}

type poolsView struct {
	Rows  []poolRow
	Pager pager
}

type poolRow struct {
	explain.PoolUse
	Bars []bar
}

func poolRowOf(p explain.PoolUse) poolRow {
	row := poolRow{PoolUse: p}
	for i := range p.Families {
		row.Bars = append(row.Bars, barOf(p.Name, &p.Families[i]))
	}
	return row
}

func (s *Server) poolList(now *snapshot, r *http.Request) (answer, error) {
	const size = 50 // each has bars
	var v poolsView
	pools, pages := paged(now.poolUses(), size, r)
	v.Pager = pages
	for _, p := range pools {
		v.Rows = append(v.Rows, poolRowOf(p))
	}
	return answer{"pools", "Pools", "pools", &v}, nil
}
