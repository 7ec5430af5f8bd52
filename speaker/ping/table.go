package ping

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/speaker/model"
)

// chunk is how many addresses one message carries, which has 64 KiB at most: one of
// IPv6 takes 52 bytes.
const chunk = 512

// Table is what the kernel answers ping for. The zero value is none.
type Table struct {
	rules *rules
	// held is what the kernel's maps have: the local address for each.
	held map[netip.Addr]netip.Addr
}

// Apply makes wanted, each address of which is there once, what the kernel answers
// for. If that fails, it answers for none, and the next Apply begins anew.
func (t *Table) Apply(wanted []model.Ping) error {
	if len(wanted) == 0 {
		t.Close()
		return nil
	}
	want := make(map[netip.Addr]netip.Addr, len(wanted))
	for _, p := range wanted {
		want[p.Address] = p.Local
	}
	if maps.Equal(want, t.held) {
		return nil
	}
	if err := t.change(want); err != nil {
		t.Close()
		return explain(err)
	}
	t.held = want
	return nil
}

// change brings the kernel's maps from held to what is wanted.
func (t *Table) change(want map[netip.Addr]netip.Addr) error {
	if t.rules == nil {
		made, err := newRules()
		if err != nil {
			return err
		}
		t.rules, t.held = made, nil
	}
	var changed []netip.Addr
	for a, local := range want {
		if t.held[a] != local {
			changed = append(changed, a)
		}
	}
	for a := range t.held {
		if _, wanted := want[a]; !wanted {
			changed = append(changed, a)
		}
	}
	slices.SortFunc(changed, netip.Addr.Compare)
	for some := range slices.Chunk(changed, chunk) {
		if err := t.rules.replace(some, t.held, want); err != nil {
			return err
		}
	}
	return nil
}

// Close ends it: the kernel answers for none.
func (t *Table) Close() {
	if t.rules != nil {
		t.rules.close()
	}
	t.rules, t.held = nil, nil
}

// replace takes those of some out that the maps have, and puts those in that they
// are to have, at once.
func (r *rules) replace(some []netip.Addr, have, want map[netip.Addr]netip.Addr) error {
	for _, set := range []*nftables.Set{r.ipv4, r.ipv6} {
		var gone, fresh []nftables.SetElement
		for _, a := range some {
			if a.Is4() != (set == r.ipv4) {
				continue
			}
			if _, known := have[a]; known {
				gone = append(gone, nftables.SetElement{Key: a.AsSlice()})
			}
			if local, wanted := want[a]; wanted {
				fresh = append(fresh, nftables.SetElement{Key: a.AsSlice(), Val: local.AsSlice()})
			}
		}
		if len(gone) > 0 {
			if err := r.conn.SetDeleteElements(set, gone); err != nil {
				return err
			}
		}
		if len(fresh) > 0 {
			if err := r.conn.SetAddElements(set, fresh); err != nil {
				return err
			}
		}
	}
	return r.conn.Flush()
}

// explain adds to a refusal what is missing.
func explain(err error) error {
	for _, lacking := range []error{unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.ENOENT} {
		if errors.Is(err, lacking) {
			return fmt.Errorf("the kernel lacks nftables with NAT, connection tracking zones or tables with an owner (Linux 5.12): %w", err)
		}
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the process lacks the capability NET_ADMIN (chart: speaker.answerPing), or another has the table inet %s: %w", name, err)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("there is a table inet %s of somebody else (nft delete table inet %s): %w", name, name, err)
	}
	return err
}
