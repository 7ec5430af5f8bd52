package bgp

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// A router that expects a password drops what comes without: nothing is heard, and the
// message must name that among what may be behind it.
func TestNoAnswerNamesThePassword(t *testing.T) {
	const address = "127.0.0.1"
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = setPassword(int(fd), &Peer{Address: netip.MustParseAddr(address), Password: "opensesame"})
		})
		if err != nil {
			return err
		}
		return failed
	}}
	l, err := config.Listen(t.Context(), "tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	for password, want := range map[Secret]string{"": "expects a password", "guess": "the same password?"} {
		conn, err := dial(t.Context(), &Peer{Address: at.Addr(), Port: at.Port(), MyASN: 64513, PeerASN: 64512, Password: password})
		if err == nil {
			_ = conn.Close()
			t.Fatalf("password %q was accepted", password)
		}
		if !strings.Contains(err.Error(), "no answer") || !strings.Contains(err.Error(), want) {
			t.Errorf("with password %q: %v, want %q", password, err, want)
		}
	}
	conn, err := dial(t.Context(), &Peer{Address: at.Addr(), Port: at.Port(), MyASN: 64513, PeerASN: 64512, Password: "opensesame"})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
