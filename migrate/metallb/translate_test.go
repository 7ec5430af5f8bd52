package metallb_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// read takes in objects: kind, name and spec of each.
func read(t *testing.T, objects ...[3]string) *metallb.Objects {
	t.Helper()
	o := &metallb.Objects{}
	for _, one := range objects {
		o.Add([]byte("apiVersion: metallb.io/v1beta1\nkind: " + one[0] + "\nmetadata: {name: " + one[1] + "}\nspec: " + one[2] + "\n"))
	}
	return o
}

// Each field that does not mean the same is named with its object, and what is lost
// reaches no further than before.
func TestTranslateNamesWhatDiffers(t *testing.T) {
	peer := func(more string) [3]string {
		return [3]string{config.KindBGPPeer, "r", "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, " + more + "}"}
	}
	for name, one := range map[string]struct {
		object  [3]string
		outcome metallb.Outcome
		field   string
	}{
		"host bits":               {[3]string{config.KindPool, "p", "{addresses: [192.0.2.5/24]}"}, metallb.Exact, "spec.addresses[0]"},
		"no range":                {[3]string{config.KindPool, "p", "{addresses: [192.0.2.0/24, here]}"}, metallb.Lost, "spec.addresses[1]"},
		"no range left":           {[3]string{config.KindPool, "p", "{addresses: [127.0.0.0/8]}"}, metallb.Lost, "spec.addresses"},
		"buggy IPv6":              {[3]string{config.KindPool, "p", "{addresses: ['2001:db8::/64'], avoidBuggyIPs: true}"}, metallb.Differs, "spec.avoidBuggyIPs"},
		"priority of none":        {[3]string{config.KindPool, "p", "{addresses: [192.0.2.0/24], serviceAllocation: {namespaces: [a]}}"}, metallb.Exact, "spec.serviceAllocation.priority"},
		"unknown field":           {[3]string{config.KindPool, "p", "{addresses: [192.0.2.0/24], later: 1}"}, metallb.Lost, "spec"},
		"shared by selector":      {[3]string{config.KindL2Advertisement, "l", "{serviceSelectors: [{}]}"}, metallb.Differs, "spec.serviceSelectors"},
		"preferred nodes":         {[3]string{config.KindL2Advertisement, "l", "{preferredNodeSelectors: [{weight: 1, preference: {}}]}"}, metallb.Exact, "spec.preferredNodeSelectors"},
		"vrf":                     {peer("vrf: red"), metallb.Lost, "spec.vrf"},
		"secret":                  {peer("passwordSecret: {name: s}"), metallb.Differs, "spec.passwordSecret"},
		"two passwords":           {peer("password: p, passwordSecret: {name: s}"), metallb.Lost, "spec.password"},
		"keepalive alone":         {peer("keepaliveTime: 5s"), metallb.Exact, "spec.holdTime"},
		"keepalive too long":      {peer("keepaliveTime: 5s, holdTime: 10s"), metallb.Differs, "spec.keepaliveTime"},
		"hold time of a second":   {peer("holdTime: 1s"), metallb.Lost, "spec.holdTime"},
		"connect time of nothing": {peer("connectTime: 1ms"), metallb.Lost, "spec.connectTime"},
		"families":                {peer("disableMP: true, dualStackAddressFamily: true"), metallb.Lost, "spec.dualStackAddressFamily"},
		"local ASN":               {peer("localASN: 64512"), metallb.Exact, "spec.localASN"},
		"two ASNs":                {peer("dynamicASN: external"), metallb.Lost, "spec.dynamicASN"},
		"source":                  {peer("sourceAddress: '2001:db8::1'"), metallb.Lost, "spec.sourceAddress"},
		"router ID":               {peer("routerID: r"), metallb.Lost, "spec.routerID"},
		"echo":                    {[3]string{config.KindBFDProfile, "b", "{echoMode: true}"}, metallb.Lost, "spec.echoMode"},
		"multiplier":              {[3]string{config.KindBFDProfile, "b", "{detectMultiplier: 1}"}, metallb.Lost, "spec.detectMultiplier"},
		"no community":            {[3]string{config.KindCommunity, "c", "{communities: [{name: a, value: b}]}"}, metallb.Lost, "spec.communities[0]"},
		"aggregation":             {[3]string{config.KindBGPAdvertisement, "a", "{aggregationLength: 24}"}, metallb.Differs, "spec.aggregationLength"},
		"no aggregation":          {[3]string{config.KindBGPAdvertisement, "a", "{aggregationLengthV6: 129}"}, metallb.Lost, "spec.aggregationLengthV6"},
		"former kind":             {[3]string{"AddressPool", "p", "{}"}, metallb.Lost, "kind"},
		"unknown kind":            {[3]string{"Later", "p", "{}"}, metallb.Lost, "kind"},
		"too many":                {[3]string{config.KindL2Advertisement, "l", "{nodeSelectors: [" + strings.Repeat("{}, ", 65) + "]}"}, metallb.Lost, "spec.nodeSelectors"},
	} {
		t.Run(name, func(t *testing.T) {
			found := metallb.Translate(read(t, one.object)).Findings
			says := func(f metallb.Finding) bool {
				return f.Kind == one.object[0] && f.Name == one.object[1] && f.Field == one.field && f.Outcome == one.outcome
			}
			if !slices.ContainsFunc(found, says) {
				t.Errorf("findings %+v have no %s of %s", found, one.outcome, one.field)
			}
		})
	}
}

