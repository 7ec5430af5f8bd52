package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

func class(name string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &name }
}

func annotated(pairs ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Annotations = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			svc.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func TestA01_A_class_less_Service_gets_an_address(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", nil)
	if got, want := p.addresses(ctx, "web", 1), p.v4+".0"; got != want {
		t.Errorf("got %s, want the lowest free, %s", got, want)
	}
	svc := p.get(ctx, "web")
	if mode := svc.Status.LoadBalancer.Ingress[0].IPMode; mode == nil || *mode != corev1.LoadBalancerIPModeVIP {
		t.Errorf("ipMode is %v, want VIP", mode)
	}
	if !slices.Contains(svc.Finalizers, v1beta1.Finalizer) {
		t.Errorf("finalizers are %v", svc.Finalizers)
	}
	if _, err := p.Kubectl(ctx, "-n", p.name, "wait", "--for=condition="+v1beta1.ConditionAllocated, "service/web", "--timeout=10s"); err != nil {
		t.Error(err)
	}
	p.announced(ctx, "web")
	out, err := p.Kubectl(ctx, "-n", p.name, "get", "events.events.k8s.io", "-o", "jsonpath={range .items[*]}{.regarding.kind}/{.regarding.name} {.reason}{\"\\n\"}{end}")
	p.must(err)
	if strings.Count(out, "Service/web "+string(v1beta1.ReasonAllocated)+"\n") != 1 {
		t.Errorf("want one event that says Allocated, got:\n%s", out)
	}
}

func TestA02_Our_class_is_served_and_a_foreign_one_never_touched(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "foreign", class("example.com/other"))
	_, err := p.Client.CoreV1().Services(p.name).Patch(ctx, "foreign", types.MergePatchType,
		[]byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"`+p.v4+`.9"}]}}}`), metav1.PatchOptions{}, "status")
	p.must(err)
	p.service(ctx, "ours", class(v1beta1.LoadBalancerClass))
	p.addresses(ctx, "ours", 1)
	p.unchanged(ctx, "foreign")
	if svc := p.get(ctx, "foreign"); len(svc.Finalizers) > 0 || join(cluster.Addresses(svc)) != p.v4+".9" {
		t.Errorf("the foreign Service was touched: %+v", svc)
	}
}

func TestA03_With_class_less_serving_off_only_our_class_is_served(t *testing.T) {
	ctx, p := newPlot(t, 1)
	serve := func(value string) {
		t.Helper()
		for _, workload := range []string{"deployment/baliza-controller", "daemonset/baliza-speaker"} {
			p.argument(ctx, workload, "--serve-classless=", value)
		}
		p.must(p.Rollout(ctx))
	}
	serve("false")
	defer serve("true")
	p.service(ctx, "classless", nil)
	p.service(ctx, "ours", class(v1beta1.LoadBalancerClass))
	p.addresses(ctx, "ours", 1)
	p.unchanged(ctx, "classless")
	if svc := p.get(ctx, "classless"); len(cluster.Addresses(svc)) > 0 || len(svc.Status.Conditions) > 0 {
		t.Errorf("the class-less Service was served: %+v", svc.Status)
	}
}

// argument replaces the argument of a workload that starts with the prefix.
func (p *plot) argument(ctx context.Context, workload, prefix, value string) {
	p.t.Helper()
	out, err := p.Kubectl(ctx, "-n", cluster.Namespace, "get", workload, "-o", "jsonpath={.spec.template.spec.containers[0].args}")
	p.must(err)
	var args []string
	p.must(json.Unmarshal([]byte(out), &args))
	i := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, prefix) })
	if i < 0 {
		p.t.Fatalf("%s has no argument %s: %v", workload, prefix, args)
	}
	_, err = p.Kubectl(ctx, "-n", cluster.Namespace, "patch", workload, "--type=json",
		"-p", fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/args/%d","value":%q}]`, i, prefix+value))
	p.must(err)
}

