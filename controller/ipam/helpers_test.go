package ipam

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// poolOf describes a pool in one line: its name and ranges.
func poolOf(name string, ranges ...string) *v1beta1.IPAddressPool {
	object := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, r := range ranges {
		object.Spec.Addresses = append(object.Spec.Addresses, v1beta1.AddressRange(r))
	}
	return object
}

// with changes a pool.
func with(object *v1beta1.IPAddressPool, change func(*v1beta1.IPAddressPoolSpec)) *v1beta1.IPAddressPool {
	change(&object.Spec)
	return object
}

// snapshot builds pools, the first the oldest.
func snapshot(t testing.TB, pools ...*v1beta1.IPAddressPool) *config.Snapshot {
	t.Helper()
	for i, p := range pools {
		p.CreationTimestamp = metav1.NewTime(time.Unix(int64(i), 0))
	}
	s, _ := config.Build(config.Objects{Pools: pools})
	return s
}

// books are new books with pools.
func books(t testing.TB, pools ...*v1beta1.IPAddressPool) *IPAM {
	t.Helper()
	m := New()
	m.SetSnapshot(snapshot(t, pools...))
	return m
}

// option changes a request.
type option func(*config.Request)

// want makes a request of a Service in namespace default for one IPv4 address
// and port 80/TCP.
func want(name string, options ...option) config.Request {
	r := config.Request{
		Key: "default/" + name, Namespace: "default", Families: []corev1.IPFamily{corev1.IPv4Protocol},
		Policy: corev1.IPFamilyPolicySingleStack, Ports: []config.Port{{Protocol: corev1.ProtocolTCP, Number: 80}},
	}
	for _, o := range options {
		o(&r)
	}
	return r
}

func v6(r *config.Request) { r.Families = []corev1.IPFamily{corev1.IPv6Protocol} }

func dual(policy corev1.IPFamilyPolicy, first corev1.IPFamily) option {
	return func(r *config.Request) {
		r.Policy = policy
		r.Families = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
		if first == corev1.IPv6Protocol {
			slices.Reverse(r.Families)
		}
	}
}

func prefer(r *config.Request) { dual(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv4Protocol)(r) }

func require(r *config.Request) {
	dual(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv4Protocol)(r)
}

func named(addresses ...string) option {
	return func(r *config.Request) {
		for _, a := range addresses {
			r.Addresses = append(r.Addresses, netip.MustParseAddr(a))
		}
	}
}

func fromPool(name string) option { return func(r *config.Request) { r.Pool = name } }

func key(k string) option { return func(r *config.Request) { r.SharingKey = k } }

func port(number int32, protocol corev1.Protocol) option {
	return func(r *config.Request) { r.Ports = []config.Port{{Protocol: protocol, Number: number}} }
}

func local(selector labels.Set) option {
	return func(r *config.Request) { r.Local, r.Selector = true, selector }
}

func in(namespace string) option {
	return func(r *config.Request) {
		r.Key, r.Namespace = namespace+strings.TrimPrefix(r.Key, "default"), namespace
	}
}

func labelled(set labels.Set) option { return func(r *config.Request) { r.Labels = set } }

// got writes an outcome as "addresses pool reason".
func got(a Assignment, refusal *Refusal) string {
	parts := make([]string, 0, len(a.Addresses)+2)
	for _, one := range a.Addresses {
		parts = append(parts, one.String())
	}
	if a.Pool != "" {
		parts = append(parts, a.Pool)
	}
	if refusal != nil {
		parts = append(parts, string(refusal.Reason))
	}
	return strings.Join(parts, " ")
}

// assign asks and compares the outcome.
func assign(t testing.TB, m *IPAM, r config.Request, expected string) {
	t.Helper()
	_ = refused(t, m, r, expected)
}

// refused is assign and returns the refusal.
func refused(t testing.TB, m *IPAM, r config.Request, expected string) *Refusal {
	t.Helper()
	a, refusal := m.Assign(r, labels.Set{"team": r.Namespace}, time.Time{})
	if outcome := got(a, refusal); outcome != expected {
		t.Fatalf("%s gets %q, want %q (%v)", r.Key, outcome, expected, refusal)
	}
	return refusal
}

// written confirms that the cluster shows what the books say.
func written(m *IPAM, r config.Request) { m.Settled(r.Key, m.Holding(r.Key).Addresses) }

var noTime time.Time

func addrs(texts ...string) []netip.Addr {
	out := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}
