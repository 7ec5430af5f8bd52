package members

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// Meta data of a speaker, which travels with the news that it is alive: the
// version of what speakers tell each other beyond memberlist itself, then
// whether it is ready to take addresses. What follows is for later versions.
const (
	protocol   = 1
	metaReady  = 1
	metaLength = 2
)

// roster is the set of the living. memberlist tells it of each change while
// it holds its own lock, so that nothing here may wait or call back.
type roster struct {
	changes chan struct{}
	alive   atomic.Pointer[[]string]
	ready   atomic.Pointer[[]string]

	mu      sync.Mutex
	members map[string]member
}

type member struct {
	at    netip.AddrPort
	ready bool
}

func newRoster() *roster {
	r := &roster{changes: make(chan struct{}, 1), members: map[string]member{}}
	r.alive.Store(&[]string{})
	r.ready.Store(&[]string{})
	return r
}

// NotifyJoin implements memberlist.EventDelegate.
func (r *roster) NotifyJoin(n *memberlist.Node) {
	m := member{at: endpoint(n), ready: len(n.Meta) >= metaLength && n.Meta[1]&metaReady != 0}
	r.change(func() { r.members[n.Name] = m })
}

// NotifyLeave implements memberlist.EventDelegate.
func (r *roster) NotifyLeave(n *memberlist.Node) {
	r.change(func() { delete(r.members, n.Name) })
}

// NotifyUpdate implements memberlist.EventDelegate.
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.NotifyJoin(n) }

func (r *roster) setReady(name string) {
	r.change(func() { r.members[name] = member{r.members[name].at, true} })
}

func (r *roster) change(apply func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	apply()
	alive := slices.Sorted(maps.Keys(r.members))
	ready := slices.DeleteFunc(slices.Clone(alive), func(name string) bool { return !r.members[name].ready })
	r.alive.Store(&alive)
	r.ready.Store(&ready)
	select {
	case r.changes <- struct{}{}:
	default:
	}
}

// endpoints returns where the living are.
func (r *roster) endpoints() map[string]netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]netip.AddrPort, len(r.members))
	for name, m := range r.members {
		all[name] = m.at
	}
	return all
}

func endpoint(n *memberlist.Node) netip.AddrPort {
	address, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(address.Unmap(), n.Port)
}

// delegate is what speakers tell each other. So far that is in the meta data;
// who owns what will be carried here too.
type delegate struct{ ready atomic.Bool }

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(int) []byte {
	meta := []byte{protocol, 0}
	if d.ready.Load() {
		meta[1] |= metaReady
	}
	return meta
}

// NotifyMsg implements memberlist.Delegate.
func (*delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (*delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (*delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (*delegate) MergeRemoteState([]byte, bool) {}

// NotifyAlive implements memberlist.AliveDelegate: whoever speaks another
// protocol is not let in.
func (*delegate) NotifyAlive(n *memberlist.Node) error {
	if len(n.Meta) == 0 || n.Meta[0] != protocol {
		return fmt.Errorf("speaks another membership protocol than version %d", protocol)
	}
	return nil
}

// logWriter passes memberlist's lines to slog, at debug: what matters to the
// operator is told by the speaker itself.
type logWriter struct{ logger *slog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if _, rest, ok := strings.Cut(text, "memberlist: "); ok {
		text = rest
	}
	w.logger.Debug("memberlist", "line", text)
	return len(line), nil
}

// udp is the address in the form that memberlist takes.
func udp(a netip.AddrPort) *net.UDPAddr { return net.UDPAddrFromAddrPort(a) }
