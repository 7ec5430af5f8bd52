package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// schemaCase is a value of a field that a rule of the schema lets pass, and one
// that it refuses.
type schemaCase struct{ accepted, refused any }

// The rules by CEL on an AddressRange, by their messages.
const (
	ruleSyntax   = "must be a CIDR (192.0.2.0/24) or a range of two addresses (192.0.2.10-192.0.2.20)"
	ruleHostBits = "a CIDR must not have host bits set"
	ruleFamilies = "both ends of a range must be of one family"
	// That on an L2Advertisement; perclient_test.go has its other half.
	rulePerClient = "with balancing: PerClient no node owns the address: there are no preferredNodes and no failback"
)

// refusalOf is what the API server says when a rule that is not CEL is broken.
var refusalOf = map[string]string{
	"minLength": "should be at least", "maxLength": "Too long", "minItems": "should have at least", "maxItems": "Too many",
	"minimum": "should be greater than or equal", "maximum": "should be less than or equal", "enum": "Unsupported value",
}

// schemaKinds are the kinds by their resources.
func schemaKinds() map[string]string {
	return map[string]string{
		"ipaddresspools": "IPAddressPool", "l2advertisements": "L2Advertisement", "speakers": "Speaker", "members": "Member",
		"bgppeers": "BGPPeer", "bgpadvertisements": "BGPAdvertisement", "bfdprofiles": "BFDProfile", "communities": "Community",
	}
}

// schemaCases has a case of every rule: resource, field, rule.
func schemaCases() map[string]schemaCase {
	selector := func(int) any { return map[string]any{} }
	cases := map[string]schemaCase{
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
		"l2advertisements spec " + rulePerClient:                            {perClientSpec("Never"), perClientSpec("Immediate")},
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
	for resource := range schemaKinds() {
		if resource == "members" {
			continue // nothing that people are told
		}
		cases[resource+" status.conditions maxItems"] = schemaCase{many(8, someCondition), many(9, someCondition)}
	}
	for _, field := range []string{"spec.addresses", "spec.excluded"} {
		field = "ipaddresspools " + field
		padded := poolRange(0).(string)
		cases[field+" maxItems"] = schemaCase{many(128, poolRange), many(129, poolRange)}
		cases[field+"[] minLength"] = schemaCase{"::/9", "/"}
		cases[field+"[] maxLength"] = schemaCase{fmt.Sprintf("%-100s", padded), fmt.Sprintf("%-101s", padded)}
		cases[field+"[] "+ruleSyntax] = schemaCase{"192.0.2.10 - 192.0.2.20", "192.0.2.10-192.0.2.20-192.0.2.30"}
		cases[field+"[] "+ruleHostBits] = schemaCase{"2001:db8::/64", "2001:db8::1/64"}
		cases[field+"[] "+ruleFamilies] = schemaCase{"2001:db8::1-2001:db8::9", "192.0.2.10-2001:db8::9"}
	}
	maps.Copy(cases, useSchemaCases())
	maps.Copy(cases, bgpSchemaCases())
	maps.Copy(cases, conflictSchemaCases())
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

// place puts a value where a path (status.held[].address) says.
func place(resource, path string, value any) map[string]any {
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
	return place(resource, parent, object)
}

func TestC04_Every_CEL_rule_accepts_and_rejects(t *testing.T) {
	ctx, p := newPlot(t, 1)
	client, err := dynamic.NewForConfig(p.Admin)
	p.must(err)
	p.ready(ctx, "bspk/n1", "True", "Announcing") // there is one to write to
	p.idleBGP(ctx)
	cases := schemaCases()
	if has, want := slices.Sorted(maps.Keys(cases)), p.schemaRules(ctx); !slices.Equal(has, want) {
		t.Errorf("the cases are not those of the installed schemas:\ncases   %s\nschemas %s", strings.Join(has, "\n        "), strings.Join(want, "\n        "))
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resource, rest, _ := strings.Cut(name, " ")
			path, rule, _ := strings.Cut(rest, " ")
			if err := p.dryRun(ctx, client, resource, path, c.accepted); err != nil {
				t.Errorf("%.200v was not accepted: %.1000v", c.accepted, err)
			}
			err := p.dryRun(ctx, client, resource, path, c.refused)
			if !apierrors.IsInvalid(err) {
				t.Fatalf("%.200v was not refused as invalid: %v", c.refused, err)
			}
			says, plain := refusalOf[rule]
			if !plain {
				says = rule
			}
			for _, word := range []string{strings.ReplaceAll(path, "[]", "[0]"), says} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the refusal does not say %q: %.1000v", word, err)
				}
			}
		})
	}
}

// dryRun sends an object with this value to the API server, which only checks
// it: as a new object, or as the status of one that is there.
func (p *plot) dryRun(ctx context.Context, client dynamic.Interface, resource, path string, value any) error {
	p.t.Helper()
	of := client.Resource(v1beta1.SchemeGroupVersion.WithResource(resource))
	object := place(resource, path, value)
	if !strings.HasPrefix(path, "status.") {
		object["apiVersion"], object["kind"] = v1beta1.SchemeGroupVersion.String(), schemaKinds()[resource]
		object["metadata"] = map[string]any{"name": p.name + "-dry"}
		_, err := of.Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	name := p.name
	if resource == "speakers" || resource == "members" {
		name = "n1"
	}
	patch, err := json.Marshal(object)
	p.must(err)
	_, err = of.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, "status")
	return err
}

// schemaRules lists the rules of the schemas that the API server has, sorted:
// resource, field, rule. What is within a condition is Kubernetes' own.
func (p *plot) schemaRules(ctx context.Context) []string {
	p.t.Helper()
	var rules []string
	for resource := range schemaKinds() {
		out, err := p.Kubectl(ctx, "get", "crd", resource+"."+v1beta1.SchemeGroupVersion.Group, "-o", "jsonpath={.spec.versions[0].schema.openAPIV3Schema}")
		p.must(err)
		var root schema
		p.must(json.Unmarshal([]byte(out), &root))
		root.walk("", func(path, rule string) { rules = append(rules, resource+" "+path+" "+rule) })
	}
	slices.Sort(rules)
	return rules
}

// schema is the part of a CRD's schema that may refuse a value.
type schema struct {
	Properties  map[string]schema `json:"properties"`
	Items       *schema           `json:"items"`
	Validations []struct {
		Message string `json:"message"`
	} `json:"x-kubernetes-validations"`
	MinLength *int     `json:"minLength"`
	MaxLength *int     `json:"maxLength"`
	MinItems  *int     `json:"minItems"`
	MaxItems  *int     `json:"maxItems"`
	Minimum   *float64 `json:"minimum"`
	Maximum   *float64 `json:"maximum"`
	Pattern   string   `json:"pattern"`
	Enum      []any    `json:"enum"`
}

func (s *schema) walk(path string, found func(path, rule string)) {
	for name, present := range map[string]bool{
		"minLength": s.MinLength != nil, "maxLength": s.MaxLength != nil, "minItems": s.MinItems != nil, "maxItems": s.MaxItems != nil,
		"minimum": s.Minimum != nil, "maximum": s.Maximum != nil, "pattern": s.Pattern != "", "enum": len(s.Enum) > 0,
	} {
		if present {
			found(path, name)
		}
	}
	for _, v := range s.Validations {
		found(path, v.Message)
	}
	if s.Items != nil && path != "status.conditions" {
		s.Items.walk(path+"[]", found)
	}
	for name, property := range s.Properties {
		property.walk(strings.TrimPrefix(path+"."+name, "."), found)
	}
}
