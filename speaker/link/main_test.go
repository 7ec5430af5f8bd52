package link_test

import (
	"os"
	"testing"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

// ip runs one ip(8) command.
func ip(t *testing.T, args string) {
	t.Helper()
	netnstest.Run(t, "ip "+args)
}
