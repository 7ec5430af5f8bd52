package ethernet

import (
	"slices"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
)

// View is what was last seen of the interfaces.
type View struct {
	snapshot *link.Snapshot
	all      []model.Interface // those of snapshot
	relevant []model.Interface
	gateways link.Gateways
}

// Model returns what the machine looks at.
func (v *View) Model(snapshot *link.Snapshot) []model.Interface {
	if v.snapshot == snapshot {
		return v.all
	}
	v.snapshot, v.all = snapshot, make([]model.Interface, 0, len(snapshot.Interfaces))
	for _, i := range snapshot.Interfaces {
		one := model.Interface{
			Name: i.Name, Index: i.Index, MAC: model.MACOf(i.MAC), Epoch: i.Epoch, Addrs: i.Addrs,
			Usable: i.Usable, Suitable: i.Suitable, Why: i.Why,
		}
		for _, mac := range i.Ports {
			one.Ports = append(one.Ports, model.MACOf(mac))
		}
		v.all = append(v.all, one)
	}
	return v.all
}

// Changed reports whether anything changed about the interfaces that matter, or
// the default routes.
func (v *View) Changed(snapshot *link.Snapshot, of *config.Snapshot) bool {
	relevant := node.Relevant(v.Model(snapshot), of)
	same := node.SameLinks(relevant, v.relevant) && v.gateways == snapshot.Gateways
	v.relevant, v.gateways = relevant, snapshot.Gateways
	return !same
}

// Usable are the interfaces that can be announced on.
func Usable(snapshot *link.Snapshot) (all []l2.Interface) {
	for _, i := range snapshot.Interfaces {
		if i.Usable {
			all = append(all, ToL2(i))
		}
	}
	return all
}

// ToL2 is what package l2 must know of an interface.
func ToL2(i link.Interface) l2.Interface {
	return l2.Interface{Name: i.Name, Index: i.Index, MAC: slices.Clone(i.MAC), Epoch: i.Epoch}
}

// asker is an interface with the addresses from which this node can ask there.
func asker(i link.Interface) l2.Asker {
	a := l2.Asker{Interface: ToL2(i)}
	for at, p := range i.Addrs {
		if at >= len(i.States) || !i.States[at].Tentative {
			a.Addrs = append(a.Addrs, p)
		}
	}
	return a
}
