package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
)

// hearing is how long the judge waits for answers: longer than any takes.
const hearing = 50 * time.Millisecond

// Answers asks on the wire, as a client would, and returns who answers for each
// address: node names, or MACs of other hosts; sorted.
func (w *World) Answers(addresses ...netip.Addr) map[netip.Addr][]string {
	return w.answersTo(w.clients[0], addresses)
}

// answersTo are those that one client gets.
func (w *World) answersTo(c *client, addresses []netip.Addr) map[netip.Addr][]string {
	c.answers = make(map[netip.Addr]map[model.MAC]bool, len(addresses))
	for _, a := range addresses {
		c.answers[a] = map[model.MAC]bool{}
		c.ask(a, model.MAC{})
	}
	w.Run(hearing)
	all := make(map[netip.Addr][]string, len(addresses))
	for a, macs := range c.answers {
		for mac := range macs {
			all[a] = append(all[a], w.station(mac))
		}
		slices.Sort(all[a])
	}
	c.answers = nil
	return all
}

// station is who has a MAC.
func (w *World) station(mac model.MAC) string {
	if h := w.byMAC[mac]; h != nil {
		return h.name
	}
	for _, i := range w.intrude {
		if i.mac == mac {
			return i.name
		}
	}
	return mac.String()
}

// Owners are those of Answers, for all addresses, where exactly one answers; the
// error says where it is otherwise.
func (w *World) Owners() (owners map[netip.Addr]string, err error) {
	owners = map[netip.Addr]string{}
	var wrong []string
	addresses := slices.Clone(w.Cluster.addresses)
	answers := w.Answers(addresses...)
	for _, a := range addresses {
		if of := answers[a]; len(of) == 1 {
			owners[a] = of[0]
		} else {
			wrong = append(wrong, fmt.Sprintf("%s is answered by %v", a, of))
		}
	}
	if len(wrong) > 0 {
		err = fmt.Errorf("%d of %d: %s", len(wrong), len(addresses), strings.Join(wrong[:min(len(wrong), 4)], ", ")) //nolint:mnd // enough to see
	}
	return owners, err
}

// Caches says where a client's neighbor cache does not point to the owner.
func (w *World) Caches(owners map[netip.Addr]string) error {
	for _, c := range w.clients {
		if w.Cluster.spec.Balancing == v1beta1.BalancePerClient {
			owners = map[netip.Addr]string{} // each client has its own
			for a, of := range w.answersTo(c, sorted(c.cache)) {
				owners[a] = strings.Join(of, " and ")
			}
		}
		for _, a := range sorted(c.cache) {
			owner, known := owners[a]
			if n := c.cache[a]; known && (n.mac == model.MAC{} || w.station(n.mac) != owner) {
				return fmt.Errorf("%s sends %s to %s, and %s owns it", c.name, a, w.station(n.mac), owner)
			}
		}
	}
	return nil
}

// Moved says which addresses have another owner than before, of those whose owner
// before is not excused.
func Moved(before, now map[netip.Addr]string, excused ...string) error {
	for _, a := range sorted(before) {
		is, known := now[a]
		if known && is != before[a] && !slices.Contains(excused, before[a]) {
			return fmt.Errorf("%s moved from %s to %s without a cause", a, before[a], is)
		}
	}
	return nil
}

// Await lets time pass until exactly one answers for each address, and each client
// knows it, and returns how long that took.
func (w *World) Await(limit time.Duration) (took time.Duration, owners map[netip.Addr]string, err error) {
	started := w.now
	for {
		owners, err = w.Owners()
		if err == nil {
			err = w.Caches(owners)
		}
		took = w.now.Sub(started)
		if err == nil || took >= limit {
			return took, owners, err
		}
	}
}

// Loads are how many addresses each node has.
func Loads(owners map[netip.Addr]string) string {
	loads := map[string]int{}
	for _, name := range owners {
		loads[name]++
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(loads)) {
		texts = append(texts, fmt.Sprintf("%s=%d", name, loads[name]))
	}
	return strings.Join(texts, " ")
}
