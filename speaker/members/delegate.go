package members

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"

	"github.com/hashicorp/memberlist"
)

// protocol is the version of what speakers tell each other beyond memberlist
// itself. It stands in the meta data that travels with the news of a speaker.
const protocol = 4

// delegate connects memberlist with the machine. memberlist calls the event
// methods while it holds its own lock: nothing here may wait or call back.
type delegate struct {
	mu     sync.Mutex
	places map[string]netip.AddrPort // news that was not taken yet
}

// NotifyJoin implements memberlist.EventDelegate: now we know where it is.
func (d *delegate) NotifyJoin(n *memberlist.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places[n.Name] = endpoint(n)
}

// take returns where members are that were heard of since the last time.
func (d *delegate) take() map[string]netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.places) == 0 {
		return nil
	}
	taken := d.places
	d.places = map[string]netip.AddrPort{}
	return taken
}

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.NotifyJoin(n) }

// NotifyLeave implements memberlist.EventDelegate. Who is dead the
// machine decides, and who departs says so by it.
func (*delegate) NotifyLeave(*memberlist.Node) {}

// NodeMeta implements memberlist.Delegate.
func (*delegate) NodeMeta(int) []byte { return []byte{protocol} }

// NotifyMsg implements memberlist.Delegate. Nobody sends any by memberlist.
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

func endpoint(n *memberlist.Node) netip.AddrPort {
	address, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(address.Unmap(), n.Port)
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
