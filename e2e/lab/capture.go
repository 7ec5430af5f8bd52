package lab

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Packet is one line of a capture.
type Packet struct {
	// Time is when the kernel saw the packet, to the nanosecond.
	Time time.Time
	// Text is tcpdump's description, link-level header included.
	Text string
}

// Capture is a running tcpdump.
type Capture struct {
	process *Process
}

// Capture starts tcpdump on a host's LAN interface; it returns once packets are
// being captured. The filter is in tcpdump's language, words or one string.
func (l *Lab) Capture(ctx context.Context, host string, filter ...string) (*Capture, error) {
	if _, err := l.Host(host); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s/capture-%d", host, l.captures.Add(1))
	// The buffer has room for as many packets as fit when each has the length
	// of a snapshot: with tcpdump's own, 32 of them.
	argv := []string{
		"tcpdump", "-i", nic, "-n", "-e", "-tt", "-l", "-Z", "root", "--immediate-mode", "--time-stamp-precision=nano",
		"--snapshot-length=256", "--buffer-size=8192",
	}
	p, err := l.procs.start(start{name: name, netns: host, argv: append(argv, filter...), env: l.environment()})
	if err != nil {
		return nil, err
	}
	err = WaitFor(ctx, "tcpdump on "+host, func() (bool, error) {
		data, err := os.ReadFile(p.Log)
		if err != nil {
			return false, err
		}
		if !p.Running() {
			return false, fmt.Errorf("it ended: %s", strings.TrimSpace(string(data)))
		}
		return strings.Contains(string(data), "listening on"), nil
	})
	if err != nil {
		return nil, err
	}
	return &Capture{process: p}, nil
}

// Packets are what was captured so far.
func (c *Capture) Packets() []Packet {
	data, err := os.ReadFile(c.process.Log)
	if err != nil {
		return nil
	}
	return parsePackets(string(data))
}

// Stop ends the capture and returns all of it.
func (c *Capture) Stop() []Packet {
	if c.process.Running() {
		c.process.signal(unix.SIGINT)
		<-c.process.done
	}
	return c.Packets()
}

// parsePackets reads tcpdump's lines and drops all that do not begin with a
// time stamp.
func parsePackets(text string) []Packet {
	var all []Packet
	for line := range strings.Lines(text) {
		stamp, rest, ok := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if !ok {
			continue
		}
		seconds, fraction, ok := strings.Cut(stamp, ".")
		if !ok || len(fraction) != 9 {
			continue
		}
		s, errSeconds := strconv.ParseInt(seconds, 10, 64)
		ns, errFraction := strconv.ParseInt(fraction, 10, 64)
		if errSeconds == nil && errFraction == nil {
			all = append(all, Packet{Time: time.Unix(s, ns), Text: rest})
		}
	}
	return all
}
