package bfd

import (
	"os"
	"testing"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }
