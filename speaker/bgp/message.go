package bgp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

const (
	headerSize  = 19
	messageSize = 4096
)

// notification is the end of a session by a NOTIFICATION, ours or theirs.
type notification struct {
	code, subcode uint8
	received      bool
	words         string
}

func (n *notification) Error() string {
	who := "told the router"
	if n.received {
		who = "the router says"
	}
	return who + ": " + n.words
}

// complain makes a notification to send.
func complain(code, subcode uint8, format string, args ...any) *notification {
	return &notification{code: code, subcode: subcode, words: fmt.Sprintf(format, args...)}
}

// heard makes the error of a NOTIFICATION that was received.
func heard(body []byte) error {
	if len(body) < 2 { //nolint:mnd // code and subcode
		return errors.New("the router ended the session without saying why")
	}
	n := &notification{code: body[0], subcode: body[1], received: true}
	n.words = describe(n.code, n.subcode)
	if text := communication(n, body[2:]); text != "" {
		n.words += " (" + text + ")"
	}
	return n
}

// communication is what an operator wrote (RFC 9003).
func communication(n *notification, data []byte) string {
	shutdown := n.subcode == wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN || n.subcode == wire.BGP_ERROR_SUB_ADMINISTRATIVE_RESET
	if n.code != wire.BGP_ERROR_CEASE || !shutdown || len(data) == 0 || int(data[0]) >= len(data) {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '\ufffd' {
			return -1
		}
		return r
	}, string(data[1:1+int(data[0])]))
}

// describe puts the codes into words (RFC 4271 section 4.5, RFC 4486, RFC 9384).
func describe(code, subcode uint8) string {
	names := map[uint8][]string{
		wire.BGP_ERROR_MESSAGE_HEADER_ERROR: {"message header", "connection not synchronized", "bad message length", "bad message type"},
		wire.BGP_ERROR_OPEN_MESSAGE_ERROR: {
			"OPEN", "unsupported version", "bad peer AS: it expects another AS number of us", "bad BGP identifier", "unsupported optional parameter",
			"authentication failure", "unacceptable hold time", "unsupported capability",
		},
		wire.BGP_ERROR_UPDATE_MESSAGE_ERROR: {"UPDATE"},
		wire.BGP_ERROR_HOLD_TIMER_EXPIRED:   {"hold timer expired"},
		wire.BGP_ERROR_FSM_ERROR:            {"state machine"},
		wire.BGP_ERROR_CEASE: {
			"cease", "maximum number of prefixes reached", "administrative shutdown", "peer deconfigured", "administrative reset",
			"connection rejected", "other configuration change", "connection collision", "out of resources", "hard reset", "BFD down",
		},
	}[code]
	switch {
	case len(names) == 0:
		return fmt.Sprintf("error %d, subcode %d", code, subcode)
	case subcode == 0:
		return names[0]
	case int(subcode) < len(names):
		return names[0] + ": " + names[subcode]
	}
	return fmt.Sprintf("%s, subcode %d", names[0], subcode)
}

// read returns the next message, without the bodies of UPDATEs: they are
// dropped as they come.
func read(r *bufio.Reader) (kind uint8, body []byte, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	for _, b := range header[:16] {
		if b != 0xff {
			return 0, nil, complain(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_CONNECTION_NOT_SYNCHRONIZED, "what it sends is not BGP")
		}
	}
	size := int(binary.BigEndian.Uint16(header[16:]))
	if size < headerSize || size > messageSize {
		return 0, nil, complain(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, "it sent a message of %d bytes", size)
	}
	kind = header[18]
	switch kind {
	case wire.BGP_MSG_UPDATE:
		_, err = r.Discard(size - headerSize)
		return kind, nil, err
	case wire.BGP_MSG_OPEN, wire.BGP_MSG_NOTIFICATION, wire.BGP_MSG_KEEPALIVE, wire.BGP_MSG_ROUTE_REFRESH:
		body = make([]byte, size-headerSize)
		_, err = io.ReadFull(r, body)
		return kind, body, err
	}
	return 0, nil, complain(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_BAD_MESSAGE_TYPE, "it sent a message of type %d", kind)
}

// parseOpen reads an OPEN. Whatever the router sends, it returns.
func parseOpen(body []byte) (open *wire.BGPOpen, err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			open, err = nil, complain(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, 0, "its OPEN cannot be read")
		}
	}()
	open = &wire.BGPOpen{}
	if failed := open.DecodeFromBytes(body); failed != nil {
		return nil, complain(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, 0, "its OPEN cannot be read: %v", failed)
	}
	return open, nil
}

// offer is what the router's OPEN says that matters here.
type offer struct {
	asn      uint32
	fourByte bool
	families map[wire.Family]bool
	graceful bool
	// extended says that IPv4 may have IPv6 next hops (RFC 8950).
	extended bool
}

func offered(open *wire.BGPOpen) offer {
	o := offer{asn: uint32(open.MyAS), families: map[wire.Family]bool{}}
	for _, parameter := range open.OptParams {
		capabilities, ok := parameter.(*wire.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, c := range capabilities.Capability {
			switch c := c.(type) {
			case *wire.CapFourOctetASNumber:
				o.fourByte, o.asn = true, c.CapValue
			case *wire.CapMultiProtocol:
				o.families[c.CapValue] = true
			case *wire.CapGracefulRestart:
				o.graceful = true
			case *wire.CapExtendedNexthop:
				for _, t := range c.Tuples {
					ipv4 := t.NLRIAFI == wire.AFI_IP && t.NLRISAFI == wire.SAFI_UNICAST
					o.extended = o.extended || ipv4 && t.NexthopAFI == wire.AFI_IP6
				}
			}
		}
	}
	if len(o.families) == 0 {
		o.families[wire.RF_IPv4_UC] = true
	}
	return o
}