// An advertisement whose peers are all lost would be told to every peer.
func TestTranslateNeverReachesFurther(t *testing.T) {
	o := read(t,
		[3]string{config.KindBGPPeer, "red", "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, vrf: red}"},
		[3]string{config.KindBGPPeer, "main", "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.2}"},
		[3]string{config.KindBGPAdvertisement, "red", "{peers: [red]}"},
		[3]string{config.KindBGPAdvertisement, "both", "{peers: [red, main]}"})
	bgp := metallb.Translate(o).Objects.BGP
	if len(bgp.Peers) != 1 || len(bgp.Advertisements) != 1 || bgp.Advertisements[0].Name != "both" || !slices.Equal(bgp.Advertisements[0].Spec.Peers, []string{"main"}) {
		t.Errorf("peers %+v, advertisements %+v", bgp.Peers, bgp.Advertisements)
	}
}

// MetalLB tries pools with serviceAllocation first, those without a priority last
// among them, and then the others.
func TestTranslateKeepsTheOrderOfPools(t *testing.T) {
	o := read(t,
		[3]string{config.KindPool, "none", "{addresses: [192.0.2.0/28]}"},
		[3]string{config.KindPool, "pinned", "{addresses: [192.0.2.16/28], serviceAllocation: {namespaces: [a]}}"},
		[3]string{config.KindPool, "five", "{addresses: [192.0.2.32/28], serviceAllocation: {priority: 5}}"})
	snapshot, problems := config.Build(metallb.Translate(o).Objects)
	five, pinned, none := snapshot.Pool("five").Priority, snapshot.Pool("pinned").Priority, snapshot.Pool("none").Priority
	if len(problems) > 0 || five >= pinned || pinned >= none {
		t.Errorf("priorities %d, %d, %d, problems %v", five, pinned, none, problems)
	}
}

