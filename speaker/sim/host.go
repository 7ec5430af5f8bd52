package sim

import (
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/members/keyring"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
)

// Times of a process.
const (
	// minCoalesce is the speaker's: how long changes of the cluster are gathered.
	minCoalesce = 10 * time.Millisecond
	// resyncPeriod likewise: how often everything is looked at without a cause.
	resyncPeriod = 10 * time.Second
	// schedulingDelay is how late a process runs that is not held up, at most.
	schedulingDelay = 2 * time.Millisecond
)

// memberPort is where speakers talk to each other.
const memberPort = 7946

// Host is a node: a kernel with interfaces, and a process, the speaker, unless it
// is dead.
type Host struct {
	world      *World
	name       string
	number     int
	interfaces []model.Interface
	// kernel are the addresses that the kernel answers for.
	kernel map[netip.Addr]bool
	view   view
	// frozenUntil is when the process runs again, and wall how far the node's
	// clock is off.
	frozenUntil time.Time
	wall        time.Duration
	// noUDP says that no packet of the others gets through its firewall, noFrames
	// that its network drops the frames that speakers send each other; overflow is
	// the part of the packets that its socket drops.
	noUDP, noFrames bool
	overflow        float64
	// received are the frames that came in, by network.
	received map[string]uint64
	// refuse says that no socket can be opened.
	refuse bool
	// keys are those of the membership, the first encrypts.
	keys []string
	// forwards is when its proxy has the rules for what it is to serve.
	forwards time.Time
	// recorded are packets that the node sent while somebody recorded them.
	record   bool
	recorded []recording

	*process
}

type recording struct {
	at    time.Time
	to    string
	bytes []byte
	key   uint32
}

// process is a speaker while it runs. What is scheduled for one does nothing once
// it has ended.
type process struct {
	machine   *detection.Machine
	node      *node.Node
	responder *responder
	config    detection.Config
	ring      *keyring.Ring
	turns     int // a turn that was planned before another is void
	pass      time.Time
	passes    int
	checks    int       // questions to the proxy that were put before others are void
	busyUntil time.Time // with the last pass
	leaving   bool
	seenLinks []model.Interface
	served    map[string]bool          // what the proxy has said
	asked     map[netip.Addr]time.Time // by the machine
	status    node.Result
}

func newHost(w *World, number int) *Host {
	h := &Host{
		world: w, name: nodeName(number), number: number, kernel: map[netip.Addr]bool{}, received: map[string]uint64{}, keys: []string{"first"},
	}
	networks := []string{lan}
	if w.second {
		networks = append(networks, backbone)
	}
	for i, name := range networks {
		a := own(name, number)
		h.interfaces = append(h.interfaces, model.Interface{
			Name: name, Index: i + 2, MAC: macOf(name, number), Usable: true, Suitable: true,
			Addrs: []netip.Prefix{netip.PrefixFrom(a, 15)}, //nolint:mnd // the Services, too
		})
		h.has(a)
	}
	h.view.host = h
	return h
}

// has gives the kernel an address.
func (h *Host) has(a netip.Addr) {
	h.kernel[a] = true
	h.world.interest.add(a, h)
}

// Name of the node.
func (h *Host) Name() string { return h.name }

// Alive reports whether its speaker runs.
func (h *Host) Alive() bool { return h.process != nil }

// memberNetwork is the one over which the speakers talk.
func (w *World) memberNetwork() string {
	if w.second {
		return backbone
	}
	return lan
}

