package cluster

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// birdTuple is a community as BIRD writes it: (64513,77) or (64513, 1, 2).
var birdTuple = regexp.MustCompile(`\(([0-9, ]+)\)`)

// birdPaths reads what "show route all" says of one prefix.
func birdPaths(out string, p netip.Prefix) []Path {
	var paths []Path
	here := false
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if !strings.HasPrefix(line, "\t") { // a path, of the prefix before unless it names one
			if strings.Contains(fields[0], "/") {
				here = fields[0] == p.String()
			}
			if here && strings.Contains(line, "unicast") {
				paths = append(paths, Path{Valid: true})
			}
			continue
		}
		if here && len(paths) > 0 {
			paths[len(paths)-1].readBIRD(fields[0], strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), fields[0])))
		}
	}
	return paths
}

// birdWatches tells whether "show bfd sessions" has all these hosts up, each with
// a timeout of less than a second. Its columns are the address, the interface,
// the state, since when, the interval and the timeout.
func birdWatches(out string, hosts []netip.Addr) bool {
	up := 0
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 6 || fields[2] != "Up" {
			continue
		}
		host, err := netip.ParseAddr(fields[0])
		timeout, wrong := strconv.ParseFloat(fields[5], 64)
		if err == nil && wrong == nil && slices.Contains(hosts, host) && timeout > 0 && timeout < 1 {
			up++
		}
	}
	return up == len(hosts)
}

func (p *Path) readBIRD(name, value string) {
	number := func() uint32 { n, _ := strconv.ParseUint(value, 10, 32); return uint32(n) }
	tuples := func() string {
		var all []string
		for _, m := range birdTuple.FindAllStringSubmatch(value, -1) {
			all = append(all, strings.ReplaceAll(strings.ReplaceAll(m[1], " ", ""), ",", ":"))
		}
		return strings.Join(all, " ")
	}
	switch name {
	case "BGP.as_path:":
		p.ASPath.String = value
	case "BGP.med:":
		p.Metric = number()
	case "BGP.local_pref:":
		p.LocalPref = number()
	case "BGP.community:":
		p.Community.String = tuples()
	case "BGP.large_community:":
		p.LargeCommunity.String = tuples()
	}
}
