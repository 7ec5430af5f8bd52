package l2

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Desired is what a Responder is to answer for.
type Desired struct {
	// Interfaces that exist and are up, at least those that Answers name.
	Interfaces []Interface
	// Answers are the addresses, each once, in the order of addresses.
	Answers []model.Answer
	// Self is the name of this node among Sharers.
	Self string
}

// of returns what is desired of an address.
func (d *Desired) of(a netip.Addr) *model.Answer {
	at, found := slices.BinarySearchFunc(d.Answers, a, func(one model.Answer, a netip.Addr) int { return one.Address.Compare(a) })
	if !found {
		return &model.Answer{}
	}
	return &d.Answers[at]
}

// quiet are the addresses that are answered for but not announced.
func (d *Desired) quiet() map[netip.Addr]bool {
	var quiet map[netip.Addr]bool
	for i := range d.Answers {
		if d.Answers[i].Mode != model.Quiet {
			continue
		}
		if quiet == nil {
			quiet = map[netip.Addr]bool{}
		}
		quiet[d.Answers[i].Address] = true
	}
	return quiet
}

// Problem is an interface on which something cannot be held.
type Problem struct {
	Interface string
	Err       error
}

func (p Problem) Error() string { return p.Err.Error() }

// Responder answers and announces. Apply, Reannounce, Probe, Quiet, Yield and
// Close are for one goroutine; Held and Stats are for any.
type Responder struct {
	table     atomic.Pointer[table]
	ports     atomic.Pointer[map[int]*port]
	held      atomic.Pointer[map[netip.Addr][]string]
	stats     counters
	announcer *announcer
	seen      sightings
	quiet     map[netip.Addr]bool // of the last Apply
	stop      context.CancelFunc
	wait      sync.WaitGroup
}

// New makes a Responder that holds nothing yet and has no socket open.
func New() *Responder {
	r := &Responder{seen: sightings{found: map[netip.Addr]model.Sighting{}, told: make(chan struct{}, 1)}}
	r.table.Store(&table{})
	r.ports.Store(&map[int]*port{})
	r.held.Store(&map[netip.Addr][]string{})
	r.announcer = newAnnouncer(r.send)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.wait.Go(func() { r.announcer.run(ctx) })
	return r
}

// Check opens and closes what answering on the interface will need, and says
// what is in the way: "the process lacks the capability NET_RAW".
func Check(on Interface) error {
	var t atomic.Pointer[table]
	t.Store(&table{})
	p := newPort(on, &t, &counters{}, &sightings{found: map[netip.Addr]model.Sighting{}, told: make(chan struct{}, 1)}, newClients())
	defer p.close()
	v4, v6 := []netip.Addr{netip.IPv4Unspecified()}, []netip.Addr{netip.IPv6Unspecified()}
	if err := p.want(v4, nil); err != nil {
		return err // once, not once for each family
	}
	return p.want(v4, v6)
}

// Apply makes desired the truth: what is new is answered for and announced,
// what is gone is not any more. It returns what could not be done; the rest
// is. Calling it again with the same value tries only that again.
func (r *Responder) Apply(desired Desired) []Problem {
	old := *r.ports.Load()
	wanted := gather(desired)
	ports := make(map[int]*port, len(wanted))
	var closing []*port
	var problems []Problem
	quiet := desired.quiet()
	next := &table{held: make(map[netip.Addr][]int, len(desired.Answers)), probed: map[netip.Addr][]int{}, leaving: quiet}
	var fresh []int // interfaces whose neighbours must be told everything

	for _, w := range wanted {
		p, asked := old[w.on.Index], newClients()
		if p != nil {
			asked = p.asked
		}
		if p != nil && (p.broken.Load() || p.on.Load().Epoch != w.on.Epoch || !slices.Equal(p.on.Load().MAC, w.on.MAC)) {
			closing = append(closing, p)
			p = nil
		}
		if p == nil {
			p = newPort(w.on, &r.table, &r.stats, &r.seen, asked)
			fresh = append(fresh, w.on.Index)
		}
		p.on.Store(&w.on)
		ports[w.on.Index] = p
		held, found := p.prepare(w)
		problems = append(problems, found...)
		for _, address := range held {
			if desired.of(address).Mode == model.Probe {
				next.probed[address] = append(next.probed[address], w.on.Index)
				continue
			}
			next.held[address] = append(next.held[address], w.on.Index)
		}
	}
	for index, p := range old {
		if ports[index] == nil {
			closing = append(closing, p)
		}
	}
	changed := next.share(&desired, r.table.Load(), time.Now())
	r.swap(next, ports, fresh, quiet)
	r.settle(fresh, changed)
	for _, w := range wanted {
		ports[w.on.Index].groups.keep(w.v6)
	}
	for _, p := range closing {
		p.close()
	}
	return problems
}

