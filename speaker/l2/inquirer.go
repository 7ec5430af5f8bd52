package l2

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/speaker/model"
)

const (
	// watchTime is how long an answer is waited for, or any other sign of the host.
	watchTime = 2 * time.Second
	// mostWatched is for how many addresses at a time.
	mostWatched = 512
)

// Question is one for the MAC of the host that has an address.
type Question struct {
	On     string
	Target netip.Addr
	// MAC is whom alone an ARP request goes to; the zero MAC is everybody. A neighbor
	// solicitation goes to the target's group, which few hear.
	MAC model.MAC
}

// Asker is an interface from which questions are asked, with the addresses of this
// node on it that can be answered to: see usableSource.
type Asker struct {
	Interface
	Addrs []netip.Prefix
}

// Inquirer asks, in the name of this node, as its kernel would, but at once: a kernel
// that could not reach a neighbor asks for it once a second only, and what waits for
// the answer waits as long. Each kernel that is asked, and that gets the answer, knows
// the other from then on. What answers, or announces itself within watchTime of the
// question, is told.
//
// It costs nothing at rest: while nothing is asked the kernel's filters let nothing
// through. All its methods may be called from any goroutine.
type Inquirer struct {
	told func(on string, mac model.MAC, address netip.Addr)
	// watched says until when which addresses are of interest. It is never changed
	// once it is in use.
	watched atomic.Pointer[map[netip.Addr]time.Time]

	mu     sync.Mutex
	askers map[string]*asking
	sender sender
	spans  []span
	six    *advertisements // nil before it is needed
	timer  *time.Timer
	closed bool
	wait   sync.WaitGroup
}

// asking is an interface in use.
type asking struct {
	Asker
	conn *packet.Conn // for ARP
}

// NewInquirer has no socket open. It tells what it hears from goroutines of its own.
func NewInquirer(told func(on string, mac model.MAC, address netip.Addr)) *Inquirer {
	i := &Inquirer{told: told, askers: map[string]*asking{}}
	i.watched.Store(&map[netip.Addr]time.Time{})
	return i
}

// Use says which interfaces there are. It returns what is in the way; that is tried
// again with the next call.
func (i *Inquirer) Use(all []Asker) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	old := i.askers
	i.askers = make(map[string]*asking, len(all))
	var failed []error
	for _, one := range all {
		a := &asking{Asker: one}
		before := old[one.Name]
		if before != nil && before.Index == one.Index && before.Epoch == one.Epoch && slices.Equal(before.MAC, one.MAC) {
			a.conn = before.conn
			delete(old, one.Name)
		} else if err := i.listen(a); err != nil {
			failed = append(failed, fmt.Errorf("interface %s: answers to ARP requests are not heard: %w", one.Name, explain(err)))
			continue
		}
		i.askers[one.Name] = a
	}
	for _, a := range old {
		_ = a.conn.Close()
	}
	return errors.Join(failed...)
}

// listen opens an interface's socket for ARP.
func (i *Inquirer) listen(a *asking) error {
	filter, err := filterARP(a.Index, i.spans, arpSender)
	if err != nil {
		return err
	}
	a.conn, err = packet.Listen(a.device(), packet.Raw, etherTypeARP, &packet.Config{Filter: filter})
	if err != nil {
		return err
	}
	raw, err := a.conn.SyscallConn()
	if err != nil {
		_ = a.conn.Close()
		return err
	}
	i.wait.Go(func() { i.readARP(a.Interface, raw) })
	return nil
}

// readARP tells whose address stands as the sender's in an ARP packet, until the
// socket is closed.
func (i *Inquirer) readARP(on Interface, raw syscall.RawConn) {
	buffer := make([]byte, maxFrame)
	var n int
	var failed error
	read := func(fd uintptr) bool {
		n, failed = unix.Read(int(fd), buffer)
		return !errors.Is(failed, unix.EAGAIN)
	}
	for raw.Read(read) == nil {
		if failed != nil {
			time.Sleep(time.Millisecond) // as when the interface is down
			continue
		}
		if address, mac, ok := senderOf(buffer[:n]); ok && i.watches(address) {
			i.told(on.Name, mac, address)
		}
	}
}

// senderOf is that of an ARP packet which has passed the filter.
func senderOf(frame []byte) (address netip.Addr, mac model.MAC, ok bool) {
	if len(frame) < arpFrame {
		return address, mac, false
	}
	mac = model.MACOf(frame[ethernetHeader+8:])
	return netip.AddrFrom4([4]byte(frame[arpSender : arpSender+4])), mac, individual(mac[:])
}

