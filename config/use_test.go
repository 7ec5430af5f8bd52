package config

import (
	"testing"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

func TestReservationsAreReadAndReported(t *testing.T) {
	for what, c := range map[string]struct {
		reservation v1beta1.Reservation
		reason      v1beta1.Reason
		frozen      bool
	}{
		"an address, a CIDR and a range": {v1beta1.Reservation{Addresses: []v1beta1.ReservedAddresses{"192.0.2.9", "192.0.2.12/30", "192.0.2.5-192.0.2.6"}}, "", false},
		"rubbish freezes the pool":       {v1beta1.Reservation{Addresses: []v1beta1.ReservedAddresses{"rubbish"}}, v1beta1.ReasonInvalidSpec, true},
		"a service without a namespace":  {v1beta1.Reservation{Addresses: []v1beta1.ReservedAddresses{"192.0.2.9"}, Service: "web"}, v1beta1.ReasonInvalidSpec, true},
		"addresses of no pool":           {v1beta1.Reservation{Addresses: []v1beta1.ReservedAddresses{"198.51.100.1"}}, v1beta1.ReasonNoMatch, false},
		"what is reserved already":       {v1beta1.Reservation{Addresses: []v1beta1.ReservedAddresses{"192.0.2.0-192.0.2.3"}}, v1beta1.ReasonOverlap, false},
	} {
		t.Run(what, func(t *testing.T) {
			object := &v1beta1.IPAddressPool{}
			object.Spec.Addresses = []v1beta1.AddressRange{"192.0.2.0/28"}
			object.Spec.Reservations = []v1beta1.Reservation{{Addresses: []v1beta1.ReservedAddresses{"192.0.2.1"}, Namespace: "red"}, c.reservation}
			p, problems := parsePool(object)
			var reason v1beta1.Reason
			if len(problems) > 0 {
				reason = problems[0].Reason
			}
			if reason != c.reason || p.Frozen != c.frozen {
				t.Errorf("problems %v, frozen %v", problems, p.Frozen)
			}
		})
	}
}

func TestAnOverlapOfReservationsStaysReserved(t *testing.T) {
	object := &v1beta1.IPAddressPool{}
	object.Spec.Addresses = []v1beta1.AddressRange{"192.0.2.0/28"}
	object.Spec.Reservations = []v1beta1.Reservation{
		{Addresses: []v1beta1.ReservedAddresses{"192.0.2.1", "192.0.2.3"}, Namespace: "red"},
		{Addresses: []v1beta1.ReservedAddresses{"192.0.2.0/29"}, Namespace: "blue", Service: "web"},
	}
	p, _ := parsePool(object)
	if got := p.Reservations[1].Ranges; len(got) != 3 || got[0].String() != "192.0.2.0-192.0.2.0" || got[2].String() != "192.0.2.4-192.0.2.7" {
		t.Errorf("the second has %v", got)
	}
	if r := p.Reservations[1]; r.For() != "Service blue/web" || !r.Admits("blue", "blue/web") || r.Admits("blue", "blue/other") || r.Admits("red", "red/web") {
		t.Errorf("it is for %s", r.For())
	}
}

func TestRestQuotaAndOrderHaveDefaults(t *testing.T) {
	p, _ := parsePool(&v1beta1.IPAddressPool{})
	if _, limited := p.Quota("red"); limited || p.HasQuota() || p.ReuseDelay != time.Minute || p.LeastRecentlyUsed {
		t.Errorf("%+v", p)
	}
}
