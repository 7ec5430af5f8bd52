package scenarios

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// patchPool merges into the spec of the plot's pool.
func (p *plot) patchPool(ctx context.Context, spec string) {
	p.t.Helper()
	_, err := p.Kubectl(ctx, "patch", "bpool", p.name, "--type=merge", "-p", `{"spec":{`+spec+`}}`)
	p.must(err)
}

func (p *plot) remove(ctx context.Context, name string) {
	p.t.Helper()
	_, err := p.Kubectl(ctx, "-n", p.name, "delete", "service", name, "--timeout=20s")
	p.must(err)
}

func TestA17_A_reserved_address_waits_for_its_Service(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.patchPool(ctx, `"reservations":[{"addresses":["`+p.v4+`.0"]},{"addresses":["`+p.v4+`.1"],"namespace":"`+p.name+`","service":"front"}]`)
	p.ready(ctx, "bpool/"+p.name, "True", v1beta1.ReasonValid)
	p.service(ctx, "other", nil)
	if got := p.addresses(ctx, "other", 1); got != p.v4+".2" {
		t.Errorf("other got %s", got)
	}
	p.service(ctx, "front", nil)
	if got := p.addresses(ctx, "front", 1); got != p.v4+".1" {
		t.Errorf("front got %s", got)
	}
	p.service(ctx, "greedy", annotated(v1beta1.AnnotationAddresses, p.v4+".0"))
	if message := p.refused(ctx, "greedy", v1beta1.ReasonAddressReserved); !strings.Contains(message, "pool "+p.name) || !strings.Contains(message, "nobody") {
		t.Errorf("the message is %q", message)
	}
}

func TestA18_A_namespace_beyond_its_quota_waits(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.patchPool(ctx, `"quota":{"perNamespace":1}`)
	p.ready(ctx, "bpool/"+p.name, "True", v1beta1.ReasonValid)
	p.service(ctx, "first", nil)
	p.addresses(ctx, "first", 1)
	p.service(ctx, "second", nil)
	if message := p.refused(ctx, "second", v1beta1.ReasonQuotaExceeded); !strings.Contains(message, "1 of the 1") {
		t.Errorf("the message is %q", message)
	}
	p.remove(ctx, "first")
	p.addresses(ctx, "second", 1)
}

func TestA19_A_freed_address_rests_and_then_wakes_who_waits(t *testing.T) {
	ctx, p := newPlot(t, 1)
	other := p.name + "-other"
	_, err := p.Kubectl(ctx, "create", "namespace", other)
	p.must(err)
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "delete", "namespace", other, "--wait=false")
		p.must(err)
	}()
	const delay = 8 * time.Second
	p.patchPool(ctx, `"reuseDelay":"8s","serviceAllocation":{"namespaces":["`+p.name+`","`+other+`"]}`)
	p.ready(ctx, "bpool/"+p.name, "True", v1beta1.ReasonValid)
	p.service(ctx, "web", nil)
	p.addresses(ctx, "web", 1)
	p.remove(ctx, "web")
	freed := time.Now()
	_, err = p.Service(ctx, other, "any", nil)
	p.must(err)
	_, err = p.Service(ctx, other, "named", annotated(v1beta1.AnnotationAddresses, p.v4+".0"))
	p.must(err)
	if got, err := p.WaitAddresses(ctx, other, "any", 1); err != nil || join(got) != p.v4+".1" {
		t.Errorf("another tenant got %v (%v)", got, err)
	}
	got, err := p.WaitAddresses(ctx, other, "named", 1)
	p.must(err)
	if waited := time.Since(freed); waited < delay-time.Second || waited > delay+3*time.Second {
		t.Errorf("%v was given again after %s", got, waited)
	}
}

func TestA09_A_move_a_port_change_and_a_key_change_let_in_who_waits(t *testing.T) {
	ctx, p := newPlot(t, 1)
	shares := func(address, key string, port int32) func(*corev1.Service) {
		return func(svc *corev1.Service) {
			annotated(v1beta1.AnnotationAddresses, address, v1beta1.AnnotationSharingKey, key)(svc)
			svc.Spec.Ports = []corev1.ServicePort{{Port: port}}
		}
	}
	for i, change := range [][]string{
		{"annotate", "--overwrite", "service", "holder-0", v1beta1.AnnotationAddresses + "=" + p.v4 + ".9"},
		{"patch", "service", "holder-1", "-p", `{"spec":{"ports":[{"port":80,"$patch":"delete"},{"port":81}]}}`},
		{"annotate", "--overwrite", "service", "holder-2", v1beta1.AnnotationSharingKey + "=k"},
	} {
		holder, waiter := fmt.Sprintf("holder-%d", i), fmt.Sprintf("waiter-%d", i)
		address, key, port := fmt.Sprintf("%s.%d", p.v4, i), "k", int32(80)
		if i == 2 { // the ports differ, the keys do too
			key, port = "other", 82
		}
		p.service(ctx, holder, shares(address, key, port))
		p.addresses(ctx, holder, 1)
		p.service(ctx, waiter, shares(address, "k", 80))
		p.refused(ctx, waiter, v1beta1.ReasonSharingNotAllowed)
		_, err := p.Kubectl(ctx, append([]string{"-n", p.name}, change...)...)
		p.must(err)
		if got := p.addresses(ctx, waiter, 1); got != address {
			t.Errorf("%s got %s", waiter, got)
		}
	}
}

