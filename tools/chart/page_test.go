package chart

import (
	"slices"
	"strings"
	"testing"
)

// The status page is for those who may forward a port, unless somebody asks for more.
func TestTheStatusPage(t *testing.T) {
	const ingress = "networkPolicy: {enabled: true, pageFrom: [{namespaceSelector: {}}]}\n"
	for name, test := range map[string]struct {
		values  string
		flags   []string // each of them stands there
		without string   // a part of none of them
		service bool
	}{
		"the defaults": {values: ingress, flags: []string{"--page-address=127.0.0.1:7475"}, without: "--page-hosts"},
		"off":          {values: ingress + "page: {enabled: false, service: {enabled: true}}", flags: []string{"--page-address="}, without: "--page-hosts"},
		"a port and a name": {
			values: ingress + "page: {port: 17475, hosts: [balance.example.org]}",
			flags:  []string{"--page-address=127.0.0.1:17475", "--page-hosts=balance.example.org"},
		},
		"a Service": {
			values: ingress + "page: {service: {enabled: true}, hosts: [balance.example.org]}",
			flags: []string{
				"--page-address=:7475",
				"--page-hosts=baliza-page,baliza-page.elsewhere,baliza-page.elsewhere.svc,baliza-page.elsewhere.svc.cluster.local,balance.example.org",
			},
			service: true,
		},
	} {
		each(t, func(t *testing.T, helm string) {
			all := template(t, helm, test.values)
			args := text(container(t, all.one(t, "Deployment", "baliza-controller"), "args"))
			for _, flag := range test.flags {
				if !slices.Contains(strings.Fields(strings.Trim(args, "[]")), flag) {
					t.Errorf("%s: no %s in %s", name, flag, args)
				}
			}
			if test.without != "" && strings.Contains(args, test.without) {
				t.Errorf("%s: %s in %s", name, test.without, args)
			}
			if got := slices.Contains(all.names(), "Service/baliza-page"); got != test.service {
				t.Errorf("%s: a Service: %t", name, got)
			}
			rules, _ := at(t, all.one(t, "NetworkPolicy", "baliza-controller"), "spec", "ingress").([]any)
			if want := map[bool]int{false: 1, true: 2}[test.service]; len(rules) != want {
				t.Errorf("%s: %d rules, want %d: %v", name, len(rules), want, rules)
			}
			if !test.service {
				return
			}
			service, policy := all.one(t, "Service", "baliza-page"), all.one(t, "NetworkPolicy", "baliza-controller")
			for what, pair := range map[string][2]any{
				"type":        {at(t, service, "spec", "type"), "ClusterIP"},
				"target":      {at(t, service, "spec", "ports", 0, "targetPort"), "page"},
				"policy":      {at(t, policy, "spec", "ingress", 1, "ports", 0, "port"), "7475"},
				"policy from": {at(t, policy, "spec", "ingress", 1, "from", 0, "namespaceSelector"), "map[]"},
			} {
				if got := text(pair[0]); got != pair[1] {
					t.Errorf("%s: %s is %s, want %s", name, what, got, pair[1])
				}
			}
		})
	}
}
