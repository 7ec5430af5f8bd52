package node

import (
	"maps"
	"slices"
	"strings"

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

// working marks the interfaces as not usable over which nothing comes, or goes.
func working(all []model.Interface, broken map[string]string) []model.Interface {
	if len(broken) == 0 {
		return all
	}
	marked := slices.Clone(all)
	for i := range marked {
		if why := broken[marked[i].Name]; why != "" {
			marked[i].Usable, marked[i].Suitable, marked[i].Why = false, false, why
		}
	}
	return marked
}

// noteBroken tells the operator which interfaces have stopped working, or do again.
func (n *Node) noteBroken(broken map[string]string, out *Output) {
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		if n.broken[name] != broken[name] {
			out.note(Warning, "interface does not work", "interface", name, "why", broken[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.broken)) {
		if broken[name] == "" {
			out.note(Info, "interface works again", "interface", name)
		}
	}
	n.broken = broken
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
func locate(in *Input) (macs []model.MAC, links []model.Link) {
	lacking := named(in.Cluster.Config)
	for name := range in.Members.Broken {
		lacking[name] = true
	}
	for _, on := range Relevant(in.Interfaces, in.Cluster.Config) {
		macs = append(append(macs, on.MAC), on.Ports...)
		links = append(links, model.Link{Name: on.Name, Usable: true, Suitable: on.Suitable, MAC: on.MAC, Addrs: on.Addrs})
		delete(lacking, on.Name)
	}
	for name := range lacking {
		links = append(links, model.Link{Name: name})
	}
	slices.SortFunc(links, func(a, b model.Link) int { return strings.Compare(a.Name, b.Name) })
	return macs, links
}
