package explain

import (
	"math/big"
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// FamilyUse is what the addresses of one IP family of a pool are used for: each that it
// may give is counted once. Numbers are in decimal, for they may exceed 64 bits.
type FamilyUse struct {
	Family string `json:"family"`
	// Used are those that Services have, Reserved those that are set aside and that no
	// Service has, Resting those in their cool-down, Quarantined those of another host.
	Used        int64  `json:"used"`
	Reserved    string `json:"reserved"`
	Resting     int64  `json:"resting"`
	Quarantined int64  `json:"quarantined"`
	Free        string `json:"free"`
	Total       string `json:"total"`
}

// PoolUse is a pool, and what its addresses are used for.
type PoolUse struct {
	Pool
	Families []FamilyUse `json:"families"`
}

// PoolUses are all pools, by name.
func (c *Cluster) PoolUses() []PoolUse {
	allocator := c.allocator("")
	resting := map[string]map[bool]int64{}
	for _, a := range c.objects.Resting {
		if p := c.snapshot.PoolOf(a); p != nil && !allocator.Taken(a) && !allocator.Quarantined(a) && reservedFor(p, a) == "" {
			if resting[p.Name] == nil {
				resting[p.Name] = map[bool]int64{}
			}
			resting[p.Name][a.Is4()]++
		}
	}
	pools := c.Pools()
	uses := make([]PoolUse, 0, len(pools))
	for i := range pools {
		use := PoolUse{Pool: pools[i]}
		for _, family := range []string{"IPv4", "IPv6"} {
			usage := allocator.Usage(use.Name, family == "IPv6")
			if one := familyUse(family, &usage, resting[use.Name][family == "IPv4"]); one.Total != "0" {
				use.Families = append(use.Families, one)
			}
		}
		uses = append(uses, use)
	}
	return uses
}

func familyUse(family string, u *ipam.Usage, resting int64) FamilyUse {
	free := new(big.Int).Sub(u.Free, big.NewInt(resting))
	total := new(big.Int).Add(u.Free, u.Reserved)
	total.Add(total, big.NewInt(u.Assigned+u.Quarantined))
	return FamilyUse{
		Family: family, Used: u.Assigned, Reserved: u.Reserved.String(), Resting: resting, Quarantined: u.Quarantined,
		Free: free.String(), Total: total.String(),
	}
}

// CellState is what an address of a pool is used for.
type CellState string

// States of addresses.
const (
	CellFree        CellState = "free"
	CellUsed        CellState = "used"
	CellReserved    CellState = "reserved"
	CellResting     CellState = "resting"
	CellQuarantined CellState = "quarantined"
	// CellExcluded is what the pool covers and does not give.
	CellExcluded CellState = "excluded"
)

// Cell is one address of a pool.
type Cell struct {
	Address string    `json:"address"`
	State   CellState `json:"state"`
	// Why in words: who has it, or whom it is reserved for.
	Why string `json:"why,omitempty"`
}

// PoolMap are the addresses of a pool, in order; false if there is no such pool, or it
// has more than most.
func (c *Cluster) PoolMap(name string, most int) ([]Cell, bool) {
	p := c.snapshot.Pool(name)
	if p == nil {
		return nil, false
	}
	size := new(big.Int)
	for _, r := range p.Ranges {
		size.Add(size, r.Size())
	}
	if size.Cmp(big.NewInt(int64(most))) > 0 {
		return nil, false
	}
	quarantined := map[netip.Addr]string{}
	for _, o := range c.objects.Pools {
		for i := range o.Status.Quarantined {
			q := &o.Status.Quarantined[i]
			if a, err := config.ParseAddress(q.Address); err == nil && (q.Until == nil || q.Until.After(c.now)) {
				quarantined[a] = q.MAC
			}
		}
	}
	var cells []Cell
	for _, r := range p.Ranges {
		for a := r.First; a.IsValid() && !r.Last.Less(a); a = a.Next() {
			cells = append(cells, c.cell(p, a, quarantined))
		}
	}
	return cells, true
}

func (c *Cluster) cell(p *config.Pool, a netip.Addr, quarantined map[netip.Addr]string) Cell {
	cell := Cell{Address: a.String(), State: CellFree}
	mac, isQuarantined := quarantined[a]
	reserved := reservedFor(p, a)
	switch {
	case len(c.holders[a]) > 0:
		cell.State, cell.Why = CellUsed, shorten(c.Holders(a))
	case c.snapshot.UsedBy(a) != "":
		cell.State, cell.Why = CellExcluded, c.snapshot.UsedBy(a)
	case !p.Covers(a):
		cell.State = CellExcluded
	case isQuarantined:
		cell.State, cell.Why = CellQuarantined, mac
	case reserved != "":
		cell.State, cell.Why = CellReserved, reserved
	case slices.Contains(c.objects.Resting, a):
		cell.State = CellResting
	}
	return cell
}

// reservedFor says whom an address is reserved for, or is empty.
func reservedFor(p *config.Pool, a netip.Addr) string {
	for i := range p.Reservations {
		r := &p.Reservations[i]
		if slices.ContainsFunc(r.Ranges, func(one config.Range) bool { return one.Contains(a) }) {
			return "for " + r.For()
		}
	}
	return ""
}

// PoolNamed is the pool of that name and what its addresses are used for.
func PoolNamed(all []PoolUse, name string) (PoolUse, bool) {
	i := slices.IndexFunc(all, func(p PoolUse) bool { return p.Name == name })
	if i < 0 {
		return PoolUse{}, false
	}
	return all[i], true
}
