package members

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/members/keyring"
	"github.com/baliza-lb/baliza/speaker/members/socket"
	"github.com/baliza-lb/baliza/speaker/model"
)

// Config of a Members.
type Config struct {
	// Name of the Kubernetes node. No two speakers may share it.
	Name string
	// Listen is the address and port to listen on, UDP and TCP, and the one
	// that the others are told. Port 0 takes a free one.
	Listen netip.AddrPort
	// KeyFile holds the keys: base64, 32 bytes, one on each line, the first
	// for encryption. It is read again when it changes.
	KeyFile string
	// Settings, normally detection.Default().
	Settings detection.Settings
	Logger   *slog.Logger
	// LAN is how the segments of this node are reached; nil where there are none.
	LAN LAN
}

// LAN is what a Members needs to be heard on the segments of its node, beside the
// member address. No method may wait for the network.
type LAN interface {
	// Send sends a message as a frame on an interface, to one MAC or, if that is
	// zero, to all speakers there. The message is not kept.
	Send(on string, to model.MAC, message []byte) error
	// Ask asks by ARP and NDP. What answers is told to Answered.
	Ask(questions []detection.Question)
	// Received is how many frames an interface has received, ever.
	Received(on string) uint64
}

// nowhere is the LAN of a speaker without one.
type nowhere struct{}

func (nowhere) Send(string, model.MAC, []byte) error { return errors.New("no segment") }
func (nowhere) Ask([]detection.Question)             {}
func (nowhere) Received(string) uint64               { return 0 }

// Members is this speaker's membership in the set of all.
type Members struct {
	settings detection.Settings
	logger   *slog.Logger
	lan      LAN
	list     *memberlist.Memberlist
	socket   *socket.Socket
	keys     *keyring.Ring
	ring     *memberlist.Keyring // memberlist's form of keys
	hooks    *delegate
	early    chan struct{} // the next turn is due at once
	called   chan struct{} // calls are due at once
	changes  chan struct{}
	stop     context.CancelFunc
	wait     sync.WaitGroup
	once     sync.Once

	// mu guards the machine. The goroutines of run, of seek and those of
	// memberlist share it.
	mu      sync.Mutex
	machine *detection.Machine
	opened  sync.Pool // of *[]byte, for what is opened
	sealed  []byte    // for what is sent
}

// Start listens and is alone, until Seek has found others.
func Start(config Config) (*Members, error) {
	if err := config.Settings.Check(); err != nil {
		return nil, err
	}
	keys, err := readKeys(config.KeyFile)
	if err != nil {
		return nil, err
	}
	m := &Members{
		settings: config.Settings, logger: config.Logger, lan: config.LAN, keys: keyring.New(keys),
		early: make(chan struct{}, 1), called: make(chan struct{}, 1), changes: make(chan struct{}, 1),
	}
	if m.lan == nil {
		m.lan = nowhere{}
	}
	m.opened.New = func() any { b := make([]byte, 0, longestMessage); return &b }
	m.socket, err = socket.Listen(socket.Config{
		Listen: config.Listen, Magic: keyring.Magic, Message: m.datagram, Refused: m.refused, Overflowed: m.Overflowed,
	})
	if err != nil {
		return nil, explain(config.Listen, err)
	}
	now := time.Now()
	m.machine = detection.New(detection.Config{
		Name: config.Name, Address: m.socket.Address(), Incarnation: uint64(now.UnixNano()), Settings: config.Settings,
		Random: rand.Float64, Received: m.lan.Received,
	}, now)
	m.machine.SetKey(m.keys.Newest(), now)
	m.hooks = &delegate{places: map[string]netip.AddrPort{}}
	if err := m.join(config); err != nil {
		_ = m.socket.Shutdown()
		return nil, fmt.Errorf("membership: %w", err)
	}
	m.socket.Start()
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.wait.Go(func() { m.seek(ctx) })
	m.wait.Go(func() { m.run(ctx) })
	m.wait.Go(func() { m.watchKeys(ctx, config.KeyFile, keys) })
	return m, nil
}

