package config

import (
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// T03: what the cluster itself has is in no pool, and the pool says who has it.
func TestT03APoolDoesNotCoverWhatTheClusterItselfHas(t *testing.T) {
	pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}}
	pool.Spec.Addresses = []v1beta1.AddressRange{"192.0.2.0/24"}
	one := func(text, by string) InUse { return InUse{Prefixed(netip.MustParsePrefix(text)), by} }
	s, problems := Build(Objects{Pools: []*v1beta1.IPAddressPool{pool}, InUse: SortInUse([]InUse{
		one("192.0.2.12/32", "node n2"), one("192.0.2.128/26", "the pods of node n1"), one("198.51.100.1/32", "node n3"),
		one("192.0.2.12/32", "node n2"),
	})})
	for text, by := range map[string]string{
		"192.0.2.11": "", "192.0.2.12": "node n2", "192.0.2.150": "the pods of node n1", "198.51.100.1": "",
	} {
		a := netip.MustParseAddr(text)
		if s.UsedBy(a) != by {
			t.Errorf("%s is used by %q, want %q", a, s.UsedBy(a), by)
		}
		if covered := s.PoolOf(a) != nil; covered != (by == "" && text != "198.51.100.1") {
			t.Errorf("%s is covered: %v", a, covered)
		}
	}
	if len(problems) != 1 || problems[0].Reason != v1beta1.ReasonUsedByCluster ||
		!strings.HasPrefix(problems[0].Message, "192.0.2.12 is of node n2; 192.0.2.128-192.0.2.191 is of the pods of node n1; these") {
		t.Errorf("problems %v", problems)
	}
}
