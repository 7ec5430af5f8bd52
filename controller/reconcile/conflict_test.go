package reconcile

import "testing"

// Defect 9: a list of other providers is never complete. The list is of those
// who are none.
func TestDefect9OnlyWhatWasWrittenByHandIsReplaced(t *testing.T) {
	for manager, by := range map[string]bool{
		"kubectl": true, "kubectl-edit": true, "kubectl-client-side-apply": true, "velero": true, "velero-server": true, "before-first-apply": true, "": true,
		"controller": false, "kube-vip": false, "cilium-operator-generic": false, "k3s": false, "kube-controller-manager": false,
		"antrea-controller": false, "cloud-provider-kind": false, "harvester-cloud-provider": false, "microshift": false, "kubectlish": false,
	} {
		if got := byHand(manager); got != by {
			t.Errorf("%q: %t, want %t", manager, got, by)
		}
	}
}