// join makes this speaker part of the directory.
func (m *Members) join(config Config) error {
	ring, err := memberlist.NewKeyring(nil, m.keys.Keys()[0])
	if err == nil {
		err = useKeys(ring, m.keys.Keys())
	}
	if err != nil {
		return err
	}
	at := m.socket.Address()
	settings := directory()
	settings.Name, settings.Transport, settings.Keyring = config.Name, m.socket, ring
	settings.BindAddr, settings.BindPort = at.Addr().String(), int(at.Port())
	settings.AdvertiseAddr, settings.AdvertisePort = settings.BindAddr, settings.BindPort
	settings.Events, settings.Delegate, settings.Alive = m.hooks, m.hooks, m.hooks
	settings.Logger = log.New(logWriter{config.Logger}, "", 0)
	m.ring = ring
	m.list, err = memberlist.Create(settings)
	return err
}

// explain says in words why listening failed.
func explain(listen netip.AddrPort, err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "address already in use"):
		return fmt.Errorf("membership: %s is taken by another process (choose another --member-port on every node): %w", listen, err)
	case strings.Contains(text, "cannot assign requested address"):
		return fmt.Errorf("membership: %s is not an address of this node (see --member-address): %w", listen, err)
	}
	return fmt.Errorf("membership on %s: %w", listen, err)
}

// do lets the machine do something, and does what follows from that.
func (m *Members) do(something func(machine *detection.Machine, now time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	something(m.machine, time.Now())
	out := m.machine.Take()
	if len(out.Questions) > 0 {
		m.lan.Ask(out.Questions)
	}
	m.send(out.Packets)
	if out.Early {
		signal(m.early)
	}
	if out.Changed {
		signal(m.changes)
	}
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// longestMessage is how long a message can be that comes in one piece, in bytes.
const longestMessage = 2048

// send never waits for the network. The lock is held.
func (m *Members) send(packets []detection.Packet) {
	var last []byte // what m.sealed is made of: one heartbeat goes to many
	for i := range packets {
		p := &packets[i]
		if len(p.Bytes) == 0 {
			continue
		}
		if len(last) != len(p.Bytes) || &last[0] != &p.Bytes[0] {
			m.sealed, last = m.keys.Seal(m.sealed[:0], p.Bytes), p.Bytes
		}
		var err error
		if p.On != "" {
			err = m.lan.Send(p.On, p.MAC, m.sealed)
		} else {
			err = m.socket.Send(m.sealed, p.At)
		}
		if err != nil {
			m.logger.Debug("membership message not sent", "to", p.To, "interface", p.On, "error", err)
		}
	}
}

// datagram takes in a message that came to the member port.
func (m *Members) datagram(sealed []byte, from netip.AddrPort) bool {
	return m.open(sealed, detection.Way{At: from})
}

// Frame takes in a message that came as a frame. It is not kept.
func (m *Members) Frame(on string, from model.MAC, sealed []byte) {
	m.open(sealed, detection.Way{On: on, MAC: from})
}

// open reports whether a message is of somebody with the key, and takes it in if
// it is. What is not costs no lock and no memory.
func (m *Members) open(sealed []byte, way detection.Way) bool {
	if !m.keys.Accepts(sealed) {
		return false
	}
	buffer, _ := m.opened.Get().(*[]byte)
	defer m.opened.Put(buffer)
	message, err := m.keys.Open((*buffer)[:0], sealed)
	if err != nil {
		return false
	}
	m.receive(message, way)
	return true
}

// receive takes in a message of another speaker.
func (m *Members) receive(b []byte, way detection.Way) {
	m.do(func(machine *detection.Machine, now time.Time) {
		if err := machine.Receive(b, way, now); err != nil {
			m.logger.Debug("membership message dropped", "error", err, "bytes", len(b))
		}
	})
}

// Answered says who has answered for an address by ARP or NDP, or has announced
// it: see detection.Machine.
func (m *Members) Answered(on string, mac model.MAC, address netip.Addr) {
	m.do(func(machine *detection.Machine, now time.Time) { machine.Answered(on, mac, address, now) })
}

// SetSegments says which interfaces heartbeats go over, beside the member
// address.
func (m *Members) SetSegments(all []detection.Segment) {
	m.do(func(machine *detection.Machine, now time.Time) { machine.SetSegments(all, now) })
}

// refused says that no process listens where something was sent.
func (m *Members) refused(at netip.AddrPort) {
	m.do(func(machine *detection.Machine, now time.Time) { machine.Refused(at, now) })
}

// Overflowed says that the kernel has dropped messages for want of room.
func (m *Members) Overflowed() { m.do((*detection.Machine).Overflowed) }

// run gives the machine its turns until ctx ends.
func (m *Members) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.early:
		case <-timer.C:
		}
		var next time.Time
		places := m.hooks.take()
		if places != nil {
			m.socket.Expect("directory", m.listed())
		}
		m.do(func(machine *detection.Machine, now time.Time) {
			machine.Expect(places, now)
			next = machine.Turn(now)
		})
		timer.Reset(time.Until(next))
	}
}

