package ownership

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/baliza-lb/baliza/speaker/model"
)

func addresses(last ...byte) []netip.Addr {
	var all []netip.Addr
	for _, n := range last {
		all = append(all, netip.AddrFrom4([4]byte{198, 18, 0, n}))
	}
	return all
}

func TestALaterTakingWinsAndAStrongerSideMore(t *testing.T) {
	one := addresses(1)
	a, b := NewLedger("a"), NewLedger("b")
	a.Weigh(3)
	b.Weigh(3)
	a.Hold(one)
	b.Hear("a", a.Claims(), a.Strength())
	b.Hold(one) // later
	owner := func(l, heard *Ledger, name string) string {
		l.Hear(name, heard.Claims(), heard.Strength())
		owners, _, _ := l.Owners()
		return owners[one[0]]
	}
	if owner(a, b, "b") != "b" || owner(b, a, "a") != "b" {
		t.Error("the later taking does not win")
	}
	if _, contested, _ := b.Owners(); !slices.Equal(contested, one) {
		t.Errorf("contested: %v", contested)
	}
	b.Weigh(1) // it was alone when it took
	if owner(a, b, "b") != "a" || owner(b, a, "a") != "a" {
		t.Error("the stronger side does not win")
	}
	b.Lose("a")
	if owners, contested, _ := b.Owners(); owners[one[0]] != "b" || len(contested) > 0 {
		t.Error("the claims of the dead count")
	}
}

func TestVersionsChangeWithTheClaimsOnly(t *testing.T) {
	l := NewLedger("a")
	if !l.Hold(addresses(1, 3)) || l.Hold(addresses(1, 3)) || !l.Hold(addresses(1, 2, 3)) || !l.Hold(addresses(2)) || !l.Hold(nil) {
		t.Error("changes are not told rightly")
	}
	if len(l.Claims().List) != 0 {
		t.Errorf("%+v", l.Claims())
	}
	l.Hear("b", Claims{List: []Claim{{Address: addresses(9)[0], Epoch: 1 << 63}}}, 0)
	l.Hold(addresses(1))
	if epoch := l.Claims().List[0].Epoch; epoch > 100 {
		t.Errorf("an absurd epoch was believed: ours is %d", epoch)
	}
}

// L04: what a speaker says of its interfaces is known of it while it lives.
func TestL04_InterfacesAreToldWithTheClaims(t *testing.T) {
	a, b := NewLedger("a"), NewLedger("b")
	said := []model.Link{{Name: "eth0", Usable: true, Suitable: true}, {Name: "eth1"}}
	if !a.Locate([]model.MAC{{1}}, said) || a.Locate([]model.MAC{{1}}, said) {
		t.Error("changes are not told rightly")
	}
	b.Hear("a", a.Claims(), a.Strength())
	if links := b.Links(); !slices.EqualFunc(links["a"], said, func(a, b model.Link) bool { return a.Equal(&b) }) {
		t.Errorf("%v", links)
	}
	b.Lose("a")
	if links := b.Links(); len(links) != 0 {
		t.Errorf("of the dead: %v", links)
	}
	var many []model.Link
	for i := range 1000 {
		many = append(many, model.Link{Name: fmt.Sprintf("if%d", i)})
	}
	a.Locate(make([]model.MAC, 1000), many)
	if c := a.Claims(); len(c.MACs) != MostMACs || len(c.Links) != MostLinks {
		t.Errorf("a node with many interfaces tells of %d and %d", len(c.MACs), len(c.Links))
	}
}
