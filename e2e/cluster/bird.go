package cluster

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
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

// birdWatches reports whether "show bfd sessions" has all these hosts up, each with
// a timeout of a second at most. Its columns are the address, the interface,
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
		if err == nil && wrong == nil && slices.Contains(hosts, host) && timeout > 0 && timeout <= 1 {
			up++
		}
	}
	return up == len(hosts)
}

// birdSince is since when BIRD has a path, by its clock.
var birdSince = regexp.MustCompile(`unicast \[\S+ (\d\d:\d\d:\d\d\.\d+)`)

// birdAge is for how long each of the paths in "show route" has been as it is,
// and younger than a day.
func birdAge(out string, now time.Time) (age time.Duration, err error) {
	all := birdSince.FindAllStringSubmatch(out, -1)
	if len(all) == 0 {
		return 0, fmt.Errorf("no path: %s", out)
	}
	const day = 24 * time.Hour
	age = day
	for _, one := range all {
		since, err := time.ParseInLocation("15:04:05.000", one[1], now.Location())
		if err != nil {
			return 0, fmt.Errorf("since when BIRD has a path: %w", err)
		}
		clock := time.Date(since.Year(), since.Month(), since.Day(), now.Hour(), now.Minute(), now.Second(), now.Nanosecond(), now.Location())
		age = min(age, (clock.Sub(since)+day)%day)
	}
	return age, nil
}

func (p *Path) readBIRD(name, value string) {
	number := func() uint32 { n, _ := strconv.ParseUint(value, 10, 32); return uint32(n) }
	tuples := func() string {
		var all []string
		for _, m := range birdTuple.FindAllStringSubmatch(value, -1) {
			one := strings.ReplaceAll(strings.ReplaceAll(m[1], " ", ""), ",", ":")
			if one == "65535:0" {
				one = GracefulShutdown
			}
			all = append(all, one)
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