// Address is where the others reach this speaker.
func (m *Members) Address() netip.AddrPort { return m.socket.Address() }

// Alive returns the names of the living, sorted, this speaker's own among them
// until it leaves. It must not be changed.
func (m *Members) Alive() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine.Alive()
}

// Snapshot returns what is known now. It must not be changed.
func (m *Members) Snapshot() *model.Membership {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine.Snapshot()
}

// SetReady says to all that this speaker is ready from now on.
func (m *Members) SetReady() { m.do((*detection.Machine).SetReady) }

// Changes receives after Snapshot has changed by what others said or did;
// several changes may come as one.
func (m *Members) Changes() <-chan struct{} { return m.changes }

// Hold says which addresses this speaker answers for, in any order. The
// others are told at once.
func (m *Members) Hold(addresses []netip.Addr) {
	m.do(func(machine *detection.Machine, now time.Time) { machine.Hold(addresses, now) })
}

// Cannot says which addresses this speaker cannot hold, or is about to let go, and
// which it hands to whom.
func (m *Members) Cannot(addresses []netip.Addr, successions []model.Succession) {
	m.do(func(machine *detection.Machine, now time.Time) { machine.Cannot(addresses, successions, now) })
}

// Locate says with which MACs this speaker answers, and whether it can answer on
// interfaces of these names: see detection.Machine.
func (m *Members) Locate(macs []model.MAC, links []model.Link) {
	m.do(func(machine *detection.Machine, now time.Time) { machine.Locate(macs, links, now) })
}

// Seek names all the speakers that there should be. Those that are not alive
// are called until they are, and also those that were alive before and are
// named no more, for some time.
func (m *Members) Seek(peers map[string]netip.AddrPort) {
	m.socket.Expect("cluster", peers)
	m.do(func(machine *detection.Machine, now time.Time) { machine.Seek(peers, now) })
	signal(m.called)
}

// NetworkChanged calls the lost at once: something has happened to the network.
// What others hold is taken only after they had time to answer.
func (m *Members) NetworkChanged() {
	m.do((*detection.Machine).NetworkChanged)
	signal(m.called)
}

// leaveMessages is how often a departure is said, since packets get lost.
const leaveMessages = 3

// Leave tells the others that this speaker goes, and waits up to timeout until
// that is sent. The speaker goes on listening until Close.
func (m *Members) Leave(timeout time.Duration) error {
	pause := min(timeout/leaveMessages, m.settings.Pulse)
	for range leaveMessages {
		m.do((*detection.Machine).Leave)
		time.Sleep(pause)
	}
	if err := m.list.Leave(timeout); err != nil {
		return fmt.Errorf("leave the membership: %w", err)
	}
	return nil
}

// Close stops listening. Without Leave before, the others take it for a death.
func (m *Members) Close() error {
	var err error
	m.once.Do(func() {
		m.stop()
		err = m.list.Shutdown() // which shuts the socket down
		m.wait.Wait()
	})
	if err != nil {
		return errors.Join(errors.New("close the membership"), err)
	}
	return nil
}
