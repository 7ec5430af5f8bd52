package bgp

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

const (
	// openTimeout is how long the router may take to answer an OPEN.
	openTimeout = 10 * time.Second
	// restartTime is how long a router keeps our paths while we restart.
	restartTime = 120
	// unboundWrite is how long a write may take where no hold time bounds it.
	unboundWrite = 90 * time.Second
	// lastWords is how long a NOTIFICATION may take.
	lastWords = 500 * time.Millisecond
)

// conversation is one connection of a session.
type conversation struct {
	*session
	conn   net.Conn
	reader *bufio.Reader
	writer *bufio.Writer
	local  netip.Addr
	router netip.Addr

	peerASN  uint32
	hold     time.Duration
	encoding encoding
	families []wire.Family
	sent     Paths
	refresh  chan struct{}
}

// wanted are the families that the session is to carry.
func (c *conversation) wanted() []wire.Family {
	switch {
	case c.peer.DualFamily, c.peer.Interface != "":
		return []wire.Family{wire.RF_IPv4_UC, wire.RF_IPv6_UC}
	case c.peer.Address.Is4():
		return []wire.Family{wire.RF_IPv4_UC}
	}
	return []wire.Family{wire.RF_IPv6_UC}
}

// open exchanges OPENs and the KEEPALIVEs that confirm them.
func (c *conversation) open() error {
	c.reader, c.writer = bufio.NewReader(c.conn), bufio.NewWriter(c.conn)
	c.refresh = make(chan struct{}, 1)
	c.note(func(st *Status) { st.State = OpenSent })
	if err := c.conn.SetDeadline(time.Now().Add(openTimeout)); err != nil {
		return err
	}
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	message, err := c.ourOpen()
	if err == nil {
		err = c.send(message)
	}
	if err != nil {
		return err
	}
	kind, body, err := read(c.reader)
	switch {
	case err != nil:
		return unanswered(err)
	case kind == wire.BGP_MSG_NOTIFICATION:
		return heard(body)
	case kind != wire.BGP_MSG_OPEN:
		return complain(wire.BGP_ERROR_FSM_ERROR, 1, "it answered our OPEN with a message of type %d", kind)
	}
	open, err := parseOpen(body)
	if err == nil {
		err = c.agree(open)
	}
	if err != nil {
		return err
	}
	c.note(func(st *Status) { st.State = OpenConfirm })
	if err := c.send(wire.NewBGPKeepAliveMessage()); err != nil {
		return err
	}
	kind, body, err = read(c.reader)
	switch {
	case err != nil:
		return unanswered(err)
	case kind == wire.BGP_MSG_NOTIFICATION:
		return heard(body)
	case kind != wire.BGP_MSG_KEEPALIVE:
		return complain(wire.BGP_ERROR_FSM_ERROR, 2, "it confirmed our OPEN with a message of type %d", kind) //nolint:mnd // RFC 6608
	}
	return nil
}

func unanswered(err error) error {
	switch {
	case isTimeout(err):
		return errors.New("the router accepts the connection and does not answer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the router closes the connection at once: is it set up for this node?")
	}
	return lostBy(err)
}

// lostBy puts the end of a connection into words.
func lostBy(err error) error {
	if _, ok := errors.AsType[*notification](err); ok {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the router closed the connection")
	}
	return fmt.Errorf("the connection failed: %w", cause(err))
}

func (c *conversation) ourOpen() (*wire.BGPMessage, error) {
	as := c.peer.as()
	capabilities := []wire.ParameterCapabilityInterface{wire.NewCapRouteRefresh()}
	var tuples []*wire.CapGracefulRestartTuple
	for _, f := range c.wanted() {
		capabilities = append(capabilities, wire.NewCapMultiProtocol(f))
		tuples = append(tuples, wire.NewCapGracefulRestartTuple(f, true))
	}
	capabilities = append(capabilities, wire.NewCapFourOctetASNumber(as))
	if c.local.Is6() && slices.Contains(c.wanted(), wire.RF_IPv4_UC) {
		extended := []*wire.CapExtendedNexthopTuple{wire.NewCapExtendedNexthopTuple(wire.RF_IPv4_UC, wire.AFI_IP6)}
		capabilities = append(capabilities, wire.NewCapExtendedNexthop(extended))
	}
	if c.peer.GracefulRestart {
		capabilities = append(capabilities, wire.NewCapGracefulRestart(!c.again, false, restartTime, tuples))
	}
	short := uint16(wire.AS_TRANS)
	if as <= math.MaxUint16 {
		short = uint16(as)
	}
	hold := uint16(min(c.peer.HoldTime/time.Second, math.MaxUint16))
	parameters := []wire.OptionParameterInterface{wire.NewOptionParameterCapability(capabilities)}
	return wire.NewBGPOpenMessage(short, hold, c.identifier(), parameters)
}

