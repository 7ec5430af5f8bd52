package schematest

import (
	"maps"
	"strconv"
)

const since = "2026-01-01T00:00:00Z"

// conflictCases are those of what speakers and pools say about address
// conflicts and moves, and of what speakers say about each other.
func conflictCases() map[string]Case {
	cases := map[string]Case{
		"ipaddresspools status.quarantined maxItems":                         {many(16, quarantined), many(17, quarantined)},
		"ipaddresspools status.quarantined[].address maxLength":              {text(45), text(46)},
		"ipaddresspools status.quarantined[].mac maxLength":                  {text(64), text(65)},
		"ipaddresspools status.quarantined[].reassignedServices maxItems":    {many(16, number), many(17, number)},
		"ipaddresspools status.quarantined[].reassignedServices[] maxLength": {text(320), text(321)},
		"speakers status.conflicts maxItems":                                 {many(256, foundConflict), many(257, foundConflict)},
		"speakers status.conflicts[].address maxLength":                      {text(45), text(46)},
		"speakers status.conflicts[].mac maxLength":                          {text(64), text(65)},
		"speakers status.conflicts[].interface maxLength":                    {text(15), text(16)},
		"speakers status.conflicts[].found enum":                             {"InUse", "Never"},
		"speakers status.moves maxItems":                                     {many(32, addressMove), many(33, addressMove)},
		"speakers status.moves[].address maxLength":                          {text(45), text(46)},
		"speakers status.moves[].from maxLength":                             {text(253), text(254)},
		"speakers status.moves[].to maxLength":                               {text(253), text(254)},
		"speakers status.moves[].cause maxLength":                            {text(64), text(65)},
	}
	for _, resource := range []string{"speakers", "members"} {
		maps.Copy(cases, map[string]Case{
			resource + " status.memberAddress maxLength":         {text(64), text(65)},
			resource + " status.localAddresses maxItems":         {many(16, number), many(17, number)},
			resource + " status.localAddresses[] maxLength":      {text(45), text(46)},
			resource + " status.unreachable maxItems":            {many(256, unreachable), many(257, unreachable)},
			resource + " status.unreachable[].name maxLength":    {text(253), text(254)},
			resource + " status.confirmedAlive maxItems":         {many(256, unreachable), many(257, unreachable)},
			resource + " status.confirmedAlive[].name maxLength": {text(253), text(254)},
		})
	}
	return cases
}

func quarantined(i int) any { return map[string]any{"address": strconv.Itoa(i), "since": since} }

func foundConflict(i int) any {
	return map[string]any{"address": strconv.Itoa(i), "found": "FirstUse", "since": since}
}

func unreachable(i int) any { return map[string]any{"name": strconv.Itoa(i), "since": since} }

func addressMove(i int) any {
	return map[string]any{"time": "2026-01-01T00:00:00.000000Z", "address": strconv.Itoa(i), "cause": "NodeFailed"}
}
