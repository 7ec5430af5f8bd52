package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/baliza-lb/baliza/speaker/model"
)

const (
	// etherType is IEEE 802's Local Experimental EtherType 1.
	etherType = 0x88b5

	sourceOffset  = 6
	typeOffset    = 12
	lengthOffset  = 14
	payloadOffset = 16

	// Longest payload, in bytes, on an interface with the usual MTU of 1,500.
	Longest = 1500 - 2
)

// Group is the MAC address that all speakers of a segment listen to: a multicast
// one (the lowest bit of the first byte) that is locally administered (the second),
// so that it is nobody's; "BALIZ" is what makes it ours. Switches flood it to all
// ports: those that look into IGMP and MLD restrict the groups of IP alone, which
// begin with 01:00:5e and 33:33.
func Group() model.MAC { return model.MAC{0x03, 'B', 'A', 'L', 'I', 'Z'} }

// Interface is one that frames go over.
type Interface struct {
	Name  string
	Index int
	MAC   model.MAC
	// Epoch differs after each event that makes a socket doubtful: see
	// model.Interface.
	Epoch uint64
}

// Config of Segments.
type Config struct {
	// Prefix is how each payload begins; what does not is dropped by the kernel.
	Prefix []byte
	// Receive is called with each payload, from several goroutines. It must not
	// keep it.
	Receive func(on string, from model.MAC, payload []byte)
	// Overflowed is called when the kernel has dropped frames for want of room.
	Overflowed func()
}

// Segments are the sockets on all of them.
type Segments struct {
	config Config
	open   atomic.Pointer[map[string]*port]
	// mu guards frame.
	mu    sync.Mutex
	frame []byte // to be sent
}

// New has no socket open.
func New(config Config) *Segments {
	s := &Segments{config: config}
	s.open.Store(&map[string]*port{})
	return s
}

// Use says which interfaces there are. Sockets are opened and closed so that there
// is one on each; one that could not be opened is tried again with the next call.
// It returns what is in the way.
func (s *Segments) Use(all []Interface) error {
	old := *s.open.Load()
	next := make(map[string]*port, len(all))
	var failed []error
	for _, on := range all {
		p := old[on.Name]
		if p == nil || p.on != on || p.broken.Load() {
			opened, err := s.listen(on)
			if err != nil {
				failed = append(failed, fmt.Errorf("interface %s: speakers are not heard over the segment: %w", on.Name, err))
				continue
			}
			p = opened
		}
		next[on.Name] = p
	}
	s.open.Store(&next)
	for name, p := range old {
		if next[name] != p {
			p.close()
		}
	}
	return errors.Join(failed...)
}

// Close closes all sockets.
func (s *Segments) Close() { _ = s.Use(nil) }

var errClosed = errors.New("no socket on that interface")

// Send sends a payload to one MAC or, if that is zero, to the Group. It never waits.
func (s *Segments) Send(on string, to model.MAC, payload []byte) error {
	p := (*s.open.Load())[on]
	if p == nil {
		return errClosed
	}
	if to == (model.MAC{}) {
		to = Group()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frame = appendFrame(s.frame[:0], to, p.on.MAC, payload)
	return p.send(to, s.frame)
}

func appendFrame(b []byte, to, from model.MAC, payload []byte) []byte {
	b = append(append(b, to[:]...), from[:]...)
	b = binary.BigEndian.AppendUint16(b, etherType)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

// parse returns what a frame carries, and from whom, or nil.
func parse(frame []byte, own model.MAC) (from model.MAC, payload []byte) {
	if len(frame) < payloadOffset || binary.BigEndian.Uint16(frame[typeOffset:]) != etherType {
		return from, nil
	}
	from = model.MACOf(frame[sourceOffset:])
	length := int(binary.BigEndian.Uint16(frame[lengthOffset:]))
	if length == 0 || len(frame) < payloadOffset+length || from[0]&1 != 0 || from == own || from == (model.MAC{}) {
		return from, nil
	}
	if to := model.MACOf(frame); to != own && to != Group() {
		return from, nil
	}
	return from, slices.Clip(frame[payloadOffset : payloadOffset+length])
}
