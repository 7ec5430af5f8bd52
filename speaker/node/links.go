package node

import (
	"slices"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
)

// Relevant returns the usable interfaces that are suitable or that an
// advertisement names. The others are the node's ends of its pods' cables, of
// which there may be hundreds and a new one any moment.
func Relevant(in []model.Interface, of *config.Snapshot) []model.Interface {
	named := named(of)
	var all []model.Interface
	for i := range in {
		if on := &in[i]; on.Usable && (on.Suitable || named[on.Name]) {
			all = append(all, *on)
		}
	}
	return all
}

// SameLinks reports whether two lists of Relevant are the same as far as sockets
// and neighbors are concerned.
func SameLinks(a, b []model.Interface) bool {
	return slices.EqualFunc(a, b, func(a, b model.Interface) bool {
		return a.Name == b.Name && a.Index == b.Index && a.Epoch == b.Epoch && a.Suitable == b.Suitable
	})
}

// named are the interfaces that advertisements name.
func named(in *config.Snapshot) map[string]bool {
	named := map[string]bool{}
	for _, a := range in.L2Advertisements {
		for _, name := range a.Interfaces {
			named[name] = true
		}
	}
	return named
}

// locate returns what the other speakers must know of this node's interfaces:
// their MACs and, for each name that an advertisement may mean, whether it can be
// announced on (see plan.View.Links).
func locate(in *Input) (macs []model.MAC, links map[string]bool) {
	links = map[string]bool{"": false}
	for name := range named(in.Cluster.Config) {
		links[name] = false
	}
	for _, on := range Relevant(in.Interfaces, in.Cluster.Config) {
		macs = append(macs, on.MAC)
		if on.Suitable {
			links[""] = true
		}
		if _, named := links[on.Name]; named {
			links[on.Name] = true
		}
	}
	return macs, links
}
