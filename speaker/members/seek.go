package members

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/baliza-lb/baliza/speaker/members/detection"
)

// seek calls the speakers that should be there and are not, until ctx ends. A
// call is one UDP packet; only who answers is joined, over TCP.
func (m *Members) seek(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		for _, one := range m.due() {
			calls.Go(func() { m.call(one) })
		}
		interval := m.settings.SeekInterval
		timer := time.NewTimer(time.Duration(float64(interval)*(0.75+0.5*rand.Float64())) / 2) //nolint:gosec // not a secret
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.called:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// due returns who is to be called now.
func (m *Members) due() []detection.Call {
	listed := m.listed()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine.Calls(func(name string) bool { return listed[name].IsValid() }, time.Now())
}

// listed are the members of the directory.
func (m *Members) listed() map[string]netip.AddrPort {
	listed := map[string]netip.AddrPort{}
	for _, n := range m.list.Members() {
		listed[n.Name] = endpoint(n)
	}
	return listed
}

// call pings one lost speaker and joins it if it answers.
func (m *Members) call(one detection.Call) {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.machine.Called(one.Name)
	}()
	if _, err := m.list.Ping(one.Name, net.UDPAddrFromAddrPort(one.At)); err != nil {
		return
	}
	if _, err := m.list.Join([]string{one.Name + "/" + one.At.String()}); err != nil {
		m.logger.Debug("a speaker answers but cannot be joined", "speaker", one.Name, "address", one.At, "error", err)
	}
}
