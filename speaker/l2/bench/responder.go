package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/model"
)

const nic = "eth0"

// held is the nth address that the responder holds: every other one of many. Of
// few the gaps grow, so that the kernel's filter, which tells eight stretches of
// addresses apart, takes the first three for one and lets pass what is between.
func held(n, count int) netip.Addr {
	n *= 2
	if count == few {
		n *= n / 2
	}
	return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})
}

// answer is the responder's process. Each line on standard input is a command:
// the number of addresses to hold, or anything else for what it has cost so
// far. Each is met with one line on standard output.
func answer() error {
	r := l2.New()
	defer r.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if count, err := strconv.Atoi(lines.Text()); err == nil {
			if err := errors.Join(ip("link set "+nic+" up"), hold(r, count)); err != nil {
				return err
			}
		}
		var used unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
			return err
		}
		stats := r.Stats().ARP
		_, _ = fmt.Fprintln(os.Stdout, used.Utime.Nano()+used.Stime.Nano(), stats.Answered+stats.Ignored)
	}
	return nil
}

func hold(r *l2.Responder, count int) error {
	on, err := net.InterfaceByName(nic)
	if err != nil {
		return err
	}
	desired := l2.Desired{Interfaces: []l2.Interface{{Name: nic, Index: on.Index, MAC: on.HardwareAddr}}}
	for n := range count {
		// Announcements would be counted, too.
		desired.Answers = append(desired.Answers, model.Answer{Address: held(n, count), Interfaces: []string{nic}, Mode: model.Quiet})
	}
	slices.SortFunc(desired.Answers, func(a, b model.Answer) int { return a.Address.Compare(b.Address) })
	for _, problem := range r.Apply(desired) {
		return problem
	}
	return nil
}

// station is the responder as the segment sees it.
type station struct {
	in  io.Writer
	out *bufio.Scanner
}

// plugIn starts the responder at the other end of a cable from eth0.
func plugIn() (s *station, stop func(), err error) {
	c := inNamespace(responder)
	c.Stdout = nil
	in, err := c.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := c.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() {
		_ = in.Close()
		_ = c.Wait()
		_ = ip("link del " + nic)
	}
	pid := strconv.Itoa(c.Process.Pid)
	if err := errors.Join(ip("link add "+nic+" type veth peer name "+nic+" netns "+pid), ip("link set "+nic+" up")); err != nil {
		stop()
		return nil, nil, err
	}
	return &station{in, bufio.NewScanner(out)}, stop, nil
}

// ip runs one ip(8) command.
func ip(args string) error {
	//nolint:noctx // our own words, and over in a moment
	if text, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, text)
	}
	return nil
}

// usage sends a command and returns the processor time in ns and the requests
// seen until then.
func (s *station) usage(command string) (ns, requests float64, err error) {
	if _, err := fmt.Fprintln(s.in, command); err != nil {
		return 0, 0, err
	}
	if !s.out.Scan() {
		return 0, 0, fmt.Errorf("the responder has ended: %w", s.out.Err())
	}
	_, err = fmt.Sscan(s.out.Text(), &ns, &requests)
	return ns, requests, err
}