// swap puts the new table to use and has the difference announced.
func (r *Responder) swap(next *table, ports map[int]*port, fresh []int, quiet map[netip.Addr]bool) {
	before := r.table.Load()
	r.ports.Store(&ports)
	r.table.Store(next)
	var start, end []key
	names := make(map[netip.Addr][]string, len(next.held))
	for address, indexes := range next.held {
		for _, index := range indexes {
			switch k := (key{address: address, index: index}); {
			case quiet[address]:
				end = append(end, k)
			case next.shares[address] != nil:
				if before.shares[address] == nil {
					end = append(end, k)
				}
			case !before.holds(address, index) || slices.Contains(fresh, index) || r.quiet[address] || before.shares[address] != nil:
				start = append(start, k)
			}
			names[address] = append(names[address], ports[index].on.Load().Name)
		}
		slices.Sort(names[address])
	}
	for address, indexes := range before.held {
		for _, index := range indexes {
			if !next.holds(address, index) {
				end = append(end, key{address: address, index: index})
			}
		}
	}
	r.held.Store(&names)
	r.quiet = quiet
	r.announcer.change(start, end)
}

// settle has the clients told that have come to this node, where the nodes that
// share addresses have changed, and all that it had, where its interface has.
func (r *Responder) settle(fresh []int, changed map[netip.Addr]*share) {
	t := r.table.Load()
	var start []key
	for index, p := range *r.ports.Load() {
		if len(changed) > 0 {
			start = append(start, keysOf(index, p.asked.settle(changed, t.self))...)
		}
		if slices.Contains(fresh, index) {
			start = append(start, keysOf(index, p.asked.with(t.self, netip.Addr{}))...)
		}
	}
	r.announcer.change(start, nil)
}

func keysOf(index int, asks []ask) []key {
	keys := make([]key, 0, len(asks))
	for _, a := range asks {
		keys = append(keys, key{address: a.address, index: index, client: a.mac})
	}
	return keys
}

// Reannounce tells the neighbours of held addresses again, as after a
// partition in which another node held them too. Of a shared one only the
// clients of this node are told.
func (r *Responder) Reannounce(addresses []netip.Addr) {
	t, ports := r.table.Load(), *r.ports.Load()
	var all []key
	for _, address := range addresses {
		s := t.shares[address]
		for _, index := range t.held[address] {
			switch p := ports[index]; {
			case s == nil:
				all = append(all, key{address: address, index: index})
			case p != nil:
				all = append(all, keysOf(index, p.asked.with(t.self, address))...)
			}
		}
	}
	r.announcer.change(all, nil)
}

// Probe asks whether addresses that are desired with that mode are free: at the pace
// of announcements, and each once, however often it is called meanwhile.
func (r *Responder) Probe(addresses []netip.Addr) {
	probed := r.table.Load().probed
	var all []key
	for _, address := range addresses {
		for _, index := range probed[address] {
			all = append(all, key{address: address, index: index, probe: true})
		}
	}
	r.announcer.change(all, nil)
}

// Sightings takes the claims of others that were seen since the last time, at
// most one for each address. Sighted tells that there are some.
func (r *Responder) Sightings() []model.Sighting { return r.seen.take() }

