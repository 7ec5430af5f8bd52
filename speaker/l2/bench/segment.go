package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// askEvery is the time between requests for held addresses.
	askEvery = 5 * time.Millisecond
	// answerWithin is when a request counts as lost.
	answerWithin = time.Second
	// burst is how many requests of the flood are sent at a time.
	burst = 20
	// frameLength is that of an ARP frame, without padding.
	frameLength = 42
)

// once measures with that many addresses: first in peace, then in the flood.
func (s *settings) once(count int) (f figures, err error) {
	other, stop, err := plugIn()
	if err != nil {
		return f, err
	}
	defer stop()
	if _, _, err := other.usage(strconv.Itoa(count)); err != nil {
		return f, err
	}
	on, err := net.InterfaceByName(nic)
	if err != nil {
		return f, err
	}
	asker, err := listen(on)
	if err != nil {
		return f, err
	}
	defer func() { _ = unix.Close(asker) }()
	quiet, err := s.ask(asker, on, count)
	if err != nil {
		return f, err
	}
	cpu, seen, err := other.usage("usage")
	if err != nil {
		return f, err
	}
	flooded, sent, err := s.askInFlood(asker, on, count)
	if err != nil {
		return f, err
	}
	cpuAfter, seenAfter, err := other.usage("usage")
	if err != nil {
		return f, err
	}
	if seenAfter == seen {
		return f, errors.New("the responder has seen nothing of the flood")
	}
	return figures{
		quiet: p99(quiet), flooded: p99(flooded), perRequest: (cpuAfter - cpu) / (seenAfter - seen),
		lost: 1 - (seenAfter-seen)/float64(sent), answers: len(quiet) + len(flooded),
	}, nil
}

// askInFlood is ask while another thread floods; it also returns how many
// requests there were of both.
func (s *settings) askInFlood(asker int, on *net.Interface, count int) (times []time.Duration, sent int, err error) {
	var over atomic.Bool
	done := make(chan error, 1)
	flooded := 0
	go func() {
		var err error
		flooded, err = s.flood(on, count, &over)
		done <- err
	}()
	times, err = s.ask(asker, on, count)
	over.Store(true)
	err = errors.Join(err, <-done)
	time.Sleep(50 * time.Millisecond) // until the last has been seen
	if want := float64(s.rate) * s.duration.Seconds() * 9 / 10; err == nil && float64(flooded) < want {
		err = fmt.Errorf("this machine sent only %d of %.0f requests: it is too busy to measure on", flooded, want)
	}
	return times, flooded + len(times), err
}

// flood asks, until it is over, for addresses between the held ones. They reach
// the responder's process; what is not near its addresses the kernel drops.
func (s *settings) flood(on *net.Interface, count int, over *atomic.Bool) (sent int, err error) {
	fd, err := open(on, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	frame := request(on.HardwareAddr, netip.AddrFrom4([4]byte{198, 18, 255, 253}))
	between := count - 1
	if count == few {
		between = 2
	}
	for begin := time.Now(); !over.Load(); {
		due := int(time.Since(begin).Seconds() * float64(s.rate))
		for ; sent < due; sent++ {
			copy(frame[38:], held(sent%between, count).Next().AsSlice())
			if _, err := unix.Write(fd, frame); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return sent, err
			}
		}
		time.Sleep(time.Duration(burst) * time.Second / time.Duration(s.rate))
	}
	return sent, nil
}

// ask asks for held addresses in turn and returns how long each answer took.
func (s *settings) ask(fd int, on *net.Interface, count int) ([]time.Duration, error) {
	frame := request(on.HardwareAddr, netip.AddrFrom4([4]byte{198, 18, 255, 254}))
	buffer := make([]byte, 2*frameLength)
	var times []time.Duration
	step := max(1, count/97) // not one after the other
	for begin, i := time.Now(), 0; time.Since(begin) < s.duration; i++ {
		copy(frame[38:], held(i*step%count, count).AsSlice())
		asked := time.Now()
		if _, err := unix.Write(fd, frame); err != nil {
			return nil, fmt.Errorf("ask: %w", err)
		}
		for time.Since(asked) < answerWithin {
			length, err := unix.Read(fd, buffer)
			if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
				return nil, fmt.Errorf("answer: %w", err)
			}
			// A reply (operation 2) for what was asked.
			if err == nil && length >= frameLength && buffer[21] == 2 && slices.Equal(buffer[28:32], frame[38:42]) {
				break
			}
		}
		times = append(times, time.Since(asked)) // answerWithin if it was lost
		time.Sleep(askEvery)
	}
	return times, nil
}

func p99(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)*99/100]
}

// request is an ARP request, broadcast; its target is filled in later.
func request(mac net.HardwareAddr, from netip.Addr) []byte {
	frame := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, []byte{0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1}, mac, from.AsSlice())
	return append(frame, make([]byte, frameLength-len(frame))...)
}

// listen opens a socket that gets ARP and waits for it no longer than
// answerWithin.
func listen(on *net.Interface) (int, error) {
	fd, err := open(on, unix.ETH_P_ARP)
	if err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(answerWithin.Nanoseconds())
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
}

// open opens a packet socket on the interface.
func open(on *net.Interface, protocol uint16) (int, error) {
	network := protocol<<8 | protocol>>8 // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(network))
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	return fd, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network, Ifindex: on.Index})
}
