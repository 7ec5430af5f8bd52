package sim

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// When package l2 announces, and how much.
const (
	perSecond     = 2500
	reminderEvery = 2 * time.Minute
)

// announcements are those that follow the first, before the reminders; gap is the
// time from one to the next.
const announcements = 3

func gap(step int) time.Duration {
	return [announcements]time.Duration{100 * time.Millisecond, time.Second, 1100 * time.Millisecond}[step]
}

// responder does what package l2 does, on the simulated LAN.
type responder struct {
	host    *Host
	answers map[netip.Addr]*model.Answer // with what is probed for
	held    map[netip.Addr][]string
	rounds  map[netip.Addr]int // an announcement that was planned before another is void
	free    time.Time          // when the next may be sent
	still   bool               // nothing is announced any more
	open    map[string]uint64  // interfaces with sockets, and which epoch they are of
}

func newResponder(h *Host) *responder {
	return &responder{
		host: h, answers: map[netip.Addr]*model.Answer{}, held: map[netip.Addr][]string{}, rounds: map[netip.Addr]int{}, open: map[string]uint64{},
	}
}

// apply makes the answers the truth, and returns what could not be done.
func (r *responder) apply(answers []model.Answer) (problems []string) {
	before := r.answers
	r.answers = make(map[netip.Addr]*model.Answer, len(answers))
	held := make(map[netip.Addr][]string, len(answers))
	for i := range answers {
		a := &answers[i]
		if !r.opens(a.Interfaces) {
			if problems == nil {
				problems = []string{"too many open files"}
			}
			continue
		}
		r.answers[a.Address] = a
		r.host.world.interest.add(a.Address, r.host)
		if a.Mode != model.Probe {
			held[a.Address] = a.Interfaces
		}
		was := before[a.Address]
		if a.Mode == model.Announce && (was == nil || was.Mode != model.Announce || !slices.Equal(was.Interfaces, a.Interfaces)) {
			r.announce(a.Address)
		}
	}
	r.close()
	for a := range before {
		if now := r.answers[a]; now == nil || now.Mode != model.Announce {
			delete(r.rounds, a)
		}
	}
	r.held = held
	return problems
}

// opens reports whether the sockets of interfaces are open, or can be opened. They stay
// open until the interface changes, or nothing needs them.
func (r *responder) opens(names []string) bool {
	for i := range r.host.interfaces {
		on := &r.host.interfaces[i]
		if epoch, open := r.open[on.Name]; !slices.Contains(names, on.Name) || open && epoch == on.Epoch {
			continue
		}
		if r.host.refuse {
			return false
		}
		r.open[on.Name] = on.Epoch
	}
	return true
}

// close closes the sockets that nothing needs.
func (r *responder) close() {
	for name := range r.open {
		needed := false
		for _, a := range r.answers {
			needed = needed || slices.Contains(a.Interfaces, name)
		}
		if !needed {
			delete(r.open, name)
		}
	}
}

// announce tells everybody, some times.
func (r *responder) announce(a netip.Addr) {
	r.host.world.count++
	r.rounds[a] = int(r.host.world.count)
	r.step(a, r.rounds[a], 0, 0)
}

func (r *responder) step(a netip.Addr, round, step int, after time.Duration) {
	w := r.host.world
	due := w.now.Add(after)
	if step == 0 { // sending is paced
		if r.free.After(due) {
			due = r.free
		}
		r.free = due.Add(time.Second / perSecond)
	}
	r.host.mine(due.Sub(w.now), func() {
		if r.rounds[a] != round || r.still {
			return
		}
		if r.answersOn(a) {
			w.broadcast(frame{from: r.host.name, sender: a, mac: r.mac(), target: a, request: true})
			if step > 0 && step <= announcements {
				w.broadcast(frame{from: r.host.name, mac: r.mac(), target: a, request: true})
			}
		}
		wait := reminderEvery*4/5 + w.upTo(reminderEvery*2/5) //nolint:mnd // a fifth more or less
		if step < announcements {
			wait = gap(step)
		}
		r.step(a, round, step+1, wait)
	})
}

