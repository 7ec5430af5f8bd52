package schematest

import (
	"fmt"
	"strconv"
)

func namespaceQuota(i int) any {
	return map[string]any{"namespace": strconv.Itoa(i), "addresses": int64(1)}
}

// useCases are the cases of a pool's reservations, quota, rest and order.
func useCases() map[string]Case {
	reservation := func(i int) any { return map[string]any{"addresses": []any{poolRange(i)}} }
	cases := map[string]Case{
		"spec.reservations maxItems": {many(64, reservation), many(65, reservation)},
		"spec.reservations[] a service needs the namespace that it is in": {
			map[string]any{"addresses": many(1, poolRange), "namespace": "a", "service": "b"},
			map[string]any{"addresses": many(1, poolRange), "service": "b"},
		},
		"spec.reservations[].addresses minItems":    {many(1, poolRange), many(0, poolRange)},
		"spec.reservations[].addresses maxItems":    {many(4, poolRange), many(5, poolRange)},
		"spec.reservations[].addresses[] minLength": {"::", "/"},
		"spec.reservations[].addresses[] maxLength": {fmt.Sprintf("%-100s", "192.0.2.1"), fmt.Sprintf("%-101s", "192.0.2.1")},
		"spec.reservations[].addresses[] must be an address (192.0.2.10), a CIDR (192.0.2.0/24) or a range of two addresses (192.0.2.10-192.0.2.20)": {
			"192.0.2.10 - 192.0.2.20", "192.0.2.300",
		},
		"spec.reservations[].addresses[] " + ruleHostBits: {"2001:db8::/64", "2001:db8::1/64"},
		"spec.reservations[].namespace minLength":         {text(1), text(0)},
		"spec.reservations[].namespace maxLength":         {text(63), text(64)},
		"spec.reservations[].service minLength":           {text(1), text(0)},
		"spec.reservations[].service maxLength":           {text(63), text(64)},
		"spec.quota set perNamespace, namespaces or both": {map[string]any{"perNamespace": int64(1)}, map[string]any{}},
		"spec.quota.perNamespace minimum":                 {int64(0), int64(-1)},
		"spec.quota.namespaces minItems":                  {many(1, namespaceQuota), many(0, namespaceQuota)},
		"spec.quota.namespaces maxItems":                  {many(1024, namespaceQuota), many(1025, namespaceQuota)},
		"spec.quota.namespaces[].namespace minLength":     {text(1), text(0)},
		"spec.quota.namespaces[].namespace maxLength":     {text(63), text(64)},
		"spec.quota.namespaces[].addresses minimum":       {int64(0), int64(-1)},
		"spec.reuseDelay must be from 0s to 168h":         {"90m", "169h"},
		"spec.allocationOrder enum":                       {"LeastRecentlyUsed", "Random"},
	}
	named := make(map[string]Case, len(cases))
	for name, c := range cases {
		named["ipaddresspools "+name] = c
	}
	return named
}
