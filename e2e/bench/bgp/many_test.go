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