func (r *responder) reannounce(addresses []netip.Addr) {
	for _, a := range addresses {
		if now := r.answers[a]; now != nil && now.Mode == model.Announce {
			r.announce(a)
		}
	}
}

func (r *responder) probe(addresses []netip.Addr) {
	for _, a := range addresses {
		if r.answersOn(a) {
			r.host.world.broadcast(frame{from: r.host.name, mac: r.mac(), target: a, request: true})
		}
	}
}

// quiet ends all announcements.
func (r *responder) quiet() { r.still = true }

func (r *responder) mac() model.MAC { return macOf(lan, r.host.number) }

// answersOn reports whether the address is answered or probed for on the LAN, and
// the cable is there.
func (r *responder) answersOn(a netip.Addr) bool {
	now := r.answers[a]
	return now != nil && slices.Contains(now.Interfaces, lan) && r.host.plugged(lan)
}

func (h *Host) plugged(network string) bool {
	for i := range h.interfaces {
		if h.interfaces[i].Name == network {
			return h.interfaces[i].Usable
		}
	}
	return false
}

// wants reports whether a broadcast may concern the node.
func (h *Host) wants(f *frame) bool {
	if h.kernel[f.target] || h.kernel[f.sender] {
		return true
	}
	if _, asked := h.asking(f.sender); asked {
		return true
	}
	if h.process == nil {
		return false
	}
	return h.responder.answers[f.target] != nil || f.sender.IsValid() && h.responder.answers[f.sender] != nil
}

// hear is a frame that came in by the LAN.
func (h *Host) hear(f frame) {
	if !h.plugged(lan) {
		return
	}
	if at, asked := h.asking(f.sender); asked && !h.frozen() {
		h.mine(0, func() {
			if h.world.now.Sub(at) < time.Second {
				h.machine.Answered(lan, f.mac, f.sender, h.world.now)
				h.flush()
			}
		})
	}
	if f.request && h.kernel[f.target] && f.sender != f.target {
		h.world.unicast(frame{from: h.name, sender: f.target, mac: h.responderMAC(), target: f.sender, to: f.mac})
	}
	if h.process == nil {
		return
	}
	h.mine(h.world.upTo(schedulingDelay/10), func() { h.responder.hear(f) }) //nolint:mnd // the packet path waits for nobody
}

// asking reports whether the machine has asked for an address, and when.
func (h *Host) asking(a netip.Addr) (at time.Time, asked bool) {
	if h.process == nil || !a.IsValid() {
		return at, false
	}
	at, asked = h.asked[a]
	return at, asked && h.world.now.Sub(at) < time.Second
}

func (h *Host) frozen() bool { return h.world.now.Before(h.frozenUntil) }

func (h *Host) responderMAC() model.MAC { return macOf(lan, h.number) }

func (r *responder) hear(f frame) {
	h := r.host
	if f.sender.IsValid() && f.mac != r.mac() && r.answersOn(f.sender) {
		seen := h.node.See([]model.Sighting{{Address: f.sender, MAC: f.mac, Interface: lan}}, h.machine.Snapshot(), h.world.now)
		r.reannounce(seen.Reannounce)
		if seen.Changed {
			h.soon(0)
		}
	}
	if !f.request || f.sender == f.target || !r.answersOn(f.target) {
		return
	}
	now := r.answers[f.target]
	switch {
	case now.Mode == model.Probe:
		return
	case now.Mode == model.Quiet && !f.sender.IsValid():
		return // a probe by the next owner
	case now.Mode == model.Shared && f.to != r.mac() && pick(now.Sharers, f.sender) != h.name:
		return
	}
	h.world.unicast(frame{from: h.name, sender: f.target, mac: r.mac(), target: f.sender, to: f.mac})
}

// pick is which of the nodes answers a client.
func pick(names []string, client netip.Addr) string {
	rank := func(name string) uint64 {
		h := fnv.New64a()
		_, _ = h.Write(append([]byte(name), client.AsSlice()...)) // never fails
		return h.Sum64() * 0x9e3779b97f4a7c15
	}
	return slices.MaxFunc(names, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
}

func sorted[V any](m map[netip.Addr]V) []netip.Addr {
	all := make([]netip.Addr, 0, len(m))
	for a := range m {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}
