package checks

import (
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
	"github.com/baliza-lb/baliza/cli/explain"
)

// State is the outcome of a check.
type State string

// States of a check.
const (
	// OK: it was looked at, and nothing is wrong.
	OK State = "OK"
	// Warning: something should be seen to, and nobody suffers from it yet.
	Warning State = "Warning"
	// Failed: something is wrong.
	Failed State = "Failed"
	// NotChecked: it was not, or could not be, looked at. Nothing follows.
	NotChecked State = "NotChecked"
)

// Result is what came of a check.
type Result struct {
	ID      ID     `json:"id"`
	State   State  `json:"state"`
	Section string `json:"section"`
	// Message says what was found.
	Message string `json:"message"`
	// Findings are what is wrong, each by itself, where that is more than the message.
	Findings []Finding `json:"findings,omitempty"`
	// Cure and See say what to do and where more is said, unless all is well.
	Cure string `json:"cure,omitempty"`
	See  string `json:"see,omitempty"`
	// Unread says that a right to read is what was lacking.
	Unread bool `json:"unread,omitempty"`
}

// Finding is one thing that is wrong.
type Finding struct {
	// Object it is about, if it is about one.
	Object  string         `json:"object,omitempty"`
	Reason  v1beta1.Reason `json:"reason,omitempty"`
	Message string         `json:"message"`
	Cure    string         `json:"cure,omitempty"`
	See     string         `json:"see,omitempty"`
}

// Report is the outcome of all checks.
type Report struct {
	Results []Result        `json:"results"`
	Overall explain.Verdict `json:"overall"`
}

// Input is what there is in a cluster, and what should be.
type Input struct {
	Objects explain.Objects
	// Cluster is what the objects mean, with what the network says.
	Cluster *explain.Cluster
	// Namespace is that of Baliza, or is to be.
	Namespace string
	// Client is the version of whoever asks, and Now the time.
	Client string
	Now    time.Time
	// Probed are the addresses that the network was asked for; Probe says that it was
	// to be.
	Probed []string
	Probe  bool

	// Version of the API server; empty if it does not say.
	Version string
	// KubeProxy is its ConfigMap; nil if there is none.
	KubeProxy  *corev1.ConfigMap
	DaemonSets []*appsv1.DaemonSet
	SystemPods []*corev1.Pod
	NodeLeases []*coordinationv1.Lease
	// CRDs are those of the cluster, WantedCRDs those of this version.
	CRDs, WantedCRDs []*unstructured.Unstructured
	CiliumPools      int
	// Granted are the roles and bindings of the cluster, Wanted those that this version
	// installs.
	Granted, Wanted RBAC
	// MayNot are kinds that the user may not create and an installation has.
	MayNot []string
	// Unread are the kinds of these that could not be read.
	Unread []explain.Unread
}

// RBAC is who may do what.
type RBAC struct {
	ClusterRoles        []*rbacv1.ClusterRole
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	Roles               []*rbacv1.Role
	RoleBindings        []*rbacv1.RoleBinding
}

// Before says whether the cluster is fit for an installation.
func Before(in *Input) Report {
	return in.run([]check{
		{KubernetesVersion, cluster, (*Input).kubernetesVersion},
		{KubeProxy, cluster, (*Input).kubeProxy},
		{OtherProviders, cluster, (*Input).otherProviders},
		{EligibleNodes, cluster, (*Input).eligibleNodes},
		{Clocks, cluster, (*Input).clocks},
		{MemberPort, cluster, (*Input).memberPort},
		{Interfaces, cluster, (*Input).interfaces},
		{OneInstallation, installation, (*Input).noInstallation},
		{InstallPermissions, installation, (*Input).installPermissions},
		{PodSecurity, installation, (*Input).podSecurity},
		{PoolOverlap, addresses, (*Input).poolOverlap},
		{DHCP, addresses, (*Input).dhcp},
	})
}

