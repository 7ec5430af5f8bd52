package bgp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net"
	"net/netip"
	"syscall"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// restartTime is how long a router keeps our paths while we restart, in seconds.
const restartTime = 120

// errClosedEarly is the end of a connection before the router has said anything,
// by FIN or by RST.
var errClosedEarly = errors.New("the router closes the connection at once: is it set up for this node, or damping it after sessions that ended?")

// open exchanges OPENs and the KEEPALIVEs that confirm them (RFC 4271 section
// 8.2.2).
func (c *conn) open() error {
	c.session.note(func(st *Status) { st.State = OpenSent })
	if err := c.extend(c.net.SetDeadline, openTimeout); err != nil {
		return err
	}
	message, err := c.localOpen()
	if err == nil {
		err = c.send(message)
	}
	if err != nil {
		return c.unanswered(err)
	}
	kind, body, err := read(c.reader)
	switch {
	case err != nil:
		return c.unanswered(err)
	case kind == wire.BGP_MSG_NOTIFICATION:
		return parseNotification(body)
	case kind != wire.BGP_MSG_OPEN:
		return newNotification(wire.BGP_ERROR_FSM_ERROR, 1, "it answered our OPEN with a message of type %d", kind)
	}
	offer, err := parseOpen(body)
	if err == nil {
		err = c.negotiate(offer)
	}
	if err != nil {
		return err
	}
	c.session.note(func(st *Status) { st.State = OpenConfirm })
	if err := c.extend(c.net.SetDeadline, openTimeout); err != nil {
		return err
	}
	if err := c.send(wire.NewBGPKeepAliveMessage()); err != nil {
		return c.unanswered(err)
	}
	kind, body, err = read(c.reader)
	switch {
	case err != nil:
		return c.unanswered(err)
	case kind == wire.BGP_MSG_NOTIFICATION:
		return parseNotification(body)
	case kind != wire.BGP_MSG_KEEPALIVE:
		return newNotification(wire.BGP_ERROR_FSM_ERROR, 2, "it confirmed our OPEN with a message of type %d", kind) //nolint:mnd // RFC 6608
	}
	return c.extend(c.net.SetDeadline, 0)
}

