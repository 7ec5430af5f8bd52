package schematest

import "strings"

// Refusal is what the API server says of a value that breaks a rule: the message of a
// rule by CEL, and what stands in the refusal by any other.
func Refusal(rule string) string {
	says, plain := map[string]string{
		"minLength": "should be at least", "maxLength": "Too long", "minItems": "should have at least", "maxItems": "Too many",
		"minimum": "should be greater than or equal", "maximum": "should be less than or equal", "enum": "Unsupported value",
	}[rule]
	if !plain {
		return rule
	}
	return says
}

// required are the fields without which the one under test cannot be there.
func required(resource, path string) map[string]any {
	switch resource + " " + path {
	case "ipaddresspools spec":
		return map[string]any{"addresses": many(1, poolRange)}
	case "ipaddresspools spec.reservations[]":
		return map[string]any{"addresses": many(1, poolRange), "namespace": "a"}
	case "ipaddresspools spec.quota.namespaces[]":
		return namespaceQuota(0).(map[string]any)
	case "l2advertisements spec.preferredNodes[]":
		return preferredNode(0).(map[string]any)
	case "speakers status.bgp":
		return map[string]any{"announcedCount": int64(0)}
	case "speakers status.bgp.peers[]":
		return session(0).(map[string]any)
	case "speakers status.held[]":
		return heldAddress(0).(map[string]any)
	case "speakers status.withheld[]":
		return withheldAddresses(0).(map[string]any)
	case "ipaddresspools status.quarantined[]":
		return quarantined(0).(map[string]any)
	case "speakers status.conflicts[]":
		return foundConflict(0).(map[string]any)
	case "speakers status.moves[]":
		return addressMove(0).(map[string]any)
	case "speakers status.unreachable[]", "speakers status.confirmedAlive[]", "members status.unreachable[]", "members status.confirmedAlive[]":
		return unreachable(0).(map[string]any)
	case "bgppeers spec":
		return peerSpec(nil)
	case "bgppeers spec.passwordSecret":
		return map[string]any{"name": "a"}
	case "communities spec.communities[]":
		return alias(0).(map[string]any)
	}
	return map[string]any{}
}

// Object is one of that resource, without its metadata, that has a value where a path (status.held[].address) says.
func Object(resource, path string, value any) map[string]any {
	parent, field := "", path
	if i := strings.LastIndex(path, "."); i >= 0 {
		parent, field = path[:i], path[i+1:]
	}
	name, isList := strings.CutSuffix(field, "[]")
	if isList {
		value = []any{value}
	}
	object := required(resource, parent)
	object[name] = value
	if path == "spec.failbackDelay" {
		object["failback"] = "After"
	}
	if resource == "bgppeers" {
		accommodate(object, path)
	}
	if parent == "" {
		return object
	}
	return Object(resource, parent, object)
}

// accommodate changes the rest of a peer so that a value can stand beside it.
func accommodate(spec map[string]any, path string) {
	switch path {
	case "spec.interface", "spec.defaultGateway":
		delete(spec, "peerAddress")
	case "spec.dynamicASN":
		delete(spec, "peerASN")
	case "spec.peerASN":
		if spec["peerASN"] == int64(0) {
			spec["dynamicASN"] = "external"
		}
	case "spec.sourceAddress":
		spec["peerAddress"] = "2001:db8::1"
	}
	for from, replaced := range map[string]string{"peerAddressFrom": "peerAddress", "peerASNFrom": "peerASN", "myASNFrom": "myASN"} {
		if strings.HasPrefix(path, "spec."+from) {
			delete(spec, replaced)
		}
	}
}

func peerSpec(changes map[string]any) map[string]any {
	spec := map[string]any{"myASN": int64(64513), "peerASN": int64(64512), "peerAddress": "192.0.2.1"}
	for field, value := range changes {
		if spec[field] = value; value == nil {
			delete(spec, field)
		}
	}
	return spec
}