// Start starts the speaker.
func (h *Host) Start() {
	w := h.world
	at := netip.AddrPortFrom(own(w.memberNetwork(), h.number), memberPort)
	config := detection.Config{
		Name: h.name, Address: at, Incarnation: uint64(w.now.Add(h.wall).UnixNano()), Settings: w.settings, Random: w.random.Float64,
		Received: func(on string) uint64 { return h.received[on] + w.wires[on].flooded },
	}
	h.process = &process{
		machine: detection.New(config, w.now), ring: keyring.New(secrets(h.keys)), node: node.New(node.Config{Name: h.name}), config: config,
		seenLinks: h.interfaces, served: map[string]bool{},
	}
	h.responder = newResponder(h)
	h.asked = map[netip.Addr]time.Time{}
	h.machine.SetKey(h.ring.Newest(), w.now)
	h.view = w.Cluster.read(h)
	h.setSegments()
	w.Cluster.introduce(h.name, at)
	h.seek()
	h.turn(w.upTo(schedulingDelay))
	h.soon(0)
	h.every(resyncPeriod, func() { h.soon(0) })
}

// Kill ends the speaker's process without a word.
func (h *Host) Kill() { h.process = nil }

// Leave is SIGTERM: the others are told, and the address is answered for while
// they take over.
func (h *Host) Leave() {
	if h.process == nil {
		return
	}
	h.leaving = true
	h.responder.quiet()
	for i := range 3 {
		h.mine(time.Duration(i)*h.world.settings.Pulse, func() {
			h.machine.Leave(h.world.now)
			h.flush()
		})
	}
	h.mine(800*time.Millisecond, h.Kill) //nolint:mnd // the default of --shutdown-grace-period
}

// mine has something done after a time by the process that runs now: not while it
// stands still, and not after its end.
func (h *Host) mine(after time.Duration, do func()) {
	p := h.process
	var run func()
	run = func() {
		switch {
		case h.process != p:
		case h.world.now.Before(h.frozenUntil):
			h.world.at(h.frozenUntil.Add(h.world.upTo(schedulingDelay)), run)
		default:
			do()
		}
	}
	h.world.after(after, run)
}

func (h *Host) every(period time.Duration, do func()) {
	h.mine(period, func() {
		do()
		h.every(period, do)
	})
}

// seek tells the membership who there should be.
func (h *Host) seek() {
	if h.process != nil {
		h.machine.Seek(h.view.current.Peers, h.world.now)
		h.flush()
	}
}

// flush does what the machine wants done.
func (h *Host) flush() {
	out := h.machine.Take()
	for rest := out.Packets; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].On == rest[0].On && &rest[n].Bytes[0] == &rest[0].Bytes[0] {
			n++
		}
		h.send(rest[:n])
		rest = rest[n:]
	}
	for _, q := range out.Questions {
		h.question(q)
	}
	if out.Early {
		h.turn(h.world.upTo(schedulingDelay))
	}
	if out.Changed {
		h.soon(0)
	}
}

// turn is the next of the machine's.
func (h *Host) turn(after time.Duration) {
	h.turns++
	turn := h.turns
	h.mine(after, func() {
		if turn != h.turns {
			return
		}
		h.ring.Turn(h.world.now, h.machine.AllHave)
		next := h.machine.Turn(h.world.now)
		h.turn(next.Sub(h.world.now))
		h.flush()
	})
}

// send sends one message to other speakers: all by UDP, or all as frames by one
// interface.
func (h *Host) send(all []detection.Packet) {
	w := h.world
	sent := &message{bytes: all[0].Bytes, key: h.ring.Sending()}
	d := &delivery{world: w, from: h.name, arrivals: make([]arrival, 0, len(all))}
	for i := range all {
		p := &all[i]
		w.Stats.note(p)
		if h.record {
			h.recorded = append(h.recorded, recording{w.now, p.To, p.Bytes, sent.key})
		}
		if p.On != "" {
			h.addFrames(d, p)
		} else if to, network := w.byName[p.To], w.memberNetwork(); to != nil && h.reaches(network) {
			d.add(w.wires[network], to, p)
		}
	}
	by := detection.Way{At: h.config.Address}
	d.arrive = func(a *arrival) { h.arriveUDP(a, sent, by) }
	if on := all[0].On; on != "" {
		by = detection.Way{On: on, MAC: macOf(on, h.number)}
		d.arrive = func(a *arrival) { a.to.arriveFrame(sent, by) }
	}
	d.depart()
}

