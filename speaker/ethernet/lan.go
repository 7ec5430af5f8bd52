package ethernet

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/members/keyring"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
	"github.com/baliza-lb/baliza/speaker/segment"
)

// Membership is who takes in what is heard.
type Membership interface {
	Frame(on string, from model.MAC, sealed []byte)
	Answered(on string, mac model.MAC, address netip.Addr)
	Overflowed()
	SetSegments(all []detection.Segment)
}

// LAN is this node's presence on its segments.
type LAN struct {
	log      *slog.Logger
	heard    Membership
	segments *segment.Segments
	inquirer *l2.Inquirer
	view     View
	used     []model.Interface
	askers   []l2.Asker
	gateways link.Gateways
	problem  string // of the last attempt
}

var (
	_ members.LAN = (*LAN)(nil)
	_ Membership  = (*members.Members)(nil)
)

// New has no socket open.
func New(log *slog.Logger) *LAN {
	l := &LAN{log: log}
	l.segments = segment.New(segment.Config{
		Prefix:     []byte{keyring.Magic, keyring.Version},
		Receive:    func(on string, from model.MAC, sealed []byte) { l.heard.Frame(on, from, sealed) },
		Overflowed: func() { l.heard.Overflowed() },
	})
	l.inquirer = l2.NewInquirer(func(on string, mac model.MAC, address netip.Addr) { l.heard.Answered(on, mac, address) })
	return l
}

// Attach says who takes in what is heard. It comes before Follow.
func (l *LAN) Attach(heard Membership) { l.heard = heard }

// Follow opens and closes sockets, so that there is one on each interface that
// matters, and tells the membership. What could not be opened is tried again with the
// next call; it is returned, and logged when it is another than before.
func (l *LAN) Follow(snapshot *link.Snapshot, of *config.Snapshot) error {
	relevant := node.Relevant(l.view.Model(snapshot), of)
	same := slices.EqualFunc(relevant, l.used, func(a, b model.Interface) bool {
		return a.Name == b.Name && a.Index == b.Index && a.Epoch == b.Epoch && a.MAC == b.MAC && slices.Equal(a.Addrs, b.Addrs)
	}) && l.gateways == snapshot.Gateways
	if same && l.problem == "" {
		return nil
	}
	l.used, l.gateways = relevant, snapshot.Gateways
	var frames []segment.Interface
	var askers []l2.Asker
	var told []detection.Segment
	for i := range relevant {
		on := &relevant[i]
		frames = append(frames, segment.Interface{Name: on.Name, Index: on.Index, MAC: on.MAC, Epoch: on.Epoch})
		told = append(told, detection.Segment{Name: on.Name, MAC: on.MAC, Addrs: on.Addrs, Gateways: gateways(on, snapshot)})
		if known, ok := snapshot.Interface(on.Name); ok {
			askers = append(askers, asker(known))
		}
	}
	l.askers = askers
	err := errors.Join(l.segments.Use(frames), l.inquirer.Use(askers))
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != l.problem {
		l.log.Warn("segments of this node are not used in full", "error", err)
	}
	l.problem = problem
	if !same {
		l.heard.SetSegments(told)
	}
	return err
}

// Askers are the interfaces of the last Follow, from which this node can ask. They
// must not be changed.
func (l *LAN) Askers() []l2.Asker { return l.askers }

// gateways are those of the default routes that are in a subnet of the interface.
func gateways(on *model.Interface, snapshot *link.Snapshot) (all []netip.Addr) {
	for _, a := range []netip.Addr{snapshot.Gateways.IPv4, snapshot.Gateways.IPv6} {
		if a.IsValid() && slices.ContainsFunc(on.Addrs, func(p netip.Prefix) bool { return p.Masked().Contains(a) }) {
			all = append(all, a)
		}
	}
	return all
}

// Send implements members.LAN.
func (l *LAN) Send(on string, to model.MAC, message []byte) error {
	return l.segments.Send(on, to, message)
}

// Ask implements members.LAN.
func (l *LAN) Ask(questions []detection.Question) {
	all := make([]l2.Question, 0, len(questions))
	for _, q := range questions {
		all = append(all, l2.Question(q))
	}
	l.inquirer.Ask(all)
}

// Received implements members.LAN.
func (l *LAN) Received(on string) uint64 { return link.Received(on) }

// Close closes all sockets.
func (l *LAN) Close() {
	l.segments.Close()
	l.inquirer.Close()
}