func (i *Inquirer) watches(a netip.Addr) bool {
	until, watched := (*i.watched.Load())[a]
	return watched && time.Now().Before(until)
}

// Ask asks at once. What cannot be sent is not told: no answer comes.
func (i *Inquirer) Ask(questions []Question) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return
	}
	i.watch(questions, time.Now())
	for _, q := range questions {
		a := i.askers[q.On]
		if a == nil {
			continue
		}
		frame, err := a.question(q.Target.WithZone(""))
		if err == nil && frame != nil {
			if q.Target.Is4() && q.MAC != (model.MAC{}) {
				copy(frame, q.MAC[:])
			}
			_ = i.sender.send(a.Index, frame)
		}
	}
}

// watch opens the filters for what is asked, and closes them for what was asked too
// long ago.
func (i *Inquirer) watch(questions []Question, now time.Time) {
	next := maps.Clone(*i.watched.Load())
	maps.DeleteFunc(next, func(_ netip.Addr, until time.Time) bool { return !now.Before(until) })
	for _, q := range questions {
		target := q.Target.WithZone("")
		if _, known := next[target]; known || len(next) < mostWatched {
			next[target] = now.Add(watchTime)
		}
	}
	i.watched.Store(&next)
	var v4 []netip.Addr
	v6 := false
	for a := range next {
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = true
		}
	}
	if spans := spansOf(v4); !slices.Equal(spans, i.spans) {
		i.spans = spans
		for _, a := range i.askers {
			if filter, err := filterARP(a.Index, spans, arpSender); err == nil {
				_ = a.conn.SetBPF(filter) // fails when the interface goes, and a new one gets it
			}
		}
	}
	i.hear(v6)
	if len(next) > 0 && i.timer == nil {
		i.timer = time.AfterFunc(watchTime, i.rest)
	}
}

// rest closes the filters when nothing is waited for any more.
func (i *Inquirer) rest() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer = nil
	if !i.closed {
		i.watch(nil, time.Now())
	}
}

// question makes the frame of one, or nil where there is no address to ask from.
func (a *Asker) question(target netip.Addr) ([]byte, error) {
	source := usableSource(a.Addrs, target)
	switch {
	case source.IsValid():
		return neighborRequest(&a.Interface, source, target)
	case target.Is4():
		// As a probe (RFC 5227): a kernel would not answer one from another subnet.
		return probe(&a.Interface, target)
	}
	return nil, nil
}

// usableSource is the address from which a question is asked: one in the subnet of
// the target, for IPv6 else a link-local one, else any. It is not valid if there is
// none.
func usableSource(addrs []netip.Prefix, target netip.Addr) netip.Addr {
	var source netip.Addr
	best := 0
	for _, p := range addrs {
		rank := 0
		switch a := p.Addr(); {
		case a.Is4() != target.Is4() || a == target:
		case p.Bits() < a.BitLen() && p.Masked().Contains(target):
			rank = 3
		case a.Is4():
		case a.IsLinkLocalUnicast():
			rank = 2
		default:
			rank = 1
		}
		if rank > best {
			best, source = rank, p.Addr()
		}
	}
	return source
}

// Close ends it.
func (i *Inquirer) Close() {
	_ = i.Use(nil)
	i.mu.Lock()
	i.closed = true
	i.sender.close()
	if i.six != nil {
		_ = i.six.conn.Close()
	}
	if i.timer != nil {
		i.timer.Stop()
	}
	i.mu.Unlock()
	i.wait.Wait()
}

// advertisements is a raw socket that hears neighbor advertisements on all
// interfaces, while some are waited for. Other than a packet socket it has the kernel
// look at ICMPv6 alone, and not at each IPv6 packet.
type advertisements struct {
	conn    *net.IPConn
	hearing bool
}

// neighborAdvertisementOf reads what came to the raw socket: the address that is
// advertised, and the MAC.
func neighborAdvertisementOf(body []byte) (address netip.Addr, mac model.MAC, ok bool) {
	parsed, err := ndp.ParseMessage(body)
	message, is := parsed.(*ndp.NeighborAdvertisement)
	if err != nil || !is {
		return address, mac, false
	}
	for _, option := range message.Options {
		if a, is := option.(*ndp.LinkLayerAddress); is && a.Direction == ndp.Target && individual(a.Addr) {
			return message.TargetAddress, model.MACOf(a.Addr), true
		}
	}
	return address, mac, false
}