// The outcome follows from the objects alone, in whatever order, and leaves them as
// they are.
func TestTranslateDoesNotDependOnOrder(t *testing.T) {
	o := read(t,
		[3]string{config.KindPool, "a", "{addresses: [192.0.2.5/28], serviceAllocation: {priority: 3}}"},
		[3]string{config.KindPool, "b", "{addresses: [198.51.100.0/28], serviceAllocation: {namespaces: [x]}}"},
		[3]string{config.KindBGPPeer, "r", "{myASN: 64512, peerASN: 64512, peerAddress: 192.0.2.1, vrf: x}"},
		[3]string{config.KindBGPPeer, "s", "{myASN: 64512, peerASN: 64512, peerAddress: 192.0.2.1, keepaliveTime: 5s}"},
		[3]string{config.KindBGPAdvertisement, "q", "{peers: [r]}"}, [3]string{config.KindBGPAdvertisement, "p", "{}"})
	want := metallb.Translate(o)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(o.Pools), func(i, j int) { o.Pools[i], o.Pools[j] = o.Pools[j], o.Pools[i] })
		random.Shuffle(len(o.BGPPeers), func(i, j int) { o.BGPPeers[i], o.BGPPeers[j] = o.BGPPeers[j], o.BGPPeers[i] })
		random.Shuffle(len(o.BGPAdvertisements), func(i, j int) {
			o.BGPAdvertisements[i], o.BGPAdvertisements[j] = o.BGPAdvertisements[j], o.BGPAdvertisements[i]
		})
		if got := metallb.Translate(o); !reflect.DeepEqual(got, want) {
			t.Fatalf("got\n%+v\nwant\n%+v", got, want)
		}
	}
}

func TestServiceFindings(t *testing.T) {
	for name, one := range map[string]struct {
		annotations map[string]string
		address     string
		field       string
		outcome     metallb.Outcome
	}{
		"unknown":        {map[string]string{"metallb.io/fast": "yes"}, "", "metadata.annotations[metallb.io/fast]", metallb.Lost},
		"two prefixes":   {map[string]string{"metallb.io/address-pool": "a", "metallb.universe.tf/address-pool": "b"}, "", "metadata.annotations[metallb.universe.tf/address-pool]", metallb.Differs},
		"two requests":   {map[string]string{"metallb.io/loadBalancerIPs": "192.0.2.1"}, "192.0.2.1", "spec.loadBalancerIP", metallb.Differs},
		"all is known":   {map[string]string{"metallb.io/address-pool": "a", "metallb.universe.tf/allow-shared-ip": "k"}, "192.0.2.1", "", ""},
		"others' is not": {map[string]string{"example.org/address-pool": "a"}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: one.annotations}}
			svc.Spec.LoadBalancerIP = one.address
			found := metallb.ServiceFindings(svc)
			if one.field == "" && len(found) == 0 {
				return
			}
			if len(found) != 1 || found[0].Field != one.field || found[0].Outcome != one.outcome || found[0].Name != "shop/web" {
				t.Errorf("findings %+v", found)
			}
		})
	}
}

// Each alias that package config reads is one of those that are said to be read, and
// the other way round.
func TestAnnotationsAreConfigs(t *testing.T) {
	read := config.ServiceAnnotations()
	count := 0
	for _, prefix := range metallb.Prefixes() {
		for short := range metallb.Annotations() {
			count++
			if !slices.Contains(read, prefix+short) {
				t.Errorf("%s%s is not read", prefix, short)
			}
		}
	}
	for _, name := range read {
		if strings.HasPrefix(name, "metallb.") {
			count--
		}
	}
	if count != 0 {
		t.Errorf("config reads %d annotations of MetalLB more than are listed here", -count)
	}
}

// Whatever is written in a file is understood or named, never a panic.
func FuzzAdd(f *testing.F) {
	f.Add("IPAddressPool", "{addresses: [192.0.2.0/24], serviceAllocation: {priority: -1}}")
	f.Add("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, holdTime: 1s}")
	f.Add("ConfigMap", "{}")
	f.Add("BFDProfile", "{echoMode: true, minimumTtl: 300}")
	f.Fuzz(func(_ *testing.T, kind, spec string) {
		o := &metallb.Objects{}
		o.Add([]byte("apiVersion: metallb.io/v1beta1\nkind: " + kind + "\nmetadata: {name: x}\nspec: " + spec + "\n"))
		translation := metallb.Translate(o)
		o.Carried(&translation)
		o.Defaults()
		config.Build(translation.Objects)
	})
}