func TestA04_What_stops_being_a_LoadBalancer_frees_its_address(t *testing.T) {
	ctx, p := newPlot(t, 1)
	named := annotated(v1beta1.AnnotationAddresses, p.v4+".5")
	p.service(ctx, "web", named)
	p.addresses(ctx, "web", 1)
	retype := func(kind string) {
		t.Helper()
		_, err := p.Kubectl(ctx, "-n", p.name, "patch", "service", "web", "-p", `{"spec":{"type":"`+kind+`"}}`)
		p.must(err)
	}
	retype("ClusterIP")
	err := lab.WaitFor(ctx, "finalizer, address and conditions to go", func() (bool, error) {
		svc := p.get(ctx, "web")
		return len(svc.Finalizers) == 0 && len(svc.Status.LoadBalancer.Ingress) == 0 && len(svc.Status.Conditions) == 0, nil
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, p.get(context.WithoutCancel(ctx), "web"))
	}
	p.service(ctx, "next", named)
	p.addresses(ctx, "next", 1)

	retype("LoadBalancer")
	p.refused(ctx, "web", v1beta1.ReasonAddressInUse)
	_, err = p.Kubectl(ctx, "-n", p.name, "delete", "service", "next", "--timeout=20s")
	p.must(err)
	if got := p.addresses(ctx, "web", 1); got != p.v4+".5" {
		t.Errorf("got %s", got)
	}
	if svc := p.get(ctx, "web"); !slices.Contains(svc.Finalizers, v1beta1.Finalizer) {
		t.Errorf("the finalizer is not back: %v", svc.Finalizers)
	}
	_, err = p.Kubectl(ctx, "-n", p.name, "delete", "service", "web", "--timeout=20s")
	p.must(err)
	if _, err := p.Client.CoreV1().Services(p.name).Get(ctx, "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("want it gone, got %v", err)
	}
}

func TestA05_A_named_address_is_honoured(t *testing.T) {
	ctx, p := newPlot(t, 1)
	for name, change := range map[string]func(*corev1.Service){
		"annotation": annotated(v1beta1.AnnotationAddresses, p.v4+".7"),
		"spec":       func(svc *corev1.Service) { svc.Spec.LoadBalancerIP = p.v4 + ".8" },
		"alias":      annotated("metallb.universe.tf/loadBalancerIPs", p.v4+".9"),
		"both": func(svc *corev1.Service) {
			annotated(v1beta1.AnnotationAddresses, p.v4+".10")(svc)
			svc.Spec.LoadBalancerIP = p.v4 + ".11"
		},
	} {
		p.service(ctx, name, change)
	}
	for name, want := range map[string]string{"annotation": ".7", "spec": ".8", "alias": ".9", "both": ".10"} {
		if got := p.addresses(ctx, name, 1); got != p.v4+want {
			t.Errorf("%s: got %s, want %s", name, got, p.v4+want)
		}
	}
}

func TestA06_Garbage_in_an_annotation_is_refused_and_the_present_address_kept(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", nil)
	before := p.addresses(ctx, "web", 1)
	_, err := p.Kubectl(ctx, "-n", p.name, "annotate", "service", "web", v1beta1.AnnotationAddresses+"=198.19.999.1")
	p.must(err)
	if message := p.refused(ctx, "web", v1beta1.ReasonInvalidRequest); !strings.Contains(message, "198.19.999.1") {
		t.Errorf("the message does not quote the garbage: %s", message)
	}
	if after := p.addresses(ctx, "web", 1); after != before {
		t.Errorf("the address moved from %s to %s", before, after)
	}
}

func TestA09_Whoever_waits_gets_a_freed_address(t *testing.T) {
	ctx, p := newPlot(t, 1)
	named := annotated(v1beta1.AnnotationAddresses, p.v4+".3")
	p.service(ctx, "first", named)
	p.addresses(ctx, "first", 1)
	p.service(ctx, "second", named)
	if message := p.refused(ctx, "second", v1beta1.ReasonAddressInUse); !strings.Contains(message, p.name+"/first") {
		t.Errorf("the message does not name the holder: %s", message)
	}
	_, err := p.Kubectl(ctx, "-n", p.name, "delete", "service", "first", "--timeout=20s")
	p.must(err)
	p.addresses(ctx, "second", 1)
}