// identifier is ours (RFC 6286): any number but zero that no other node uses.
func (c *conversation) identifier() netip.Addr {
	if c.peer.RouterID.IsValid() {
		return c.peer.RouterID
	}
	if c.local.Is4() {
		return c.local
	}
	if v4, _ := neighbourhood(c.local); v4.IsValid() {
		return v4
	}
	sum := fnv.New32a()
	_, _ = sum.Write(c.local.AsSlice())
	return netip.AddrFrom4([4]byte(sum.Sum(nil)))
}

// agree checks the router's OPEN and settles what holds for both.
func (c *conversation) agree(open *wire.BGPOpen) error {
	o := offered(open)
	as := c.peer.as()
	badAS := func(format string, args ...any) error {
		return complain(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_BAD_PEER_AS, format, args...)
	}
	switch {
	case open.Version != 4: //nolint:mnd // BGP-4
		return complain(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_UNSUPPORTED_VERSION_NUMBER, "it speaks BGP version %d", open.Version)
	case c.peer.PeerASN != 0 && o.asn != c.peer.PeerASN:
		return badAS("its AS number is %d, not %d", o.asn, c.peer.PeerASN)
	case c.peer.Dynamic == Internal && o.asn != as:
		return badAS("its AS number is %d: it is not internal to AS %d", o.asn, as)
	case c.peer.Dynamic == External && o.asn == as:
		return badAS("its AS number is ours, %d: it is not external", o.asn)
	case open.HoldTime == 1 || open.HoldTime == 2:
		return complain(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME,
			"its hold time of %d s is too short", open.HoldTime)
	}
	c.peerASN = o.asn
	c.hold = min(c.peer.HoldTime, time.Duration(open.HoldTime)*time.Second)
	for _, f := range c.wanted() {
		if o.families[f] {
			c.families = append(c.families, f)
		}
	}
	if len(c.families) == 0 {
		return complain(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, 0, "it does not carry the family of the session's addresses")
	}
	c.encoding = encoding{internal: o.asn == as, fourByte: o.fourByte, path: []uint32{c.peer.MyASN}, as: c.peer.MyASN}
	if c.peer.LocalASN != 0 {
		c.encoding.path = []uint32{c.peer.LocalASN, c.peer.MyASN}
	}
	c.nextHops(o.extended)
	return nil
}

// talk keeps the router up to date until the session ends.
func (c *conversation) talk() error {
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if c.ctx.Err() != nil { // the deadline that told so is gone
		return c.ctx.Err()
	}
	ended := make(chan error, 1)
	go func() { ended <- c.guard(c.listen) }()
	defer func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) }()
	c.sent = nil
	if err := c.update(true); err != nil {
		return err
	}
	var alive <-chan time.Time
	if c.hold > 0 {
		every := c.hold / 3 //nolint:mnd // RFC 4271 section 10
		if c.peer.KeepAlive > 0 {
			every = min(every, c.peer.KeepAlive)
		}
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		alive = ticker.C
	}
	for {
		var err error
		select {
		case <-c.ctx.Done():
			return c.ctx.Err()
		case err = <-ended:
			return err
		case <-c.silent:
			return complain(wire.BGP_ERROR_CEASE, subcodeBFDDown, "BFD: the router is not heard any more")
		case <-c.wake:
			err = c.update(false)
		case <-c.refresh:
			// What is still wanted is told again; c.sent keeps only what is to be
			// withdrawn. Both follow from one reading of what is wanted (D1).
			desired := c.wants()
			c.sent = withdrawnOnly(c.sent, desired)
			err = c.tellDifference(desired, false)
		case <-alive:
			err = c.send(wire.NewBGPKeepAliveMessage())
		}
		if err != nil {
			return lostBy(err)
		}
	}
}

