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
	// Settings, normally Default().
	Settings Settings
	Logger   *slog.Logger
}

// Members is this speaker's membership in the set of all.
type Members struct {
	name     string
	settings Settings
	logger   *slog.Logger
	list     *memberlist.Memberlist
	ring     *memberlist.Keyring
	// deliver sends one packet to another speaker.
	deliver func(name string, to netip.AddrPort, packet []byte) error
	random  func() float64 // from 0 to 1
	pulse   *pulse
	hooks   *delegate
	seeker  *seeker
	address netip.AddrPort
	// incarnation is when this process started, in nanoseconds: later ones
	// of the same name count, earlier ones do not.
	incarnation uint64
	stop        context.CancelFunc
	wait        sync.WaitGroup
	once        sync.Once
}

// Start listens and is alone, until Seek has found others.
func Start(config Config) (*Members, error) {
	if err := config.Settings.check(); err != nil {
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
	now := time.Now()
	m := &Members{
		name: config.Name, settings: config.Settings, logger: config.Logger,
		pulse: newPulse(config.Name, config.Settings, now), incarnation: uint64(now.UnixNano()),
		random: rand.Float64, ring: ring,
	}
	m.hooks = &delegate{receive: m.receive, logger: config.Logger, started: make(chan struct{}), places: map[string]netip.AddrPort{}}
	settings := config.Settings.config()
	settings.Name = config.Name
	settings.BindAddr, settings.BindPort = config.Listen.Addr().String(), int(config.Listen.Port())
	settings.AdvertiseAddr, settings.AdvertisePort = settings.BindAddr, settings.BindPort
	settings.Keyring = ring
	settings.Events, settings.Delegate, settings.Alive = m.hooks, m.hooks, m.hooks
	settings.Logger = log.New(logWriter{config.Logger}, "", 0)
	if m.list, err = memberlist.Create(settings); err != nil {
		return nil, explain(config.Listen, err)
	}
	m.deliver = func(name string, to netip.AddrPort, packet []byte) error {
		return m.list.SendToAddress(memberlist.Address{Addr: to.String(), Name: name}, packet)
	}
	m.address = endpoint(m.list.LocalNode())
	m.seeker = newSeeker(m)
	close(m.hooks.started)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.wait.Go(func() { m.seeker.run(ctx) })
	m.wait.Go(func() { m.beat(ctx) })
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

// Address is where the others reach this speaker.
func (m *Members) Address() netip.AddrPort { return m.address }

// Alive returns the names of the living, sorted, this speaker's own among them
// until it leaves. It must not be changed.
func (m *Members) Alive() []string { return *m.pulse.alive.Load() }

// Ready returns the names of those of the living that have said that they are
// ready to take addresses, sorted. It must not be changed.
func (m *Members) Ready() []string { return *m.pulse.living.Load() }

// SetReady says to all that this speaker is ready from now on.
func (m *Members) SetReady() {
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	if !m.pulse.ready {
		m.pulse.ready = true
		m.publish()
		signal(m.pulse.wake)
	}
}

// Changes receives after each change of Alive, Ready or Ownership; several may
// come as one.
func (m *Members) Changes() <-chan struct{} { return m.pulse.changes }

// Seek names all the speakers that there should be. Those that are not alive
// are called until they are, and also those that were alive before and are
// named no more, for some time.
func (m *Members) Seek(peers map[string]netip.AddrPort) {
	m.expect(peers)
	m.seeker.want(peers)
}

// Nudge calls the lost at once: something has happened to the network. What
// others hold is taken only after they had time to answer.
func (m *Members) Nudge() {
	m.nudge(time.Now())
	m.seeker.nudge()
}

func (m *Members) nudge(now time.Time) {
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	m.pulse.nudged, m.pulse.doubtful = now, now.Add(m.settings.patience(m.settings.Pulse))
	for _, p := range m.pulse.detector.peers {
		if !p.alive {
			p.lost = now
		}
	}
	signal(m.pulse.wake)
}

// Lost returns where the speakers are that were lost in the last minute, or
// since the network has changed.
func (m *Members) Lost() []netip.Addr {
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	return m.pulse.detector.missing(time.Now())
}

// Leave tells the others that this speaker goes, and waits up to timeout until
// that is sent. The speaker goes on listening until Close.
func (m *Members) Leave(timeout time.Duration) error {
	m.seeker.quiet()
	m.pulse.mu.Lock()
	m.pulse.leaving = true
	m.publish()
	m.pulse.mu.Unlock()
	pause := min(timeout/farewells, m.settings.Pulse)
	for range farewells {
		signal(m.pulse.wake)
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