func TestA10_Garbage_in_status_is_repaired(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", nil)
	want := p.addresses(ctx, "web", 1)
	for _, garbage := range []string{`[{"hostname":"example.org"}]`, `[{"ip":"203.0.113.99"}]`, `[]`} {
		_, err := p.Client.CoreV1().Services(p.name).Patch(ctx, "web", types.MergePatchType,
			[]byte(`{"status":{"loadBalancer":{"ingress":`+garbage+`}}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"}, "status")
		p.must(err)
		err = lab.WaitFor(ctx, "the address to be back after "+garbage, func() (bool, error) {
			ingress := p.get(ctx, "web").Status.LoadBalancer.Ingress
			return len(ingress) == 1 && ingress[0].IP == want && ingress[0].Hostname == "", nil
		})
		if err != nil {
			t.Fatalf("%v: %+v", err, p.get(context.WithoutCancel(ctx), "web").Status)
		}
	}
}

func TestA11_A_pool_without_autoAssign_is_used_only_when_named(t *testing.T) {
	ctx, p := newPlot(t, 1)
	_, err := p.Kubectl(ctx, "patch", "bpool", p.name, "--type=merge", "-p",
		`{"spec":{"autoAssign":false,"avoidBuggyIPs":true,"excluded":["`+p.v4+`.1-`+p.v4+`.3"]}}`)
	p.must(err)
	p.service(ctx, "anyone", nil)
	p.refused(ctx, "anyone", v1beta1.ReasonAutoAssignDisabled)
	p.service(ctx, "named", annotated(v1beta1.AnnotationPool, p.name))
	if got := p.addresses(ctx, "named", 1); got != p.v4+".4" {
		t.Errorf("got %s, want %s.4: .0 is buggy, .1 to .3 are excluded", got, p.v4)
	}
}

func TestA14_Restart_and_leader_change_move_no_address(t *testing.T) {
	ctx, p := newPlot(t, 1)
	const count = 12
	before := map[string]string{}
	for i := range count {
		p.service(ctx, fmt.Sprintf("s%d", i), nil)
	}
	for i := range count {
		name := fmt.Sprintf("s%d", i)
		before[name] = p.addresses(ctx, name, 1)
	}
	p.service(ctx, "gone", nil)
	for name := range before {
		p.announced(ctx, name)
	}
	p.announced(ctx, "gone")
	leader := p.leader(ctx)
	versions := p.versions(ctx)

	p.killController(ctx, leader)
	err := lab.WaitFor(ctx, "another leader", func() (bool, error) { return p.leader(ctx) != leader, nil })
	p.must(err)
	_, err = p.Kubectl(ctx, "-n", p.name, "delete", "service", "gone", "--timeout=60s")
	p.must(err)
	for _, process := range p.controllers() {
		p.must(p.Stop(ctx, process, unix.SIGKILL))
	}
	p.must(p.Rollout(ctx))
	p.service(ctx, "new", nil)
	fresh := p.addresses(ctx, "new", 1)

	after := p.versions(ctx)
	for name, address := range before {
		if got := p.addresses(ctx, name, 1); got != address || got == fresh {
			t.Errorf("%s had %s and has %s; the new Service has %s", name, address, got, fresh)
		}
		if after[name] != versions[name] {
			t.Errorf("%s was written to although nothing changed", name)
		}
	}
}

// announced waits until the Service says that it is announced.
func (p *plot) announced(ctx context.Context, name string) {
	p.t.Helper()
	err := lab.WaitFor(ctx, "Service "+name+" to be announced", func() (bool, error) {
		c := cluster.Condition(p.get(ctx, name).Status.Conditions, v1beta1.ConditionAnnounced)
		return c != nil && c.Status == metav1.ConditionTrue, nil
	})
	if err != nil {
		p.t.Fatalf("%v; conditions: %+v", err, p.get(context.WithoutCancel(ctx), name).Status.Conditions)
	}
}

// leader is the holder of the controller's Lease.
func (p *plot) leader(ctx context.Context) string {
	p.t.Helper()
	leases, err := p.Client.CoordinationV1().Leases(cluster.Namespace).List(ctx, metav1.ListOptions{})
	p.must(err)
	if len(leases.Items) != 1 || leases.Items[0].Spec.HolderIdentity == nil {
		return ""
	}
	return *leases.Items[0].Spec.HolderIdentity
}

// controllers are the running controller processes.
func (p *plot) controllers() []string {
	var names []string
	for _, process := range p.Processes("") {
		if strings.Contains(process.Name, "/baliza-controller-") {
			names = append(names, process.Name)
		}
	}
	return names
}

// killController kills the controller whose identity this is.
func (p *plot) killController(ctx context.Context, identity string) {
	p.t.Helper()
	for _, process := range p.controllers() {
		pod := strings.Split(process, "/")[2]
		if strings.Contains(identity, pod) {
			p.must(p.Stop(ctx, process, unix.SIGKILL))
			return
		}
	}
	p.t.Fatalf("no controller process is the leader %q: %v", identity, p.controllers())
}

// versions are the resource versions of the plot's Services.
func (p *plot) versions(ctx context.Context) map[string]string {
	p.t.Helper()
	time.Sleep(cluster.Settle)
	list, err := p.Client.CoreV1().Services(p.name).List(ctx, metav1.ListOptions{})
	p.must(err)
	versions := map[string]string{}
	for _, svc := range list.Items {
		versions[svc.Name] = svc.ResourceVersion
	}
	return versions
}

func TestA15_A_pool_that_shrinks_or_goes_re_numbers_nobody(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", annotated(v1beta1.AnnotationAddresses, p.v4+".9"))
	p.addresses(ctx, "web", 1)
	_, err := p.Kubectl(ctx, "patch", "bpool", p.name, "--type=merge", "-p", `{"spec":{"addresses":["`+p.v4+`.0/29"]}}`)
	p.must(err)
	err = lab.WaitFor(ctx, "the pool to say who is outside", func() (bool, error) {
		pool, err := p.Baliza.BalizaV1beta1().IPAddressPools().Get(ctx, p.name, metav1.GetOptions{})
		return err == nil && slices.Contains(pool.Status.OutsideSpec, p.v4+".9 "+p.name+"/web"), err
	})
	p.must(err)
	_, err = p.Kubectl(ctx, "delete", "bpool", p.name)
	p.must(err)
	time.Sleep(cluster.Settle)
	if got := p.addresses(ctx, "web", 1); got != p.v4+".9" {
		t.Errorf("got %s", got)
	}
}

func TestS04_Dual_stack_Services_get_both_or_what_there_is(t *testing.T) {
	ctx, p := newPlot(t, 1)
	policy := func(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) func(*corev1.Service) {
		return func(svc *corev1.Service) { svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies = &policy, families }
	}
	p.service(ctx, "both", policy(corev1.IPFamilyPolicyRequireDualStack))
	p.service(ctx, "six-first", policy(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv6Protocol, corev1.IPv4Protocol))
	p.service(ctx, "six", policy(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol))
	for name, want := range map[string]int{"both": 2, "six-first": 2, "six": 1} {
		got := p.addresses(ctx, name, want)
		if sixFirst := strings.Contains(strings.Fields(got)[0], ":"); sixFirst != (name != "both") {
			t.Errorf("%s got %s", name, got)
		}
	}
	_, err := p.Kubectl(ctx, "patch", "bpool", p.name, "--type=merge", "-p", `{"spec":{"addresses":["`+p.v4+`.0/28"]}}`)
	p.must(err)
	p.service(ctx, "require", policy(corev1.IPFamilyPolicyRequireDualStack))
	p.refused(ctx, "require", v1beta1.ReasonIPFamilyUnavailable)
	p.service(ctx, "prefer", policy(corev1.IPFamilyPolicyPreferDualStack))
	if got := p.addresses(ctx, "prefer", 1); strings.Contains(got, ":") {
		t.Errorf("prefer got %s", got)
	}
}
