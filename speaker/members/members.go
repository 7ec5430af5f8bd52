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
}

// Members is this speaker's membership in the set of all.
type Members struct {
	settings detection.Settings
	logger   *slog.Logger
	list     *memberlist.Memberlist
	ring     *memberlist.Keyring
	hooks    *delegate
	address  netip.AddrPort
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
	ring, err := memberlist.NewKeyring(nil, keys[0])
	if err == nil {
		err = useKeys(ring, keys)
	}
	if err != nil {
		return nil, fmt.Errorf("membership: %w", err)
	}
	m := &Members{
		settings: config.Settings, logger: config.Logger, ring: ring,
		early: make(chan struct{}, 1), called: make(chan struct{}, 1), changes: make(chan struct{}, 1),
	}
	m.hooks = &delegate{receive: m.receive, started: make(chan struct{}), places: map[string]netip.AddrPort{}}
	settings := directory()
	settings.Name = config.Name
	settings.BindAddr, settings.BindPort = config.Listen.Addr().String(), int(config.Listen.Port())
	settings.AdvertiseAddr, settings.AdvertisePort = settings.BindAddr, settings.BindPort
	settings.Keyring = ring
	settings.Events, settings.Delegate, settings.Alive = m.hooks, m.hooks, m.hooks
	settings.Logger = log.New(logWriter{config.Logger}, "", 0)
	if m.list, err = memberlist.Create(settings); err != nil {
		return nil, explain(config.Listen, err)
	}
	m.address = endpoint(m.list.LocalNode())
	now := time.Now()
	m.machine = detection.New(detection.Config{
		Name: config.Name, Address: m.address, Incarnation: uint64(now.UnixNano()), Settings: config.Settings, Random: rand.Float64,
	}, now)
	close(m.hooks.started)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.wait.Go(func() { m.seek(ctx) })
	m.wait.Go(func() { m.run(ctx) })
	m.wait.Go(func() { watchKeys(ctx, config.KeyFile, keys, ring, config.Logger) })
	return m, nil
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
	for _, p := range out.Packets {
		m.send(p)
	}
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

// send never waits for the network. The lock is held.
func (m *Members) send(p detection.Packet) {
	if p.On != "" {
		return
	}
	if err := m.list.SendToAddress(memberlist.Address{Addr: p.At.String(), Name: p.To}, p.Bytes); err != nil {
		m.logger.Debug("membership message not sent", "to", p.To, "error", err)
	}
}

// receive takes in a message of another speaker.
func (m *Members) receive(b []byte) {
	m.do(func(machine *detection.Machine, now time.Time) {
		if err := machine.Receive(b, detection.Way{}, now); err != nil {
			m.logger.Debug("membership message dropped", "error", err, "bytes", len(b))
		}
	})
}

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
		m.do(func(machine *detection.Machine, now time.Time) {
			machine.Expect(m.hooks.take(), now)
			next = machine.Turn(now)
		})
		timer.Reset(time.Until(next))
	}
}

// Address is where the others reach this speaker.
func (m *Members) Address() netip.AddrPort { return m.address }

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
		err = m.list.Shutdown()
		m.wait.Wait()
	})
	if err != nil {
		return errors.Join(errors.New("close the membership"), err)
	}
	return nil
}
