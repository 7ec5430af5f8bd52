package bgp

import (
	"os"
	"testing"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Run(m)) }

func needNetns(t *testing.T) { t.Helper(); netnstest.Need(t) }

func ip(t *testing.T, args string) { t.Helper(); netnstest.IP(t, args) }