// After says whether Baliza is installed and well.
func After(in *Input) Report {
	return in.run([]check{
		{KubernetesVersion, cluster, (*Input).kubernetesVersion},
		{KubeProxy, cluster, (*Input).kubeProxy},
		{OtherProviders, cluster, (*Input).otherProviders},
		{EligibleNodes, cluster, (*Input).eligibleNodes},
		{Clocks, cluster, (*Input).clocks},
		{OneInstallation, installation, (*Input).oneInstallation},
		{CustomResourceDefinitions, installation, (*Input).definitions},
		{Permissions, installation, (*Input).permissions},
		{PodSecurity, installation, (*Input).podSecurity},
		{ControllerReady, installation, (*Input).controllerReady},
		{SpeakersReady, installation, (*Input).speakersReady},
		{Versions, installation, (*Input).versions},
		{MembershipKey, installation, (*Input).membershipKey},
		{MembersHeard, installation, (*Input).membersHeard},
		{BGPSessions, installation, (*Input).bgpSessions},
		{Configuration, addresses, (*Input).configuration},
		{PoolOverlap, addresses, (*Input).poolOverlap},
		{DHCP, addresses, (*Input).dhcp},
		{Quarantine, addresses, (*Input).quarantine},
		{Services, addresses, (*Input).services},
		{OneOwner, addresses, (*Input).oneOwner},
		{OneAnswer, addresses, (*Input).oneAnswer},
	})
}

// Sections of a report.
const (
	cluster      = "Cluster"
	installation = "Installation"
	addresses    = "Addresses"
)

// check is a check and where it stands.
type check struct {
	id      ID
	section string
	look    func(*Input) Result
}

func (in *Input) run(all []check) Report {
	var report Report
	for _, one := range all {
		r := one.look(in)
		r.ID, r.Section = one.id, one.section
		if r.State != OK {
			if r.Cure == "" && r.State != NotChecked {
				r.Cure = one.id.Cure()
			}
			r.See = cures.See(string(one.id))
		}
		for i := range r.Findings {
			f := &r.Findings[i]
			if f.Reason == "" {
				continue
			}
			f.See = cures.See(string(f.Reason))
			if cure, _ := cures.For(f.Reason); f.Cure == "" {
				f.Cure = cure.Text
			}
		}
		report.Results = append(report.Results, r)
	}
	report.Overall = overall(report.Results)
	return report
}

// overall counts. What nobody can see from here leaves all well; what this user may not
// read does not.
func overall(results []Result) explain.Verdict {
	counts, unread := map[State]int{}, 0
	var first *Result
	for i := range results {
		r := &results[i]
		counts[r.State]++
		if r.State == NotChecked && r.Unread {
			unread++
		}
		if r.State == Failed && first == nil {
			first = r
		}
	}
	var parts []string
	for _, one := range []struct {
		state State
		what  string
	}{{OK, "passed"}, {Warning, "with a warning"}, {Failed, "failed"}, {NotChecked, "not checked"}} {
		if n := counts[one.state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, one.what))
		}
	}
	v := explain.Verdict{Well: counts[Failed] == 0, Message: fmt.Sprintf("of %d checks %s", len(results), strings.Join(parts, ", "))}
	if v.Well && unread > 0 {
		v.Well, v.Unknown = false, true
	}
	return v
}

// passed is the result of a check that found nothing wrong.
func passed(format string, args ...any) Result {
	return Result{State: OK, Message: fmt.Sprintf(format, args...)}
}

func failed(format string, args ...any) Result {
	return Result{State: Failed, Message: fmt.Sprintf(format, args...)}
}

func warning(format string, args ...any) Result {
	return Result{State: Warning, Message: fmt.Sprintf(format, args...)}
}

func notChecked(format string, args ...any) Result {
	return Result{State: NotChecked, Message: fmt.Sprintf(format, args...)}
}

// found is the result of a check that found something, or did not.
func found(findings []Finding, state State, message, otherwise string) Result {
	if len(findings) == 0 {
		return passed("%s", otherwise)
	}
	return Result{State: state, Message: message, Findings: findings}
}

// unread is the result of a check that needs kinds which could not be read; false if all
// could.
func (in *Input) unread(kinds ...string) (Result, bool) {
	for _, kind := range kinds {
		for _, u := range in.Unread {
			if u.Kind == kind {
				return Result{State: NotChecked, Message: u.Why, Unread: true}, true
			}
		}
		if why := in.Cluster.CannotRead(kind); why != "" {
			return Result{State: NotChecked, Message: why, Unread: true}, true
		}
	}
	return Result{}, false
}

// count says how many there are of something.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "s") {
		return fmt.Sprintf("%d %ses", n, one)
	}
	return fmt.Sprintf("%d %ss", n, one)
}
