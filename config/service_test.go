package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

func service(annotations map[string]string, loadBalancerIP string, families ...corev1.IPFamily) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", Annotations: annotations},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerIP: loadBalancerIP, IPFamilies: families,
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}, {Protocol: corev1.ProtocolSCTP, Port: 80}},
		},
	}
}

func TestA05A06NamedAddresses(t *testing.T) {
	four, six := corev1.IPv4Protocol, corev1.IPv6Protocol
	annotation := func(pairs ...string) map[string]string {
		out := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = pairs[i+1]
		}
		return out
	}
	ours := v1beta1.AnnotationAddresses
	for sentence, test := range map[string]struct {
		svc       *corev1.Service
		addresses string
		reason    v1beta1.Reason
	}{
		"nothing is named":                               {service(nil, "", four), "", ""},
		"our annotation":                                 {service(annotation(ours, "192.0.2.1"), "", four), "192.0.2.1", ""},
		"metallb.io is an alias":                         {service(annotation("metallb.io/loadBalancerIPs", "192.0.2.1"), "", four), "192.0.2.1", ""},
		"metallb.universe.tf is an alias":                {service(annotation("metallb.universe.tf/loadBalancerIPs", "192.0.2.1"), "", four), "192.0.2.1", ""},
		"ours wins over the aliases":                     {service(annotation(ours, "192.0.2.1", "metallb.io/loadBalancerIPs", "192.0.2.2"), "", four), "192.0.2.1", ""},
		"an empty one of ours counts as none":            {service(annotation(ours, " ", "metallb.io/loadBalancerIPs", "192.0.2.2"), "", four), "192.0.2.2", ""},
		"spec.loadBalancerIP":                            {service(nil, "192.0.2.1", four), "192.0.2.1", ""},
		"both agree":                                     {service(annotation(ours, "192.0.2.1,2001:db8::1"), "192.0.2.1", four, six), "192.0.2.1,2001:db8::1", ""},
		"the annotation wins; disagreement is reported":  {service(annotation(ours, "192.0.2.1"), "192.0.2.2", four), "192.0.2.1", v1beta1.ReasonConflictingRequests},
		"the annotation wins over garbage in the spec":   {service(annotation(ours, "192.0.2.1"), "nowhere", four), "192.0.2.1", v1beta1.ReasonConflictingRequests},
		"one of each family, in any order, with spaces":  {service(annotation(ours, " 2001:db8::1 , 192.0.2.1 "), "", four, six), "2001:db8::1,192.0.2.1", ""},
		"malformed":                                      {service(annotation(ours, "192.0.2.999"), "", four), "", v1beta1.ReasonInvalidRequest},
		"malformed in the spec":                          {service(nil, "lb.example.org", four), "", v1beta1.ReasonInvalidRequest},
		"a trailing comma":                               {service(annotation(ours, "192.0.2.1,"), "", four), "", v1beta1.ReasonInvalidRequest},
		"two of one family":                              {service(annotation(ours, "192.0.2.1,192.0.2.2"), "", four, six), "", v1beta1.ReasonInvalidRequest},
		"too many":                                       {service(annotation(ours, "192.0.2.1,2001:db8::1,192.0.2.3"), "", four, six), "", v1beta1.ReasonInvalidRequest},
		"a family that the Service does not have":        {service(annotation(ours, "2001:db8::1"), "", four), "", v1beta1.ReasonInvalidRequest},
		"an IPv4-mapped address":                         {service(annotation(ours, "::ffff:192.0.2.1"), "", six), "", v1beta1.ReasonInvalidRequest},
		"an address with a zone":                         {service(annotation(ours, "fe80::1%eth0"), "", six), "", v1beta1.ReasonInvalidRequest},
		"garbage in the annotation hides a good spec IP": {service(annotation(ours, "x"), "192.0.2.1", four), "", v1beta1.ReasonInvalidRequest},
	} {
		t.Run(sentence, func(t *testing.T) {
			request, problems := ParseService(test.svc)
			var got []string
			for _, a := range request.Addresses {
				got = append(got, a.String())
			}
			if strings.Join(got, ",") != test.addresses {
				t.Errorf("addresses %v, want %s", got, test.addresses)
			}
			var reason v1beta1.Reason
			if len(problems) > 0 {
				reason = problems[0].Reason
			}
			if reason != test.reason || len(problems) > 1 {
				t.Errorf("problems %v, want reason %q", problems, test.reason)
			}
		})
	}
}

// Defect 15: the class is a setting; users of MetalLB's --lb-class keep theirs,
// which cannot be changed on a Service.
func TestDefect15TheClassIsASetting(t *testing.T) {
	svc := func(class string) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class}}
	}
	for class, want := range map[string]bool{"metallb": true, "example.com/rack-1": true, v1beta1.LoadBalancerClass: false, "other": false} {
		if Wanted(svc(class), true, "metallb", "example.com/rack-1") != want {
			t.Errorf("%s: wanted %v", class, !want)
		}
	}
	if err := CheckClasses([]string{"metallb", "example.com/rack-1"}); err != nil {
		t.Error(err)
	}
	if err := CheckClasses([]string{"no class"}); err == nil {
		t.Error("a class with a space is one")
	}
}