// subcodeBFDDown is Cease / BFD Down (RFC 9384).
const subcodeBFDDown = 10

// withdrawnOnly forgets what the router was told that is still to be told, so
// that it is told again.
func withdrawnOnly(sent, desired Paths) Paths {
	var left Paths
	desired.compare(sent, func(Route) {}, func(prefix netip.Prefix) { left = append(left, Route{Prefix: prefix}) })
	return left
}

// listen reads until the session ends. Whatever comes counts as a sign of life.
func (c *conversation) listen() error {
	for {
		if c.hold > 0 {
			if err := c.conn.SetReadDeadline(time.Now().Add(c.hold)); err != nil {
				return lostBy(err)
			}
		}
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		kind, body, err := read(c.reader)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return complain(wire.BGP_ERROR_HOLD_TIMER_EXPIRED, 0, "hold timer expired: nothing was heard of it for %s", c.hold)
		case err != nil:
			return lostBy(err)
		case kind == wire.BGP_MSG_NOTIFICATION:
			return heard(body)
		case kind == wire.BGP_MSG_OPEN:
			return complain(wire.BGP_ERROR_FSM_ERROR, 3, "it sent a second OPEN") //nolint:mnd // RFC 6608
		case kind == wire.BGP_MSG_ROUTE_REFRESH:
			poke(c.refresh)
		case kind == wire.BGP_MSG_UPDATE:
			c.mu.Lock()
			c.status.Heard++
			c.mu.Unlock()
		}
	}
}

func (c *conversation) wants() Paths {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.desired
}

// update tells the router what it does not know yet.
func (c *conversation) update(first bool) error { return c.tellDifference(c.wants(), first) }

func (c *conversation) tellDifference(wanted Paths, first bool) error {
	desired := c.carried(wanted)
	messages, err := c.encoding.difference(c.sent, desired)
	if err != nil {
		return err
	}
	if first {
		for _, f := range c.families {
			messages = append(messages, wire.NewEndOfRib(f))
		}
	}
	if err := c.send(messages...); err != nil {
		return err
	}
	c.sent = desired
	c.note(func(st *Status) {
		st.Sent = len(desired)
		st.Updates += uint64(len(messages))
	})
	return nil
}

// carried leaves out the families that were not agreed on, or for which this
// node has no next hop.
func (c *conversation) carried(all Paths) Paths {
	v4 := slices.Contains(c.families, wire.RF_IPv4_UC) && (c.encoding.next4.IsValid() || c.encoding.extended)
	v6 := slices.Contains(c.families, wire.RF_IPv6_UC) && c.encoding.next6.IsValid()
	split := slices.IndexFunc(all, func(r Route) bool { return r.Prefix.Addr().Is6() })
	if split < 0 {
		split = len(all)
	}
	switch {
	case v4 && v6:
		return all
	case v4:
		return all[:split]
	case v6:
		return all[split:]
	}
	return nil
}

// send writes messages, within the time that the router waits for them.
func (c *conversation) send(messages ...*wire.BGPMessage) error {
	if len(messages) == 0 {
		return nil
	}
	limit := c.hold
	if limit == 0 {
		limit = unboundWrite
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	for _, m := range messages {
		data, err := m.Serialize()
		if err != nil {
			return fmt.Errorf("encoding a message: %w", err)
		}
		if _, err := c.writer.Write(data); err != nil {
			return err
		}
	}
	return c.writer.Flush()
}

// leave says good-bye, as far as there is something to say.
func (c *conversation) leave(err error) {
	n, ours := errors.AsType[*notification](err)
	ours = ours && !n.received
	if c.ctx.Err() != nil {
		c.mu.Lock()
		how := c.parting
		c.mu.Unlock()
		switch how {
		case farewellRestart:
			return
		case farewellShutdown:
			n, ours = complain(wire.BGP_ERROR_CEASE, wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, ""), true
		case farewellDeconfigured:
			n, ours = complain(wire.BGP_ERROR_CEASE, wire.BGP_ERROR_SUB_PEER_DECONFIGURED, ""), true
		}
	}
	if !ours {
		return
	}
	data, failed := wire.NewBGPNotificationMessage(n.code, n.subcode, nil).Serialize()
	if failed != nil || c.conn.SetWriteDeadline(time.Now().Add(lastWords)) != nil {
		return
	}
	_, _ = c.conn.Write(data)
}
