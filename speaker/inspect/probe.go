package inspect

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/model"
)

// Bounds of a probe.
const (
	// resolveTime is how long answers to neighbor requests are waited for, and
	// handshakeTime the answer to a SYN.
	resolveTime   = time.Second
	handshakeTime = time.Second
	// probePause is what is between two probes, at least.
	probePause = 200 * time.Millisecond
	// mostInterfaces are asked on at a time, and mostHandshakes are begun.
	mostInterfaces = 16
	mostHandshakes = 4
)

// probe asks the network for an address.
func (s *Server) probe(w http.ResponseWriter, r *http.Request, view *View) {
	address, port, err := target(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if view.Config.PoolOf(address) == nil {
		http.Error(w, fmt.Sprintf("%s is of no IPAddressPool: only for addresses of those the network is asked", address), http.StatusForbidden)
		return
	}
	if !s.probing.TryLock() {
		http.Error(w, "another probe is under way: one at a time", http.StatusTooManyRequests)
		return
	}
	defer s.probing.Unlock()
	if s.now().Sub(s.last) < probePause {
		http.Error(w, "the last probe was only just now: a few each second", http.StatusTooManyRequests)
		return
	}
	found := s.ask(view, address, port)
	s.last = s.now()
	answer(w, found)
}

// target reads what a request is about; without a port no connection is begun.
func target(r *http.Request) (address netip.Addr, port uint16, err error) {
	address, err = config.ParseAddress(r.URL.Query().Get("address"))
	if err != nil {
		return address, 0, fmt.Errorf("address: %w", err)
	}
	if text := r.URL.Query().Get("port"); text != "" {
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || number == 0 {
			return address, 0, fmt.Errorf("port: %q is no number from 1 to 65535", text)
		}
		port = uint16(number)
	}
	return address, port, nil
}

// ask asks on all interfaces at once, and then begins connections.
func (s *Server) ask(view *View, address netip.Addr, port uint16) *model.WireProbe {
	found := &model.WireProbe{Address: address, Node: view.Node, Interfaces: []string{}, Answers: []model.WireAnswer{}}
	askers := view.askersFor(address)
	if len(askers) == 0 {
		found.Problems = append(found.Problems, "this node has no interface on which it could ask")
	}
	type reply struct {
		l2.Reply
		from l2.Asker
	}
	var replies []reply
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, from := range askers {
		found.Interfaces = append(found.Interfaces, from.Name)
		group.Go(func() {
			all, err := s.wire.Resolve(from, address, resolveTime)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				found.Problems = append(found.Problems, err.Error())
			}
			for _, one := range all {
				replies = append(replies, reply{one, from})
			}
		})
	}
	group.Wait()
	slices.Sort(found.Problems)
	slices.SortFunc(replies, func(a, b reply) int {
		return cmp.Or(cmp.Compare(a.After, b.After), cmp.Compare(a.from.Name, b.from.Name))
	})
	for i, one := range replies {
		result := model.WireAnswer{Interface: one.from.Name, MAC: one.MAC.String(), Node: view.nodeOf(one.MAC), Milliseconds: milliseconds(one.After)}
		if port != 0 && i < mostHandshakes {
			outcome, took, err := s.wire.Handshake(one.from, one.MAC, netip.AddrPortFrom(address, port), handshakeTime)
			result.Port, result.Handshake, result.HandshakeMilliseconds = port, outcome, milliseconds(took)
			if err != nil {
				found.Problems = append(found.Problems, err.Error())
			}
		}
		found.Answers = append(found.Answers, result)
	}
	return found
}

// askersFor are the interfaces whose subnet holds an address or, if none does, all
// that are announced on.
func (v *View) askersFor(address netip.Addr) []l2.Asker {
	var in []l2.Asker
	for _, one := range v.Askers {
		if slices.ContainsFunc(one.Addrs, func(p netip.Prefix) bool { return p.Masked().Contains(address) }) {
			in = append(in, one)
		}
	}
	if len(in) == 0 {
		in = v.Askers
	}
	return in[:min(len(in), mostInterfaces)]
}

// nodeOf is the node that has a MAC, or empty.
func (v *View) nodeOf(mac model.MAC) string {
	for _, one := range v.Askers {
		if model.MACOf(one.MAC) == mac {
			return v.Node
		}
	}
	if v.Members == nil {
		return ""
	}
	return v.Members.MACs[mac]
}

// milliseconds, to a thousandth.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 } //nolint:mnd // microseconds in one
