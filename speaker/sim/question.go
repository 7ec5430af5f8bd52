package sim

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/node"
)

// askAll lets the judge ask for everything.
func (s *script) askAll(name string, args []string) (bool, error) {
	switch name {
	case "nodes":
		return true, s.nodesKnow()
	case "reported":
		return true, s.reported(v1beta1.Reason(args[0]), args[1])
	case "one":
		limit := time.Duration(0)
		if len(args) > 0 {
			limit = duration(args[1])
		}
		_, _, err := s.Await(limit)
		return true, err
	}
	return false, nil
}

// show writes what is found on the wire.
func (s *script) show(name string, args []string) (bool, error) {
	switch name {
	case "owners", "loads":
		owners, err := s.Owners()
		if name == "loads" {
			fmt.Fprintf(&s.out, "> %s\n", Loads(owners))
			return true, err
		}
		for _, a := range sorted(owners) {
			fmt.Fprintf(&s.out, "> %s %s\n", a, owners[a])
		}
		return true, err
	case "moves":
		s.moves()
		return true, nil
	case "answers":
		answers := s.Answers(addresses(args)...)
		for _, a := range addresses(args) {
			fmt.Fprintf(&s.out, "> %s %s\n", a, strings.Join(answers[a], " "))
		}
		return true, nil
	}
	return false, nil
}

// moves writes what the speakers that live remember since the last time.
func (s *script) moves() {
	var all []node.Move
	for _, h := range s.nodes {
		if h.Alive() {
			all = append(all, h.node.Moves()...)
		}
	}
	slices.SortFunc(all, func(a, b node.Move) int { return cmp.Or(a.At.Compare(b.At), a.Address.Compare(b.Address)) })
	for i := range all {
		m := &all[i]
		if !m.At.After(s.shown) {
			continue
		}
		fmt.Fprintf(&s.out, "> %s %s -> %s %s", m.Address, cmp.Or(m.From, "nobody"), cmp.Or(m.To, "nobody"), m.Cause)
		if m.Unowned > 0 {
			fmt.Fprintf(&s.out, ", without an owner for less than %s", m.Unowned.Truncate(50*time.Millisecond)+50*time.Millisecond)
		}
		s.out.WriteString("\n")
	}
	s.shown = s.now
}

// ask lets the judge look at the wire.
func (s *script) ask(name string, args []string) (bool, error) {
	if !slices.Contains([]string{"note", "same", "balance", "never", "forwarding"}, name) {
		return false, nil
	}
	owners, err := s.Owners()
	switch name {
	case "note":
		s.noted = owners
	case "same":
		err = errors.Join(err, Moved(s.noted, owners, args...))
	case "balance":
		err = errors.Join(err, s.balance(owners, atoi(args[0])))
	case "never", "forwarding":
		for _, a := range sorted(owners) {
			switch h := s.byName[owners[a]]; {
			case name == "never" && owners[a] == args[0]:
				err = errors.Join(err, fmt.Errorf("%s answers for %s", args[0], a))
			case name == "forwarding" && h != nil && h.forwards.After(s.now):
				err = errors.Join(err, fmt.Errorf("%s answers for %s and cannot forward yet", h.name, a))
			}
		}
	}
	return true, err
}

// count compares what was sent since the last time with what may be.
func (s *script) count(name string, args []string) (bool, error) {
	count, known := map[string]int{
		"asked": s.Stats.Broadcasts, "passes": s.Stats.Passes, "claims": s.Stats.Claims,
	}[name]
	if !known {
		return false, nil
	}
	since := count - s.counted[name]
	s.counted[name] = count
	if since > atoi(args[2]) {
		return true, fmt.Errorf("%d", since)
	}
	return true, nil
}

// reported says that no speaker gives this reason for an address.
func (s *script) reported(reason v1beta1.Reason, address string) error {
	for _, h := range s.nodes {
		if !h.Alive() {
			continue
		}
		for _, w := range h.status.Status.Withheld {
			if w.Reason == reason && slices.Contains(w.Addresses, address) {
				return nil
			}
		}
	}
	return errors.New("nobody reports it")
}

// balance says who has too much.
func (s *script) balance(owners map[netip.Addr]string, percent int) (err error) {
	loads := map[string]int{}
	for _, name := range owners {
		loads[name]++
	}
	for name, load := range loads {
		if load*len(s.nodes)*100 > percent*len(owners) { //nolint:mnd // percent
			err = errors.Join(err, fmt.Errorf("%s has too much of %s", name, Loads(owners)))
		}
	}
	return err
}

// nodesKnow says which node's address another answers for.
func (s *script) nodesKnow() error {
	for _, h := range s.nodes {
		a := own(lan, h.number)
		if answers := s.Answers(a)[a]; !slices.Equal(answers, []string{h.name}) {
			return fmt.Errorf("%s is %s's own, and %v answer for it", a, h.name, answers)
		}
	}
	return nil
}
