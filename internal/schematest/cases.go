package schematest

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// Case is a value of a field that a rule of the schema lets pass, and one that it
// refuses.
type Case struct{ Accepted, Refused any }

// RulePerClient is the message of a rule by CEL on an L2Advertisement, which refuses
// preferredNodes and failback alike; the case is of failback.
const RulePerClient = "with balancing: PerClient no node owns the address: there are no preferredNodes and no failback"

// The rules by CEL on an AddressRange, by their messages.
const (
	ruleSyntax   = "must be a CIDR (192.0.2.0/24) or a range of two addresses (192.0.2.10-192.0.2.20)"
	ruleHostBits = "a CIDR must not have host bits set"
	ruleFamilies = "both ends of a range must be of one family"
)

// Kinds are the kinds by their resources.
func Kinds() map[string]string {
	return map[string]string{
		"ipaddresspools": "IPAddressPool", "l2advertisements": "L2Advertisement", "speakers": "Speaker", "members": "Member",
		"bgppeers": "BGPPeer", "bgpadvertisements": "BGPAdvertisement", "bfdprofiles": "BFDProfile", "communities": "Community",
	}
}

// Cases has a case of every rule: resource, field, rule.
func Cases() map[string]Case {
	selector := func(int) any { return map[string]any{} }
	cases := map[string]Case{
		"ipaddresspools spec.addresses minItems":                            {many(1, poolRange), many(0, poolRange)},
		"ipaddresspools spec.serviceAllocation.priority minimum":            {int64(0), int64(-1)},
		"ipaddresspools spec.serviceAllocation.namespaces[] maxLength":      {text(63), text(64)},
		"ipaddresspools spec.serviceAllocation.namespaces maxItems":         {many(1024, number), many(1025, number)},
		"ipaddresspools spec.serviceAllocation.namespaceSelectors maxItems": {many(64, selector), many(65, selector)},
		"ipaddresspools spec.serviceAllocation.serviceSelectors maxItems":   {many(64, selector), many(65, selector)},
		"ipaddresspools status.availableIPv4 maxLength":                     {text(40), text(41)},
		"ipaddresspools status.availableIPv6 maxLength":                     {text(40), text(41)},
		"ipaddresspools status.outsideSpec maxItems":                        {many(100, number), many(101, number)},
		"ipaddresspools status.outsideSpec[] maxLength":                     {text(400), text(401)},
		"l2advertisements spec.ipAddressPools maxItems":                     {many(256, number), many(257, number)},
		"l2advertisements spec.ipAddressPools[] maxLength":                  {text(253), text(254)},
		"l2advertisements spec.ipAddressPoolSelectors maxItems":             {many(64, selector), many(65, selector)},
		"l2advertisements spec.serviceSelectors maxItems":                   {many(64, selector), many(65, selector)},
		"l2advertisements spec.nodeSelectors maxItems":                      {many(64, selector), many(65, selector)},
		"l2advertisements spec.interfaces maxItems":                         {many(64, number), many(65, number)},
		"l2advertisements spec.interfaces[] minLength":                      {text(1), text(0)},
		"l2advertisements spec.interfaces[] maxLength":                      {text(15), text(16)},
		"l2advertisements spec.preferredNodes maxItems":                     {many(64, preferredNode), many(65, preferredNode)},
		"l2advertisements spec.preferredNodes[].weight minimum":             {int64(1), int64(0)},
		"l2advertisements spec.preferredNodes[].weight maximum":             {int64(100), int64(101)},
		"l2advertisements spec.failback enum":                               {"Never", "Sometimes"},
		"l2advertisements spec.failbackDelay must be between 1s and 24h":    {"1s", "25h"},
		"l2advertisements spec failbackDelay goes with failback: After":     {failbackAfter("After"), failbackAfter("Never")},
		"l2advertisements spec.balancing enum":                              {"PerClient", "PerPacket"},
		"l2advertisements spec " + RulePerClient:                            {perClientSpec("Never"), perClientSpec("Immediate")},
		"speakers status.held[].balancing enum":                             {"PerClient", "PerPacket"},
		"speakers status.bgp.announced maxItems":                            {many(16384, number), many(16385, number)},
		"speakers status.bgp.announced[] maxLength":                         {text(91), text(92)},
		"speakers status.bgp.peers maxItems":                                {many(256, session), many(257, session)},
		"speakers status.bgp.peers[].name maxLength":                        {text(253), text(254)},
		"speakers status.bgp.peers[].address maxLength":                     {text(45), text(46)},
		"speakers status.bgp.peers[].state maxLength":                       {text(16), text(17)},
		"speakers status.bgp.peers[].bfd maxLength":                         {text(16), text(17)},
		"speakers status.bgp.peers[].lastError maxLength":                   {text(1024), text(1025)},
		"speakers status.membershipKeys maxItems":                           {many(16, number), many(17, number)},
		"speakers status.membershipKeys[] maxLength":                        {text(16), text(17)},
		"speakers status.version maxLength":                                 {text(128), text(129)},
		"speakers status.interfaces maxItems":                               {many(256, number), many(257, number)},
		"speakers status.interfaces[] maxLength":                            {text(15), text(16)},
		"speakers status.held maxItems":                                     {many(4096, heldAddress), many(4097, heldAddress)},
		"speakers status.held[].address maxLength":                          {text(45), text(46)},
		"speakers status.held[].services maxItems":                          {many(256, number), many(257, number)},
		"speakers status.held[].services[] maxLength":                       {text(320), text(321)},
		"speakers status.held[].interfaces maxItems":                        {many(256, number), many(257, number)},
		"speakers status.held[].interfaces[] maxLength":                     {text(15), text(16)},
		"speakers status.withheld maxItems":                                 {many(256, withheldAddresses), many(257, withheldAddresses)},
		"speakers status.withheld[].reason maxLength":                       {text(64), text(65)},
		"speakers status.withheld[].message maxLength":                      {text(1024), text(1025)},
		"speakers status.withheld[].addresses maxItems":                     {many(1024, number), many(1025, number)},
		"speakers status.withheld[].addresses[] maxLength":                  {text(45), text(46)},
	}
	for resource := range Kinds() {
		if resource == "members" {
			continue // nothing that people are told
		}
		cases[resource+" status.conditions maxItems"] = Case{many(8, someCondition), many(9, someCondition)}
	}
	for _, field := range []string{"spec.addresses", "spec.excluded"} {
		field = "ipaddresspools " + field
		padded := poolRange(0).(string)
		cases[field+" maxItems"] = Case{many(128, poolRange), many(129, poolRange)}
		cases[field+"[] minLength"] = Case{"::/9", "/"}
		cases[field+"[] maxLength"] = Case{fmt.Sprintf("%-100s", padded), fmt.Sprintf("%-101s", padded)}
		cases[field+"[] "+ruleSyntax] = Case{"192.0.2.10 - 192.0.2.20", "192.0.2.10-192.0.2.20-192.0.2.30"}
		cases[field+"[] "+ruleHostBits] = Case{"2001:db8::/64", "2001:db8::1/64"}
		cases[field+"[] "+ruleFamilies] = Case{"2001:db8::1-2001:db8::9", "192.0.2.10-2001:db8::9"}
	}
	maps.Copy(cases, useCases())
	maps.Copy(cases, bgpCases())
	maps.Copy(cases, conflictCases())
	return cases
}

func many(count int, item func(int) any) []any {
	all := make([]any, count)
	for i := range all {
		all[i] = item(i)
	}
	return all
}

func number(i int) any { return strconv.Itoa(i) }

func text(length int) any { return strings.Repeat("a", length) }

func poolRange(i int) any { return fmt.Sprintf("198.51.100.%d/32", i) }

func heldAddress(i int) any { return map[string]any{"address": strconv.Itoa(i)} }

func preferredNode(int) any {
	return map[string]any{"weight": int64(1), "nodeSelector": map[string]any{}}
}

func failbackAfter(failback string) any {
	return map[string]any{"failback": failback, "failbackDelay": "10s"}
}

func perClientSpec(failback string) any {
	return map[string]any{"balancing": "PerClient", "failback": failback, "preferredNodes": many(0, preferredNode)}
}

func session(i int) any {
	return map[string]any{"name": strconv.Itoa(i), "address": "192.0.2.254", "state": "Idle", "routesSent": int64(0)}
}

func withheldAddresses(int) any { return map[string]any{"reason": "NotOwner", "count": int64(1)} }

func someCondition(i int) any {
	return map[string]any{
		"type": fmt.Sprintf("Kind%d", i), "status": "True", "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
	}
}
