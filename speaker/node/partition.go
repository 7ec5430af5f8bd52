package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// partitionAfter is how long speakers must not have heard each other, as far
	// as this one knows, before it says so: one that comes back after a restart is
	// heard at once, and said to be unreachable for a moment more.
	partitionAfter = 5 * time.Second
	// maxNamed is how many other speakers a message names.
	maxNamed = 3
)

// direction in which what speakers send each other does not arrive.
type direction int

const (
	inward direction = iota // here
	outward
	bothWays
)

// partitions says which speakers that are alive and this one do not hear each
// other, or one of the two not the other, and which port is to be opened where
// (T05). Each of them may answer for an address that only one should. Where they do
// hear each other by frames on a segment nothing is wrong yet, and one of two ways is
// closed.
//
// That another does not hear this one it says itself (status.unreachable). That
// one which is not heard here lives is known by its answer (status.confirmedAlive),
// which carries the time that this one gave: an older answer may be a dead
// speaker's. Both go by way of the API server.
func (n *Node) partitions(in *Input, out *Output) []string {
	closed := map[string]direction{}
	for name, since := range n.away {
		if answer, ok := in.Cluster.Confirmed[name]; ok && answer.Time.Equal(seconds(since).Time) {
			closed[name] = inward
		}
	}
	for _, by := range n.step.missed {
		_, unheard := closed[by.Name]
		_, heard := slices.BinarySearch(n.alive, by.Name)
		switch {
		case unheard:
			closed[by.Name] = bothWays
		case heard:
			closed[by.Name] = outward
		default: // it may have died since
		}
	}
	var names [bothWays + 1][]string
	parted := make(map[string]time.Time, len(closed))
	for _, name := range slices.Sorted(maps.Keys(closed)) {
		since, known := n.parted[name]
		if !known {
			since = in.Now
		}
		parted[name] = since
		if left := partitionAfter - in.Now.Sub(since); left > 0 {
			out.Again = sooner(out.Again, left)
			continue
		}
		names[closed[name]] = append(names[closed[name]], name)
	}
	n.parted = parted
	port := fmt.Sprintf("port %d, UDP and TCP,", in.Members.Address.Port())
	var texts []string
	say := func(way direction, format string) {
		if len(names[way]) > 0 {
			texts = append(texts, fmt.Sprintf(format, few(names[way]), port))
		}
	}
	say(bothWays, "this speaker and %s do not hear each other: open %s between their nodes, both ways")
	say(outward, "this speaker is not heard by %s, which it hears: open %s for what this node sends to theirs")
	if len(in.Members.FramesOnly) > 0 {
		texts = append(texts, fmt.Sprintf("this speaker hears %s over the LAN alone: open %s for what their nodes send to this one",
			few(in.Members.FramesOnly), port))
	}
	say(inward, "this speaker does not hear %s, though they are alive: open %s for what their nodes send to this one")
	return texts
}

// few names speakers, as long as they are few.
func few(names []string) string {
	if len(names) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
	}
	return strings.Join(names, ", ")
}
