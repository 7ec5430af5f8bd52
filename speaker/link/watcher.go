package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// settle is how long the watcher gathers events that belong together
	// before it publishes: an interface that comes up sends several.
	settle = time.Millisecond
	// retry is the pause before events are subscribed to again after the
	// kernel dropped some.
	retry = 20 * time.Millisecond
	// receiveBuffer of each netlink socket, in bytes: some thousand events.
	receiveBuffer = 1 << 20
)

// Watcher keeps the Snapshot current.
type Watcher struct {
	logger  *slog.Logger
	latest  atomic.Pointer[Snapshot]
	changes chan struct{}

	// owned by the goroutine of Run
	links  map[int]netlink.Link
	addrs  map[int]map[netip.Prefix]int // the kernel's flags
	epochs map[string]epoch
	next   uint64
	exits  exits
}

// epoch is what an Interface's Epoch was last given for.
type epoch struct {
	number uint64
	index  int
	mac    string
	usable bool
}

// New lists the interfaces once, so that Snapshot is never empty for want of
// time. Run must be called to follow them.
func New(logger *slog.Logger) (*Watcher, error) {
	w := &Watcher{logger: logger, changes: make(chan struct{}, 1), epochs: map[string]epoch{}}
	if err := w.list(); err != nil {
		return nil, err
	}
	w.publish()
	return w, nil
}

// Snapshot is the latest state. It must not be changed.
func (w *Watcher) Snapshot() *Snapshot { return w.latest.Load() }

// Changes receives after each change of the Snapshot; several changes may
// come as one.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Run follows the kernel's events until ctx ends. It must be called from the
// network namespace to be watched, once.
func (w *Watcher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.follow(ctx); err != nil && ctx.Err() == nil {
			w.logger.Warn("interface events interrupted, listing all interfaces again", "error", err)
			pause(ctx, retry)
		}
	}
}

// follow subscribes, lists, and applies events until one of them is lost.
func (w *Watcher) follow(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	links, addrs := make(chan netlink.LinkUpdate, 256), make(chan netlink.AddrUpdate, 256)
	routes := make(chan netlink.RouteUpdate, 256)
	failed := make(chan error, 1)
	onError := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	// The subscription's goroutine ends by itself only when its channel is
	// read: let go of what it still wants to send.
	defer func() { go drain(links); go drain(addrs); go drain(routes) }()
	linkOptions := netlink.LinkSubscribeOptions{ErrorCallback: onError, ReceiveBufferSize: receiveBuffer}
	if err := netlink.LinkSubscribeWithOptions(links, done, linkOptions); err != nil {
		close(links)
		close(addrs)
		close(routes)
		return fmt.Errorf("subscribe to interface events: %w", err)
	}
	addrOptions := netlink.AddrSubscribeOptions{ErrorCallback: onError, ReceiveBufferSize: receiveBuffer}
	if err := netlink.AddrSubscribeWithOptions(addrs, done, addrOptions); err != nil {
		close(addrs)
		close(routes)
		return fmt.Errorf("subscribe to address events: %w", err)
	}
	routeOptions := netlink.RouteSubscribeOptions{ErrorCallback: onError, ReceiveBufferSize: receiveBuffer}
	if err := netlink.RouteSubscribeWithOptions(routes, done, routeOptions); err != nil {
		close(routes)
		return fmt.Errorf("subscribe to route events: %w", err)
	}
	if err := w.list(); err != nil {
		return err
	}
	w.publish()
	return w.apply(ctx, links, addrs, routes, failed)
}

func (w *Watcher) apply(
	ctx context.Context, links <-chan netlink.LinkUpdate, addrs <-chan netlink.AddrUpdate, routes <-chan netlink.RouteUpdate, failed <-chan error,
) error {
	var publish <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case update, ok := <-links:
			if !ok {
				return errors.New("interface events ended")
			}
			w.applyLink(update)
		case update, ok := <-addrs:
			if !ok {
				return errors.New("address events ended")
			}
			w.applyAddr(update)
		case update, ok := <-routes:
			if !ok {
				return errors.New("route events ended")
			}
			if !isDefault(&update.Route) {
				continue
			}
			w.exits.stale = true
		case <-publish:
			publish = nil
			w.publish()
			continue
		}
		if publish == nil {
			publish = time.After(settle)
		}
	}
}

func (w *Watcher) applyLink(update netlink.LinkUpdate) {
	// A bridge tells of its ports, too, in its own family: without their kind, and
	// of one that leaves it as if that came to its end.
	if update.Family != unix.AF_UNSPEC {
		return
	}
	index := update.Attrs().Index
	w.exits.note(index)
	if update.Header.Type == unix.RTM_DELLINK {
		delete(w.links, index)
		delete(w.addrs, index)
		return
	}
	w.links[index] = update.Link
	w.noteEpoch(update.Link)
}

// noteEpoch sees to it that a flap which is over before it is published is
// still noticed.
func (w *Watcher) noteEpoch(l netlink.Link) {
	attributes := l.Attrs()
	if known, ok := w.epochs[attributes.Name]; ok && !up(attributes) {
		known.usable = false
		w.epochs[attributes.Name] = known
	}
}

func (w *Watcher) applyAddr(update netlink.AddrUpdate) {
	w.exits.note(update.LinkIndex)
	prefix, ok := toPrefix(update.LinkAddress)
	if !ok {
		return
	}
	of := w.addrs[update.LinkIndex]
	if !update.NewAddr {
		delete(of, prefix)
		return
	}
	if of == nil {
		of = map[netip.Prefix]int{}
		w.addrs[update.LinkIndex] = of
	}
	of[prefix] = update.Flags
}