func TestA14_A_paused_leader_that_wakes_moves_nothing(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "before", nil)
	p.addresses(ctx, "before", 1)
	_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "scale", "deployment/baliza-controller", "--replicas=2")
	p.must(err)
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "-n", cluster.Namespace, "scale", "deployment/baliza-controller", "--replicas=1")
		p.must(err)
		p.must(p.Rollout(context.WithoutCancel(ctx)))
	}()
	p.must(p.Rollout(ctx))
	leader := p.leader(ctx)
	paused := ""
	for _, process := range p.controllers() {
		if strings.Contains(leader, strings.Split(process, "/")[2]) {
			paused = process
		}
	}
	p.must(p.Signal(paused, unix.SIGSTOP))
	for i := range 4 {
		p.service(ctx, fmt.Sprintf("during-%d", i), nil)
	}
	err = lab.WaitFor(ctx, "another leader", func() (bool, error) { return p.leader(ctx) != leader, nil })
	p.must(err)
	given := map[string]string{}
	for i := range 4 {
		name := fmt.Sprintf("during-%d", i)
		given[name] = p.addresses(ctx, name, 1)
	}
	versions := p.versions(ctx)
	p.must(p.Signal(paused, unix.SIGCONT))
	after := p.versions(ctx)
	for name, address := range given {
		if got := p.addresses(ctx, name, 1); got != address {
			t.Errorf("%s moved from %s to %s", name, address, got)
		}
	}
	for name, version := range versions {
		if after[name] != version && !strings.HasPrefix(name, "during-") {
			t.Errorf("%s was written when the old leader woke", name)
		}
	}
	if all := slices.Sorted(maps.Values(given)); len(slices.Compact(all)) != len(given) {
		t.Errorf("an address was given twice: %v", given)
	}
}

func TestA15_A_pool_that_grows_is_split_and_renamed_moves_nobody(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "low", nil)
	low := p.addresses(ctx, "low", 1)
	p.service(ctx, "high", annotated(v1beta1.AnnotationAddresses, p.v4+".9"))
	p.addresses(ctx, "high", 1)
	p.patchPool(ctx, `"addresses":["`+p.v4+`.0/27"]`)
	p.service(ctx, "grown", annotated(v1beta1.AnnotationAddresses, p.v4+".17"))
	p.addresses(ctx, "grown", 1)
	upper := p.name + "-upper"
	p.patchPool(ctx, `"addresses":["`+p.v4+`.0/29"]`)
	p.must(p.Pool(ctx, upper, []string{p.v4 + ".8/29"}, p.name))
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "delete", "bpool", upper)
		p.must(err)
	}()
	_, err := p.Kubectl(ctx, "delete", "bpool", p.name)
	p.must(err)
	p.must(p.Pool(ctx, p.name, []string{p.v4 + ".0/29"}, p.name))
	p.ready(ctx, "bpool/"+upper, "True", v1beta1.ReasonValid)
	time.Sleep(cluster.Settle)
	for name, want := range map[string]string{"low": low, "high": p.v4 + ".9", "grown": p.v4 + ".17"} {
		if got := p.addresses(ctx, name, 1); got != want {
			t.Errorf("%s had %s and has %s", name, want, got)
		}
	}
}

func TestS06_A_shared_address_has_one_owner(t *testing.T) {
	ctx, p := newPlot(t, 3)
	shared := func(ports ...corev1.ServicePort) func(*corev1.Service) {
		return func(svc *corev1.Service) {
			annotated(v1beta1.AnnotationSharingKey, "k")(svc)
			svc.Spec.Ports = ports
		}
	}
	p.service(ctx, "four", shared(corev1.ServicePort{Port: 81}))
	four := p.addresses(ctx, "four", 1)
	dual := p.served(ctx, "both", shared(corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(8080)}))
	if dual[0].String() != four {
		t.Fatalf("the Services have %v and %s", dual, four)
	}
	before := p.owner(ctx, dual[0])
	p.remove(ctx, "four")
	if after := p.owner(ctx, dual[0]); after != before {
		t.Errorf("the owner moved from %s to %s when one of two Services went", before, after)
	}
	p.answers(ctx, "c1", dual[0])
}

// examples finds the YAML in a page of documentation.
var examples = regexp.MustCompile("(?s)```yaml\\n(.*?)```")

func TestDocumentedExamplesAreAccepted(t *testing.T) {
	ctx, p := newPlot(t, 1)
	for _, page := range []string{"README.md", "docs/concepts.md", "docs/addresses.md", "docs/bgp.md"} {
		text, err := os.ReadFile("../../" + page)
		p.must(err)
		blocks := examples.FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no example", page)
		}
		dir := t.TempDir()
		for i, block := range blocks {
			if !strings.Contains(block[1], "kind:") {
				continue // a piece of a chart's values
			}
			file := fmt.Sprintf("%s/%d.yaml", dir, i)
			p.must(os.WriteFile(file, []byte(block[1]), 0o600))
			if _, err := p.Kubectl(ctx, "apply", "--server-side", "--dry-run=server", "-n", p.name, "-f", file); err != nil {
				t.Errorf("%s, example %d: %v\n%s", page, i+1, err, block[1])
			}
		}
	}
}
