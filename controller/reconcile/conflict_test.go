package reconcile

import "testing"

func TestOnlyKnownProvidersAreGivenWayToAtOnce(t *testing.T) {
	for manager, is := range map[string]bool{
		"controller": true, "kube-vip": true, "cilium-operator-generic": true, "k3s": true,
		"cloud-controller-manager": true, "openstack-cloud-controller-manager": true,
		"reporter": false, "porter": false, "velero": false, "kubectl-edit": false, "kube-controller-manager": false,
		"import-controller": false, "not-metallb": false, "cilium-cli": false, "": false,
	} {
		if got := isProvider([]string{"other", manager}); got != is {
			t.Errorf("%q: %t, want %t", manager, got, is)
		}
	}
}