// list replaces the whole state by what the kernel has now.
func (w *Watcher) list() error {
	links, err := again(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	addrs, err := again(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	w.exits.stale = true
	w.links, w.addrs = make(map[int]netlink.Link, len(links)), map[int]map[netip.Prefix]int{}
	for _, l := range links {
		w.links[l.Attrs().Index] = l
		w.noteEpoch(l)
	}
	for _, a := range addrs {
		w.applyAddr(netlink.AddrUpdate{LinkAddress: *a.IPNet, LinkIndex: a.LinkIndex, Flags: a.Flags, NewAddr: true})
	}
	return nil
}

// again repeats a listing that was interrupted by a change.
func again[T any](list func() ([]T, error)) ([]T, error) {
	const attempts = 5
	var items []T
	var err error
	for range attempts {
		if items, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil // what was listed is usable, and the events mend the rest
	}
	return items, err
}

// publish makes a Snapshot of the state and tells the reader if it differs.
func (w *Watcher) publish() {
	s := &Snapshot{Interfaces: make([]Interface, 0, len(w.links)), Gateways: w.listGateways()}
	ports := map[int][]netlink.Link{} // by master
	for _, l := range w.links {
		if master := l.Attrs().MasterIndex; master != 0 {
			ports[master] = append(ports[master], l)
		}
	}
	for index, l := range w.links {
		s.Interfaces = append(s.Interfaces, w.build(index, l, ports[index]))
	}
	slices.SortFunc(s.Interfaces, func(a, b Interface) int { return cmp.Compare(a.Name, b.Name) })
	maps.DeleteFunc(w.epochs, func(name string, _ epoch) bool { _, found := s.Interface(name); return !found })
	same := func(a, b Interface) bool { return a.equal(&b) }
	if old := w.latest.Load(); old != nil && old.Gateways == s.Gateways && slices.EqualFunc(old.Interfaces, s.Interfaces, same) {
		return
	}
	w.latest.Store(s)
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

func (w *Watcher) build(index int, l netlink.Link, ports []netlink.Link) Interface {
	attributes := l.Attrs()
	i := Interface{
		Name: attributes.Name, Index: index, MAC: slices.Clone(attributes.HardwareAddr), Kind: l.Type(),
		Master: attributes.MasterIndex, Up: up(attributes),
	}
	i.Addrs = slices.SortedFunc(maps.Keys(w.addrs[index]), netip.Prefix.Compare)
	for _, prefix := range i.Addrs {
		i.States = append(i.States, stateOf(w.addrs[index][prefix]))
	}
	t := traits{
		ethernet: attributes.EncapType == "ether", broadcast: attributes.RawFlags&unix.IFF_BROADCAST != 0,
		loopback: attributes.RawFlags&unix.IFF_LOOPBACK != 0, pointToPoint: attributes.RawFlags&unix.IFF_POINTOPOINT != 0,
		noARP: attributes.RawFlags&unix.IFF_NOARP != 0,
	}
	if master := w.links[i.Master]; i.Master != 0 && master != nil {
		t.masterKind = master.Type()
	}
	switch i.Kind {
	case "bridge":
		for _, port := range ports {
			t.portKinds = append(t.portKinds, port.Type())
		}
	case "bond", "team":
		i.Ports = portMACs(i.MAC, ports)
	}
	judge(&i, t)
	i.Epoch = w.epochOf(&i)
	return i
}

func (w *Watcher) epochOf(i *Interface) uint64 {
	now := epoch{number: w.epochs[i.Name].number, index: i.Index, mac: i.MAC.String(), usable: i.Usable}
	if before, known := w.epochs[i.Name]; !known || before.index != now.index || before.mac != now.mac || now.usable && !before.usable {
		w.next++
		now.number = w.next
	}
	w.epochs[i.Name] = now
	return now.number
}

// portMACs are those of a bond's ports but its own, sorted: what they have now and
// what they were made with, which they get back when they leave it.
func portMACs(own net.HardwareAddr, ports []netlink.Link) []net.HardwareAddr {
	var all []net.HardwareAddr
	for _, port := range ports {
		for _, mac := range []net.HardwareAddr{port.Attrs().HardwareAddr, port.Attrs().PermHWAddr} {
			if len(mac) == 6 && !slices.Equal(mac, own) {
				all = append(all, slices.Clone(mac))
			}
		}
	}
	slices.SortFunc(all, func(a, b net.HardwareAddr) int { return slices.Compare(a, b) })
	return slices.CompactFunc(all, func(a, b net.HardwareAddr) bool { return slices.Equal(a, b) })
}

// Received is how many frames an interface has received, ever; 0 if there is none
// of that name. It asks the kernel by netlink, which answers for this network
// namespace; what stands under /sys is that of whoever mounted it.
func Received(name string) uint64 {
	l, err := netlink.LinkByName(name)
	if err != nil || l.Attrs().Statistics == nil {
		return 0
	}
	return l.Attrs().Statistics.RxPackets
}

// up tells whether the interface is up and has carrier.
func up(a *netlink.LinkAttrs) bool {
	return a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0 && a.RawFlags&unix.IFF_DORMANT == 0
}

// stateOf reads an address's flags.
func stateOf(flags int) AddrState {
	return AddrState{
		Tentative:  flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && flags&unix.IFA_F_OPTIMISTIC == 0,
		Deprecated: flags&unix.IFA_F_DEPRECATED != 0,
		// The same bit says of an IPv4 address that it is a secondary one.
		Temporary: flags&unix.IFA_F_TEMPORARY != 0,
	}
}

func toPrefix(n net.IPNet) (netip.Prefix, bool) {
	address, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(address.Unmap(), bits), true
}

func drain[T any](ch <-chan T) {
	for range ch {
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