// unanswered puts the end of a connection that never was a session into words:
// the same for FIN and RST, which a router takes turns with.
func (c *conn) unanswered(err error) error {
	err = c.closedOr(err)
	switch {
	case isTimeout(err):
		return newNotification(wire.BGP_ERROR_HOLD_TIMER_EXPIRED, 0, "it accepts the connection and does not answer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errClosedEarly
	}
	return c.closed(err)
}

// closedOr is why the connection was aborted, or the error.
func (c *conn) closedOr(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	return err
}

func (f family) wire() wire.Family {
	if f == familyIPv4 {
		return wire.RF_IPv4_UC
	}
	return wire.RF_IPv6_UC
}

func (c *conn) localOpen() (*wire.BGPMessage, error) {
	as := c.peer.as()
	capabilities := []wire.ParameterCapabilityInterface{wire.NewCapRouteRefresh()}
	var tuples []*wire.CapGracefulRestartTuple
	for _, f := range families() {
		if c.peer.carries(f) {
			capabilities = append(capabilities, wire.NewCapMultiProtocol(f.wire()))
			tuples = append(tuples, wire.NewCapGracefulRestartTuple(f.wire(), true))
		}
	}
	capabilities = append(capabilities, wire.NewCapFourOctetASNumber(as))
	if c.local.Is6() && c.peer.carries(familyIPv4) {
		extended := []*wire.CapExtendedNexthopTuple{wire.NewCapExtendedNexthopTuple(wire.RF_IPv4_UC, wire.AFI_IP6)}
		capabilities = append(capabilities, wire.NewCapExtendedNexthop(extended))
	}
	if c.peer.GracefulRestart {
		capabilities = append(capabilities, wire.NewCapGracefulRestart(c.restarted, false, restartTime, tuples))
	}
	short := uint16(wire.AS_TRANS)
	if as <= math.MaxUint16 {
		short = uint16(as)
	}
	hold := uint16(min(c.peer.HoldTime/time.Second, math.MaxUint16))
	parameters := []wire.OptionParameterInterface{wire.NewOptionParameterCapability(capabilities)}
	return wire.NewBGPOpenMessage(short, hold, c.identifier(), parameters)
}

func (c *conn) identifier() netip.Addr {
	if c.peer.RouterID.IsValid() {
		return c.peer.RouterID
	}
	return Identifier(c.session.all.node.Node, c.session.all.node.Address)
}

// Identifier is the BGP identifier of a node in all its sessions (RFC 4271
// section 4.2, RFC 6286): its IPv4 address, or a number made of its name that
// looks like a unicast address, for some routers ask for that.
func Identifier(node string, address netip.Addr) netip.Addr {
	if address.Is4() && !address.IsLoopback() && !address.IsUnspecified() {
		return address
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(node))
	const first, count = 1, 126
	b := [4]byte(sum.Sum(nil))
	b[0] = first + b[0]%count
	return netip.AddrFrom4(b)
}

// offer is what the router's OPEN says that matters here.
type offer struct {
	asn, identifier uint32
	hold            uint16
	fourByte        bool // it knows AS numbers of four bytes
	families        familySet
	multiprotocol   bool // it names families, maybe none that is used here
	graceful        bool
	extended        bool // IPv4 may have IPv6 next hops (RFC 8950)
}

// Codes of capabilities (RFC 5492), and the parameter that they stand in.
const (
	parameterCapabilities                     = 2
	extendedLength                            = 255 // RFC 9072
	capMultiprotocol, capExtendedNextHop      = 1, 5
	capGracefulRestart, capFourOctetASNumbers = 64, 65
)

// parseOpen reads an OPEN (RFC 4271 section 4.2, with the lengths of RFC 9072).
// Of its capabilities it reads those that are used here, and passes over what it
// does not know or cannot read in others: a router that says something odd about
// a feature that nobody asked for still gets a session.
func parseOpen(body []byte) (offer, error) {
	const fixed, asnAt, holdAt, identifierAt, lengthAt = 10, 1, 3, 5, 9
	unreadable := newNotification(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, 0, "its OPEN cannot be read")
	if len(body) < fixed {
		return offer{}, newNotification(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, "its OPEN is too short")
	}
	if body[0] != 4 { //nolint:mnd // BGP-4
		n := newNotification(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_UNSUPPORTED_VERSION_NUMBER, "it speaks BGP version %d", body[0])
		n.data = []byte{0, 4}
		return offer{}, n
	}
	o := offer{
		asn: uint32(binary.BigEndian.Uint16(body[asnAt:])), hold: binary.BigEndian.Uint16(body[holdAt:]),
		identifier: binary.BigEndian.Uint32(body[identifierAt:]),
	}
	parameters, length, width := body[fixed:], int(body[lengthAt]), 1
	if length != 0 && len(parameters) >= 3 && parameters[0] == extendedLength {
		length, width = int(binary.BigEndian.Uint16(parameters[1:])), 2
		parameters = parameters[3:]
	}
	if length != len(parameters) {
		return offer{}, unreadable
	}
	var large []uint32
	for len(parameters) > 0 {
		kind, value, rest, ok := field(parameters, width)
		if !ok {
			return offer{}, unreadable
		}
		parameters = rest
		for kind == parameterCapabilities && len(value) > 0 {
			code, capability, left, ok := field(value, 1)
			if !ok {
				return offer{}, unreadable
			}
			value = left
			if code == capFourOctetASNumbers && len(capability) == 4 {
				large = append(large, binary.BigEndian.Uint32(capability))
			}
			o.take(code, capability)
		}
	}
	if !o.multiprotocol {
		o.families[familyIPv4] = true
	}
	err := o.setASN(large)
	return o, err
}

// field takes the next type, length and value off b.
func field(b []byte, width int) (kind byte, value, rest []byte, ok bool) {
	if len(b) < 1+width {
		return 0, nil, nil, false
	}
	size := int(b[1])
	if width > 1 {
		size = int(binary.BigEndian.Uint16(b[1:]))
	}
	start := 1 + width
	if len(b) < start+size {
		return 0, nil, nil, false
	}
	return b[0], b[start : start+size], b[start+size:], true
}

// take reads a capability. One that has not its size says nothing.
func (o *offer) take(code byte, value []byte) {
	const multiprotocolSize, tuple = 4, 6
	is := func(b []byte, afi, safi uint16) bool {
		return binary.BigEndian.Uint16(b) == afi && safi == wire.SAFI_UNICAST
	}
	switch code {
	case capMultiprotocol:
		if len(value) == multiprotocolSize {
			o.multiprotocol = true
			o.families[familyIPv4] = o.families[familyIPv4] || is(value, wire.AFI_IP, uint16(value[3]))
			o.families[familyIPv6] = o.families[familyIPv6] || is(value, wire.AFI_IP6, uint16(value[3]))
		}
	case capGracefulRestart:
		o.graceful = o.graceful || len(value) >= 2 //nolint:mnd // flags and time
	case capExtendedNextHop:
		for ; len(value) >= tuple; value = value[tuple:] {
			ipv4s := is(value, wire.AFI_IP, binary.BigEndian.Uint16(value[2:]))
			o.extended = o.extended || ipv4s && binary.BigEndian.Uint16(value[4:]) == wire.AFI_IP6
		}
	}
}

// setASN settles the router's AS number (RFC 6793 section 4.2.2).
func (o *offer) setASN(large []uint32) error {
	badAS := func(format string, args ...any) error {
		return newNotification(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_BAD_PEER_AS, format, args...)
	}
	short := o.asn
	for _, asn := range large {
		if o.fourByte && asn != o.asn {
			return badAS("it has two AS numbers, %d and %d", o.asn, asn)
		}
		o.fourByte, o.asn = true, asn
	}
	switch {
	case o.asn == 0: // RFC 7607
		return badAS("its AS number is 0")
	case o.fourByte && short != wire.AS_TRANS && short != o.asn:
		return badAS("it has two AS numbers, %d and %d", short, o.asn)
	}
	return nil
}

// check refuses an OPEN of a router that is not the one that is meant.
func (c *conn) check(o *offer) error {
	as := c.peer.as()
	refuse := func(subcode uint8, format string, args ...any) error {
		return newNotification(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, subcode, format, args...)
	}
	const badAS, badIdentifier = wire.BGP_ERROR_SUB_BAD_PEER_AS, wire.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER
	own := c.identifier().As4()
	switch {
	case c.peer.PeerASN != 0 && o.asn != c.peer.PeerASN:
		return refuse(badAS, "its AS number is %d, not %d", o.asn, c.peer.PeerASN)
	case c.peer.Dynamic == Internal && o.asn != as:
		return refuse(badAS, "its AS number is %d: it is not internal to AS %d", o.asn, as)
	case c.peer.Dynamic == External && o.asn == as:
		return refuse(badAS, "its AS number is ours, %d: it is not external", o.asn)
	case o.identifier == 0: // RFC 6286 section 2.2
		return refuse(badIdentifier, "its BGP identifier is 0.0.0.0")
	case o.asn == as && o.identifier == binary.BigEndian.Uint32(own[:]): // RFC 6286 section 2.2
		return refuse(badIdentifier, "its BGP identifier is ours, %s", c.identifier())
	case o.hold == 1 || o.hold == 2:
		return refuse(wire.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME, "its hold time of %d s is too short", o.hold)
	}
	return nil
}

// negotiate checks the router's OPEN and settles what holds for both.
func (c *conn) negotiate(o offer) error {
	if err := c.check(&o); err != nil {
		return err
	}
	c.peerASN, c.offered = o.asn, o.families
	c.hold = min(c.peer.HoldTime, time.Duration(o.hold)*time.Second)
	c.graceful, c.extended = c.peer.GracefulRestart && o.graceful, o.extended
	var lacks []byte
	for _, f := range families() {
		c.agreed[f] = c.peer.carries(f) && o.families[f]
		if afi, safi := f.wire().Afi(), f.wire().Safi(); c.peer.carries(f) {
			lacks = append(lacks, capMultiprotocol, 4, byte(afi>>8), byte(afi), 0, safi) //nolint:mnd // RFC 4760 section 8
		}
	}
	if c.agreed == (familySet{}) {
		n := newNotification(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY,
			"it does not carry the family of the session's addresses")
		n.data = lacks
		return n
	}
	c.encoding = encoding{internal: o.asn == c.peer.as(), fourByte: o.fourByte, path: []uint32{c.peer.MyASN}, as: c.peer.MyASN}
	if c.peer.LocalASN != 0 {
		c.encoding.path = []uint32{c.peer.LocalASN, c.peer.MyASN}
	}
	if c.hold == 0 {
		return c.probe()
	}
	return nil
}

// probe has the kernel find out that the router is gone, where no hold timer
// does.
func (c *conn) probe() error {
	tcp, ok := c.net.(*net.TCPConn)
	if !ok {
		return nil
	}
	const idle, interval, count = 30 * time.Second, 10 * time.Second, 3
	if err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: interval, Count: count}); err != nil {
		return fmt.Errorf("asking for TCP keepalives: %w", err)
	}
	return setUserTimeout(tcp, idle+interval*count)
}