// Sighted receives after somebody else claimed an address.
func (r *Responder) Sighted() <-chan struct{} { return r.seen.told }

// Quiet ends all announcements while answering goes on: what another node is
// about to take over must not be called back.
func (r *Responder) Quiet() {
	r.stop()
	r.wait.Wait()
	next := *r.table.Load()
	next.leaving = make(map[netip.Addr]bool, len(next.held))
	for address := range next.held {
		next.leaving[address] = next.shares[address] == nil
	}
	r.table.Store(&next)
}

// Yield stops answering for the shared addresses: this node is about to go, and
// the others answer its clients.
func (r *Responder) Yield() {
	next := *r.table.Load()
	next.held = maps.Clone(next.held)
	for address := range next.shares {
		delete(next.held, address)
	}
	next.shares = nil
	r.table.Store(&next)
}

// Held is what is answered for now, with the interfaces by name. It must not be
// changed.
func (r *Responder) Held() map[netip.Addr][]string { return *r.held.Load() }

// Stats counts what was answered and announced since New.
func (r *Responder) Stats() Stats { return Stats{ARP: r.stats.arp.read(), NDP: r.stats.ndp.read()} }

// Close stops answering and closes every socket.
func (r *Responder) Close() {
	r.stop()
	r.wait.Wait()
	r.table.Store(&table{})
	for _, p := range *r.ports.Load() {
		p.close()
	}
	r.ports.Store(&map[int]*port{})
	r.held.Store(&map[netip.Addr][]string{})
}

// send is the announcer's: what is not held any more is not announced.
func (r *Responder) send(a announcement) {
	p := (*r.ports.Load())[a.index]
	t := r.table.Load()
	if a.probe {
		if p != nil && slices.Contains(t.probed[a.address], a.index) {
			p.probe(a.address)
		}
		return
	}
	if p == nil || !t.holds(a.address, a.index) {
		return
	}
	switch s := t.shares[a.address]; {
	case s != nil && a.single():
		p.tell(ask{a.address, a.client}, t.self)
	case s == nil && !a.single():
		p.announce(a.address, a.reminder, a.ask)
	}
}

// want is what is desired of one interface.
type want struct {
	on     Interface
	v4, v6 []netip.Addr
}

// gather turns addresses with interfaces into interfaces with addresses, in
// the order of their index; an interface without addresses is left out.
func gather(desired Desired) []want {
	byName := make(map[string]*want, len(desired.Interfaces))
	for _, on := range desired.Interfaces {
		byName[on.Name] = &want{on: on}
	}
	for i := range desired.Answers {
		address := desired.Answers[i].Address
		for _, name := range desired.Answers[i].Interfaces {
			w := byName[name]
			switch {
			case w == nil:
			case address.Is4():
				w.v4 = append(w.v4, address)
			default:
				w.v6 = append(w.v6, address)
			}
		}
	}
	var all []want
	for _, w := range byName {
		if len(w.v4)+len(w.v6) > 0 {
			all = append(all, *w)
		}
	}
	slices.SortFunc(all, func(a, b want) int { return cmp.Compare(a.on.Index, b.on.Index) })
	return all
}

// prepare opens the sockets and joins the groups of what is wanted, and
// returns the addresses that can be answered for.
func (p *port) prepare(w want) (held []netip.Addr, problems []Problem) {
	if err := p.want(w.v4, w.v6); err != nil {
		problems = append(problems, Problem{w.on.Name, err})
	}
	if p.arp.Load() != nil {
		held = append(held, w.v4...)
	}
	if p.nd.Load() == nil {
		return held, problems
	}
	failed, err := p.groups.join(w.v6)
	if err != nil {
		problems = append(problems, Problem{w.on.Name, fmt.Errorf("%d addresses: %w", len(failed), err)})
	}
	for _, address := range w.v6 {
		if !slices.Contains(failed, address) {
			held = append(held, address)
		}
	}
	return held, problems
}
