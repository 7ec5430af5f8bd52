package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/e2e/lab"
)

// What tcpdump writes of a KEEPALIVE, an UPDATE and an acknowledgement.
func TestUpdatesAreToldFromOtherPackets(t *testing.T) {
	const line = "02:00:c0:00:02:0b > 02:00:c0:00:02:fe, ethertype IPv4 (0x0800), length 99: " +
		"192.0.2.11.34268 > 192.0.2.254.179: Flags [P.], seq 0:19, ack 1, win 64, length %s"
	began := time.Unix(1000, 0)
	var packets []lab.Packet
	for i, end := range []string{"28: BGP", "0", "19: BGP", "28: BGP", "300: BGP"} {
		packets = append(packets, lab.Packet{Time: began.Add(time.Duration(i) * time.Second), Text: fmt.Sprintf(line, end)})
	}
	first := updates(packets, began.Add(time.Millisecond))
	if got := first["192.0.2.11"].Sub(began); len(first) != 1 || got != 3*time.Second {
		t.Errorf("the first UPDATE after the change is at %s of %v", got, first)
	}
}

// What tcpdump writes of a connection that the router sends to one node, and of one
// that it moves to another.
func TestNodesOfAConnection(t *testing.T) {
	const line = "02:00:c0:00:02:fe > 02:00:c0:00:02:%s, ethertype IPv4 (0x0800), length 74: " +
		"192.0.2.100.%d > 203.0.113.0.80: Flags [%s], seq 1, win 64240, length 0"
	var packets []lab.Packet
	for _, one := range []struct {
		node string
		port int
	}{{"0b", 10001}, {"0c", 10002}, {"0b", 10001}, {"0b", 10002}, {"0c", 10002}} {
		packets = append(packets, lab.Packet{Text: fmt.Sprintf(line, one.node, one.port, ".")})
	}
	packets = append(packets, lab.Packet{Text: "02:00:c0:00:02:fe > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Request who-has 192.0.2.11"})
	got := nodesOf(packets)
	if len(got) != 2 || len(got[10001]) != 1 || len(got[10002]) != 2 {
		t.Errorf("the nodes of each connection: %v", got)
	}
}

// Two readings of /proc/stat: 200 ticks later, of which 50 idle and 10 waiting.
func TestBusyShare(t *testing.T) {
	got, err := busyShare("cpu  100 0 50 800 20 0 5 0 30 0\ncpu0 1", "cpu  180 0 110 850 30 0 5 0 99 0\n")
	if err != nil || got < 0.699 || got > 0.701 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := busyShare("intr 1 2", "intr 1 2"); err == nil {
		t.Error("no line of the processors, and no error")
	}
}