// arriveUDP is the arrival of a UDP packet of this node's at another.
func (h *Host) arriveUDP(a *arrival, sent *message, by detection.Way) {
	w, to, network := h.world, a.to, h.world.memberNetwork()
	switch {
	case !to.reaches(network):
	case to.process == nil && !to.noUDP:
		w.wires[network].travel(to.name, h.name, func() { h.told(a.packet.At) })
	case to.process == nil || to.noUDP:
	case to.overflow > 0 && w.random.Float64() < to.overflow:
		to.mine(0, func() { to.machine.Overflowed(w.now) })
	default:
		to.received[network]++
		to.receive(sent, by)
	}
}

// told is the word of another kernel that no process listens.
func (h *Host) told(at netip.AddrPort) {
	if h.process != nil {
		h.mine(0, func() { h.machine.Refused(at, h.world.now) })
	}
}

// addFrames plans a frame of the speakers' own to one, or to all on a network.
func (h *Host) addFrames(d *delivery, p *detection.Packet) {
	w := h.world
	if !h.plugged(p.On) {
		return
	}
	n := w.wires[p.On]
	if p.MAC != (model.MAC{}) {
		if to := w.byMAC[p.MAC]; to != nil && to != h && p.MAC == macOf(p.On, to.number) {
			d.add(n, to, p)
		}
		return
	}
	for _, to := range w.nodes {
		if to != h {
			d.add(n, to, p)
		}
	}
}

// arriveFrame is the arrival of a frame of another speaker's.
func (h *Host) arriveFrame(sent *message, by detection.Way) {
	if h.plugged(by.On) && !h.noFrames {
		h.received[by.On]++
		h.receive(sent, by)
	}
}

// question asks on a network for an address.
func (h *Host) question(q detection.Question) {
	h.asked[q.Target] = h.world.now
	h.world.interest.add(q.Target, h)
	if q.On != lan {
		return // nobody but kernels is there, which the machine hears
	}
	if !h.plugged(lan) {
		return
	}
	f := frame{from: h.name, sender: own(lan, h.number), mac: macOf(lan, h.number), target: q.Target, request: true, to: q.MAC}
	if f.to == (model.MAC{}) {
		h.world.broadcast(f)
	} else {
		h.world.unicast(f)
	}
}

// setSegments tells the machine over which interfaces it is to send.
func (h *Host) setSegments() {
	var all []detection.Segment
	for _, on := range node.Relevant(h.interfaces, h.view.current.Config) {
		one := detection.Segment{Name: on.Name, MAC: on.MAC, Addrs: on.Addrs}
		if on.Name == lan && len(h.world.clients) > 0 && !h.world.noGateway {
			one.Gateways = []netip.Addr{h.world.clients[0].address}
		}
		all = append(all, one)
	}
	h.machine.SetSegments(all, h.world.now)
}

// reaches reports whether the interface on a network has its cable and the
// address by which this node is known.
func (h *Host) reaches(network string) bool {
	for i := range h.interfaces {
		if on := &h.interfaces[i]; on.Name == network {
			return on.Usable && len(on.Addrs) > 0 && on.Addrs[0].Addr() == own(network, h.number)
		}
	}
	return false
}

// receive takes in a message of another speaker. What comes while the process
// stands still waits in its socket.
func (h *Host) receive(sent *message, by detection.Way) {
	switch {
	case h.process == nil:
	case h.frozen():
		h.mine(0, func() { h.take(sent, by) })
	default:
		h.take(sent, by)
	}
}

func (h *Host) take(sent *message, by detection.Way) {
	if !h.ring.Opens(sent.key) {
		return
	}
	if m, err := sent.parse(); err == nil {
		h.machine.Accept(m, by, h.world.now)
		h.flush()
	}
}

// soon has a pass, after some time or earlier if one is due.
func (h *Host) soon(after time.Duration) {
	if h.process == nil {
		return
	}
	at := h.world.now.Add(after + h.world.upTo(schedulingDelay))
	if at.Before(h.busyUntil) {
		at = h.busyUntil
	}
	if h.pass.After(h.world.now) && !h.pass.After(at) {
		return
	}
	h.passes++
	number := h.passes
	h.pass = at
	h.mine(at.Sub(h.world.now), func() {
		if number == h.passes && !h.leaving {
			h.look()
		}
	})
}

// look is the speaker's pass: the machine decides, and it is carried out in the
// order that node.Output and node.Result prescribe.
func (h *Host) look() {
	w := h.world
	w.Stats.Passes++
	h.busyUntil = w.now.Add(time.Duration(len(w.Cluster.addresses)+len(w.nodes)) * w.passTime)
	h.linksChanged() // before the membership is asked: see speaker.pass
	in := node.Input{
		Now: w.now, Cluster: h.view.current, Members: h.machine.Snapshot(), Interfaces: h.interfaces,
		Local: node.LocalAddresses(h.interfaces), Served: h.served,
	}
	out := h.node.Step(in)
	h.check(out.Checks)
	h.machine.Locate(out.MACs, out.Links, w.now)
	if out.Ready {
		h.machine.SetReady(w.now)
	}
	if out.Acting {
		problems := h.responder.apply(out.Answers)
		h.responder.probe(out.Probes)
		h.responder.reannounce(out.Reannounce)
		h.status = h.node.Done(node.Applied{Now: w.now, Held: h.responder.held, Problems: problems})
		h.machine.Cannot(h.status.Unable, h.status.Successions, w.now)
		h.machine.Hold(h.status.Claims, w.now)
	}
	h.flush()
	if out.Again > 0 {
		h.soon(out.Again)
	}
}

// SetLink changes an interface, as the kernel does, and the speaker is told.
func (h *Host) SetLink(name string, change func(*model.Interface)) {
	all := make([]model.Interface, len(h.interfaces))
	copy(all, h.interfaces)
	for i := range all {
		if all[i].Name == name {
			change(&all[i])
		}
	}
	h.interfaces = all
	h.world.countUnplugged()
	if h.process == nil {
		return
	}
	h.mine(h.world.upTo(schedulingDelay), func() {
		h.setSegments()
		if h.linksChanged() {
			h.flush()
			h.soon(0)
		}
	})
}

// linksChanged tells the membership of a change of the interfaces that matters.
func (h *Host) linksChanged() bool {
	relevant := node.Relevant(h.interfaces, h.view.current.Config)
	if node.SameLinks(relevant, h.seenLinks) {
		return false
	}
	h.seenLinks = relevant
	h.machine.NetworkChanged(h.world.now)
	return true
}

// check asks the node's proxy, as often as it takes.
func (h *Host) check(all []model.Check) {
	h.checks++
	number := h.checks
	if len(all) == 0 {
		return
	}
	const every = 20 * time.Millisecond
	h.mine(every, func() {
		switch {
		case number != h.checks:
		case h.world.now.Before(h.forwards):
			h.check(all)
		default:
			for _, one := range all {
				h.served[one.Service] = true
			}
			h.soon(0)
		}
	})
}

// setKeys replaces those of the node's file.
func (h *Host) setKeys(keys []string) {
	h.keys = keys
	if h.process != nil {
		h.ring.Replace(secrets(keys), h.world.now)
		h.machine.SetKey(h.ring.Newest(), h.world.now)
		h.flush()
	}
}

// secrets are keys of the right length.
func secrets(names []string) (all [][]byte) {
	for _, name := range names {
		sum := sha256.Sum256([]byte(name))
		all = append(all, sum[:])
	}
	return all
}

// Freeze stops the process for some time.
func (h *Host) Freeze(d time.Duration) { h.frozenUntil = h.world.now.Add(d) }