func TestA02A03WhichServicesAreWanted(t *testing.T) {
	class := func(name string) *corev1.Service {
		svc := service(nil, "")
		svc.Spec.LoadBalancerClass = &name
		return svc
	}
	nodePort := service(nil, "")
	nodePort.Spec.Type = corev1.ServiceTypeNodePort
	for sentence, test := range map[string]struct {
		svc                *corev1.Service
		withClassless, not bool
	}{
		"our class":       {class(v1beta1.LoadBalancerClass), true, true},
		"a foreign class": {class("example.com/lb"), false, false},
		"an empty class":  {class(""), false, false},
		"no class":        {service(nil, ""), true, false},
		"another type":    {nodePort, false, false},
	} {
		if Wanted(test.svc, true) != test.withClassless || Wanted(test.svc, false) != test.not {
			t.Errorf("%s: wanted %v with class-less serving, %v without", sentence, Wanted(test.svc, true), Wanted(test.svc, false))
		}
	}
}

func TestParseServiceFields(t *testing.T) {
	svc := service(map[string]string{"metallb.io/address-pool": "lan", v1beta1.AnnotationSharingKey: "k", "metallb.io/allow-shared-ip": "other"}, "")
	policy := corev1.IPFamilyPolicyPreferDualStack
	svc.Spec.IPFamilyPolicy, svc.Spec.ClusterIPs = &policy, []string{"2001:db8::7", "10.0.0.7"}
	svc.Spec.ExternalTrafficPolicy, svc.Spec.Selector = corev1.ServiceExternalTrafficPolicyLocal, map[string]string{"app": "x"}
	r, problems := ParseService(svc)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got := fmt.Sprintf("%s %s %v %s %s %s %v %v %v", r.Key, r.Namespace, r.Families, r.Policy, r.Pool, r.SharingKey, r.Ports, r.Local, r.Selector)
	const expected = "default/web default [IPv6 IPv4] PreferDualStack lan k [{TCP 80} {SCTP 80}] true app=x"
	if got != expected {
		t.Errorf("got  %s\nwant %s", got, expected)
	}
	if r, _ := ParseService(service(nil, "")); !slices.Equal(r.Families, []corev1.IPFamily{corev1.IPv4Protocol}) || r.Policy != corev1.IPFamilyPolicySingleStack {
		t.Errorf("defaults are %v %s", r.Families, r.Policy)
	}
}

func TestServiceAnnotationsHasEverySpelling(t *testing.T) {
	all := ServiceAnnotations()
	for _, name := range []string{
		v1beta1.AnnotationAddresses, v1beta1.AnnotationAllocatedPool, "metallb.io/allow-shared-ip",
		"metallb.universe.tf/address-pool", "metallb.universe.tf/ip-allocated-from-pool",
	} {
		if !slices.Contains(all, name) {
			t.Errorf("%s is not kept", name)
		}
	}
}

func FuzzParseService(f *testing.F) {
	f.Add("192.0.2.1", "192.0.2.1", "lan", "key", true, true)
	f.Add("192.0.2.1, 2001:db8::1", "", "", "", true, true)
	f.Add("fe80::1%eth0", "::ffff:192.0.2.1", "\x00", " ", false, true)
	f.Add(",,", "0.0.0.0", strings.Repeat("x", 1000), "a,b", true, false)
	f.Fuzz(func(t *testing.T, addresses, loadBalancerIP, pool, key string, four, six bool) {
		var families []corev1.IPFamily
		if four {
			families = append(families, corev1.IPv4Protocol)
		}
		if six {
			families = append(families, corev1.IPv6Protocol)
		}
		svc := service(map[string]string{
			v1beta1.AnnotationAddresses: addresses, v1beta1.AnnotationPool: pool, "metallb.io/allow-shared-ip": key,
		}, loadBalancerIP, families...)
		r, problems := ParseService(svc)
		invalid := slices.ContainsFunc(problems, func(p Problem) bool { return p.Reason == v1beta1.ReasonInvalidRequest })
		if invalid && len(r.Addresses) > 0 {
			t.Fatalf("an invalid request names %v", r.Addresses)
		}
		seen := make(map[int]netip.Addr)
		for _, a := range r.Addresses {
			other, twice := seen[a.BitLen()]
			if twice || !a.IsValid() || a.Zone() != "" || a.Is4In6() || !slices.Contains(r.Families, Family(a)) {
				t.Fatalf("%s beside %s for %v", a, other, r.Families)
			}
			seen[a.BitLen()] = a
		}
		for _, p := range problems {
			if p.Kind != KindService || p.Name != "default/web" || p.Field == "" || p.Message == "" {
				t.Fatalf("a problem that does not say where: %+v", p)
			}
		}
	})
}
