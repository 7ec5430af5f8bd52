package bgp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

const (
	headerSize  = 19
	messageSize = 4096
)

// notification is the end of a session by a NOTIFICATION, ours or theirs.
type notification struct {
	code, subcode uint8
	data          []byte // beside the codes
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

// codeSendHold is that the router takes nothing (RFC 9687), and subcodeBFDDown
// that BFD sees the path broken (RFC 9384).
const codeSendHold, subcodeBFDDown = 8, 10

// newNotification makes one to send.
func newNotification(code, subcode uint8, format string, args ...any) *notification {
	return &notification{code: code, subcode: subcode, words: fmt.Sprintf(format, args...)}
}

// parseNotification makes the error of one that was received.
func parseNotification(body []byte) error {
	if len(body) < 2 { //nolint:mnd // code and subcode
		return errors.New("the router ended the session without saying why")
	}
	n := &notification{code: body[0], subcode: body[1], received: true}
	n.words = describe(n.code, n.subcode)
	if text := operatorText(n, body[2:]); text != "" {
		n.words += " (" + text + ")"
	}
	return n
}

// communication is a text for the operator of the router (RFC 9003).
func communication(text string) []byte {
	const longest = 255
	text = text[:min(len(text), longest)]
	return append([]byte{byte(len(text))}, text...)
}

// operatorText is what an operator of the router wrote (RFC 9003), without what
// could change more than a line of a status, a log or a terminal: controls, C1
// ones, too, and marks that turn the direction of writing.
func operatorText(n *notification, data []byte) string {
	shutdown := n.subcode == wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN || n.subcode == wire.BGP_ERROR_SUB_ADMINISTRATIVE_RESET
	if n.code != wire.BGP_ERROR_CEASE || !shutdown || len(data) == 0 || int(data[0]) >= len(data) {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
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
		codeSendHold:                        {"send hold timer expired"},
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
			return 0, nil, newNotification(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_CONNECTION_NOT_SYNCHRONIZED,
				"what it sends is not BGP")
		}
	}
	size, kind := int(binary.BigEndian.Uint16(header[16:])), header[18]
	if size < headerSize || size > messageSize || kind == wire.BGP_MSG_KEEPALIVE && size != headerSize {
		n := newNotification(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, "it sent a message of %d bytes", size)
		n.data = header[16:18]
		return 0, nil, n
	}
	switch kind {
	case wire.BGP_MSG_UPDATE:
		_, err = r.Discard(size - headerSize)
		return kind, nil, err
	case wire.BGP_MSG_OPEN, wire.BGP_MSG_NOTIFICATION, wire.BGP_MSG_KEEPALIVE, wire.BGP_MSG_ROUTE_REFRESH:
		body = make([]byte, size-headerSize)
		_, err = io.ReadFull(r, body)
		return kind, body, err
	}
	n := newNotification(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_BAD_MESSAGE_TYPE, "it sent a message of type %d", kind)
	n.data = []byte{kind}
	return 0, nil, n
}
