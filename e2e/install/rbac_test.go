package install

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/deploy"
	"github.com/baliza-lb/baliza/e2e/cluster"
)

// trialUser has the rules of a service account, less one.
const trialUser = "trial"

// granted are the rules of an account: in the whole cluster, and in Baliza's
// own namespace.
type granted struct{ cluster, own []rbacv1.PolicyRule }

// rulesOf reads them from the chart as it is rendered, tasks included.
func (s *site) rulesOf(ctx context.Context, t *testing.T, name string) granted {
	t.Helper()
	text, err := s.Helm(ctx, "template", release, s.chart(), "--namespace", cluster.Namespace, "--set", "crds.keep=false")
	must(t, err)
	var g granted
	for document := range strings.SplitSeq(text, "\n---\n") {
		var role rbacv1.Role // of the same form as a ClusterRole
		if yaml.Unmarshal([]byte(document), &role) != nil || role.Name != name {
			continue
		}
		switch role.Kind {
		case "ClusterRole":
			g.cluster = role.Rules
		case "Role":
			g.own = role.Rules
		}
	}
	if len(g.cluster)+len(g.own) == 0 {
		t.Fatalf("the chart has no rules for %s", name)
	}
	return g
}

// single takes rules apart: one verb, one resource and one name in each.
func single(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var all []rbacv1.PolicyRule
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					one := rbacv1.PolicyRule{APIGroups: rule.APIGroups, Resources: []string{resource}, Verbs: []string{verb}}
					if name != "" {
						one.ResourceNames = []string{name}
					}
					all = append(all, one)
				}
			}
		}
	}
	return all
}

// requests are what went to the API server, and with what result.
type requests struct {
	next http.RoundTripper

	mu   *sync.Mutex
	seen map[string]int
}

// RoundTrip refuses lists that come as watches, as an API server does that does
// not offer them, such as one of the oldest version promised: only there, or
// when a watch has to begin anew, is the permission to list needed.
func (r requests) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Query().Get("sendInitialEvents") != "" {
		status := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"sendInitialEvents is forbidden"}`
		return &http.Response{
			StatusCode: http.StatusUnprocessableEntity, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(status)), Request: request, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		}, nil
	}
	response, err := r.next.RoundTrip(request)
	if err == nil {
		key := request.Method + " " + request.URL.Path
		if request.URL.Query().Get("watch") != "" {
			key = "WATCH " + request.URL.Path
		}
		r.mu.Lock()
		r.seen[key] = max(r.seen[key], response.StatusCode)
		r.mu.Unlock()
	}
	return response, err
}

func (r requests) snapshot() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.seen)
}

// forbidden is a request that was refused, or empty.
func forbidden(seen map[string]int) string {
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		if seen[key] == http.StatusForbidden {
			return key
		}
	}
	return ""
}

// program is what one of ours asks of the API server. It returns when the
// context ends, or when it has nothing more to ask.
type program func(ctx context.Context, s *site, clients kube.Clients)

// Each rule is needed: without it the program is refused something. And all of
// them are enough. It is the code of the programs that asks, api/kube; the tests
// of a whole cluster show the rest.
func TestI05_Each_rule_of_a_service_account_is_needed(t *testing.T) {
	_, s := begin(t, "helm")
	ctx, stop := context.WithTimeout(t.Context(), 3*ceiling)
	defer stop()
	s.ground(ctx)
	t.Cleanup(func() {
		_, _ = s.Kubectl(context.WithoutCancel(ctx), "delete", "--ignore-not-found", "clusterrole/"+trialUser, "clusterrolebinding/"+trialUser)
	})
	for _, p := range []struct {
		account string
		asks    program
	}{
		{"baliza-controller", asController},
		{"baliza-speaker", asSpeaker},
		{"baliza-release-services", asRelease},
		{"baliza-test", asTrial},
		{"baliza-crds", asCRDs},
		{"baliza-delete-crds", asDeleteCRDs}, // which takes the ground away
	} {
		asks := p.asks
		t.Run(p.account, func(t *testing.T) {
			all := s.rulesOf(ctx, t, p.account)
			s.grant(ctx, t, all, rbacv1.PolicyRule{}, false)
			complete := s.observe(ctx, t, asks, nil)
			if refused := forbidden(complete); refused != "" {
				t.Fatalf("with all rules it is refused %s", refused)
			}
			try := func(rule rbacv1.PolicyRule, own bool) {
				what := strings.TrimSpace(fmt.Sprintf("%s %s.%s %s", rule.Verbs[0], rule.Resources[0], rule.APIGroups[0], strings.Join(rule.ResourceNames, "")))
				t.Run(what, func(t *testing.T) {
					s.grant(ctx, t, all, rule, own)
					if refused := forbidden(s.observe(ctx, t, asks, complete)); refused == "" {
						t.Error("nothing was refused without it: it is not needed")
					} else {
						t.Logf("refused: %s", refused)
					}
				})
			}
			for _, rule := range single(all.cluster) {
				try(rule, false)
			}
			for _, rule := range single(all.own) {
				try(rule, true)
			}
		})
	}
}

// ground makes what the programs look at.
func (s *site) ground(ctx context.Context) {
	s.t.Helper()
	_, err := s.Kubectl(ctx, "apply", "--server-side", "-f", s.chart()+"/crds")
	s.must(err)
	_, err = s.Kubectl(ctx, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
	s.must(err)
	s.must(s.Apply(ctx, `
apiVersion: v1
kind: Namespace
metadata: {name: `+cluster.Namespace+`}
---
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: v1
kind: Secret
metadata: {name: rack, namespace: `+cluster.Namespace+`}
type: kubernetes.io/basic-auth
stringData: {password: opensesame}
---
apiVersion: baliza.io/v1beta1
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [198.51.100.0/28]}
---
apiVersion: baliza.io/v1beta1
kind: L2Advertisement
metadata: {name: a}
---
apiVersion: baliza.io/v1beta1
kind: BGPPeer
metadata: {name: a}
spec: {myASN: 64500, peerASN: 64501, peerAddress: 192.0.2.1, passwordSecret: {name: rack}}
---
apiVersion: baliza.io/v1beta1
kind: BGPAdvertisement
metadata: {name: a}
---
apiVersion: baliza.io/v1beta1
kind: BFDProfile
metadata: {name: a}
---
apiVersion: baliza.io/v1beta1
kind: Community
metadata: {name: a}
spec: {communities: [{name: a, value: "64500:1"}]}
`))
	_, err = s.Service(ctx, "web", "rbac", nil)
	s.must(err)
}

// grant gives the user all rules but one, and waits until the API server acts
// on it.
func (s *site) grant(ctx context.Context, t *testing.T, all granted, but rbacv1.PolicyRule, own bool) {
	t.Helper()
	without := func(rules []rbacv1.PolicyRule, here bool) []rbacv1.PolicyRule {
		return slices.DeleteFunc(single(rules), func(r rbacv1.PolicyRule) bool { return here && r.String() == but.String() })
	}
	metadata := metav1.ObjectMeta{Name: trialUser}
	role := &rbacv1.ClusterRole{ObjectMeta: metadata, Rules: without(all.cluster, !own)}
	local := &rbacv1.Role{ObjectMeta: metadata, Rules: without(all.own, own)}
	who := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: trialUser}}
	ref := func(kind string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: trialUser}
	}
	client := s.Client.RbacV1()
	// An update makes a role that is not there.
	_, err := client.ClusterRoles().Update(ctx, role, metav1.UpdateOptions{})
	must(t, err)
	_, err = client.Roles(cluster.Namespace).Update(ctx, local, metav1.UpdateOptions{})
	must(t, err)
	everywhere := &rbacv1.ClusterRoleBinding{ObjectMeta: metadata, Subjects: who, RoleRef: ref("ClusterRole")}
	_, err = client.ClusterRoleBindings().Create(ctx, everywhere, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}
	here := &rbacv1.RoleBinding{ObjectMeta: metadata, Subjects: who, RoleRef: ref("Role")}
	_, err = client.RoleBindings(cluster.Namespace).Create(ctx, here, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}
	// The rules are all there, but for one: the API server has seen the update
	// when that one is refused and its neighbours are not.
	s.waitAllowed(ctx, t, all, but, own)
}

// waitAllowed waits until exactly what is granted is allowed.
func (s *site) waitAllowed(ctx context.Context, t *testing.T, all granted, but rbacv1.PolicyRule, own bool) {
	t.Helper()
	check := func(rule rbacv1.PolicyRule, namespace string, want bool) {
		resource, subresource, _ := strings.Cut(rule.Resources[0], "/")
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: trialUser, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: rule.Verbs[0], Group: rule.APIGroups[0], Resource: resource, Subresource: subresource,
				Name: strings.Join(rule.ResourceNames, ""),
			},
		}}
		for range 200 {
			answer, err := s.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			must(t, err)
			if answer.Status.Allowed == want {
				return
			}
			time.Sleep(25 * time.Millisecond)
		}
		t.Fatalf("%s: allowed is not %v", rule.String(), want)
	}
	// The rest has been there since the first time.
	changed := func(rule rbacv1.PolicyRule) bool {
		return len(but.Verbs) == 0 || rule.String() == but.String() || rule.String() == s.missing
	}
	defer func() { s.missing = but.String() }()
	for _, rule := range single(all.cluster) {
		if changed(rule) {
			check(rule, "", own || rule.String() != but.String())
		}
	}
	for _, rule := range single(all.own) {
		if !changed(rule) {
			continue
		}
		missing := own && rule.String() == but.String()
		// One that names an object may be allowed by one that names none.
		if !missing || len(rule.ResourceNames) == 0 || !slices.Contains([]string{"create"}, rule.Verbs[0]) {
			check(rule, cluster.Namespace, !missing)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// observe lets the program ask, until it was refused something, or has asked
// for everything that it asked for with all rules.
func (s *site) observe(ctx context.Context, t *testing.T, asks program, complete map[string]int) map[string]int {
	t.Helper()
	s.forget(ctx, t)
	seen := requests{mu: &sync.Mutex{}, seen: map[string]int{}}
	to := rest.CopyConfig(s.Admin)
	to.Impersonate = rest.ImpersonationConfig{UserName: trialUser}
	to.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return requests{next: next, mu: seen.mu, seen: seen.seen}
	})
	clients, err := kube.ForConfig(to)
	must(t, err)
	ctx, stop := context.WithTimeout(ctx, 40*time.Second)
	defer stop()
	var done sync.WaitGroup
	defer done.Wait()
	defer stop()
	done.Go(func() { asks(ctx, s, clients) })
	enough := func(now map[string]int) bool {
		for key := range complete {
			if now[key] == 0 {
				return false
			}
		}
		return complete != nil
	}
	for quiet, last := 0, 0; quiet < 100; quiet++ {
		now := seen.snapshot()
		if forbidden(now) != "" || enough(now) || ctx.Err() != nil {
			return now
		}
		if len(now) != last {
			quiet, last = 0, len(now)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return seen.snapshot()
}

// forget takes away what a program made, and puts back what it took, so that it
// does it again. Of the CRDs one is missing for a while, that of the rule in
// question if there is one.
func (s *site) forget(ctx context.Context, t *testing.T) {
	t.Helper()
	_, err := s.Kubectl(ctx, "-n", cluster.Namespace, "delete", "--ignore-not-found",
		"lease/baliza-controller", "secret/baliza-membership", "secret/"+kube.PasswordsSecret, "service/"+trialService)
	must(t, err)
	_, err = s.Kubectl(ctx, "patch", "service", "rbac", "-n", "web", "--type=merge", "-p",
		`{"metadata":{"annotations":{"`+v1beta1.AnnotationAllocatedPool+`":"a"},"finalizers":["`+v1beta1.Finalizer+`"]}}`)
	must(t, err)
	switch {
	case strings.Contains(t.Name(), "/baliza-speaker"):
		_, err = s.Kubectl(ctx, "delete", "--ignore-not-found", "speaker/n1")
	case strings.Contains(t.Name(), "/baliza-crds"):
		missing := "communities.baliza.io"
		if _, named, ok := strings.Cut(t.Name(), "apiextensions.k8s.io_"); ok {
			missing = named // what may not be created is created only where it is not there
		}
		_, err = s.Kubectl(ctx, "delete", "--ignore-not-found", "crd/"+missing)
	}
	must(t, err)
}

// trialService is that of helm test.
const trialService = "baliza-test"

// asRelease asks what baliza-release-services asks.
func asRelease(ctx context.Context, _ *site, clients kube.Clients) {
	if kube.WaitNoLeader(ctx, clients, cluster.Namespace, "baliza-controller", time.Now) == nil {
		_ = kube.ReleaseServices(ctx, clients, func(string, string) {})
	}
}

// asTrial asks what baliza-test asks; no controller gives it an address.
func asTrial(ctx context.Context, _ *site, clients kube.Clients) {
	trial, err := kube.NewTrial(ctx, clients, cluster.Namespace, trialService, v1beta1.LoadBalancerClass, "")
	if err != nil {
		return
	}
	short, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	_, _ = trial.Announced(short)
	_ = trial.Delete(ctx)
}

// asCRDs asks what baliza-crds asks, asDeleteCRDs what baliza-delete-crds does.
func asCRDs(ctx context.Context, s *site, clients kube.Clients) {
	if crds := s.definitions(clients); crds != nil {
		_ = crds.Apply(ctx, func(string) {})
	}
}

func asDeleteCRDs(ctx context.Context, s *site, clients kube.Clients) {
	if crds := s.definitions(clients); crds != nil {
		_ = crds.Delete(ctx, func(string) {})
	}
}

func (s *site) definitions(clients kube.Clients) *kube.CRDs {
	documents, err := deploy.CRDs()
	if err != nil {
		s.t.Error(err)
		return nil
	}
	crds, err := kube.NewCRDs(clients.Dynamic, documents)
	if err != nil {
		s.t.Error(err)
	}
	return crds
}

// asController asks what the controller asks. Of two passwords in turn the
// second time the Secret is read, as after a restart.
func asController(ctx context.Context, s *site, clients kube.Clients) {
	var all sync.WaitGroup
	defer all.Wait()
	view, err := kube.NewControllerView(clients, config.ServiceAnnotations(), func(kube.Kind, string) {})
	if err != nil {
		s.t.Error(err)
		return
	}
	view.Start(ctx)
	all.Go(func() {
		_ = kube.NewElection(clients, cluster.Namespace, "baliza-controller", "trial").Run(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})
	})
	quiet := slog.New(slog.DiscardHandler)
	for _, peers := range []func() kube.BGPObjects{view.BGP, func() kube.BGPObjects { return kube.BGPObjects{} }} {
		p := kube.NewPasswords(clients, cluster.Namespace, peers, quiet)
		all.Go(func() { _ = p.Run(ctx) })
		all.Go(func() {
			for ctx.Err() == nil {
				p.Changed()
				time.Sleep(200 * time.Millisecond)
			}
		})
	}
	if services, err := view.ReadServices(ctx); err == nil {
		for _, svc := range services {
			if svc.Name == "rbac" {
				s.treat(ctx, clients, svc)
			}
		}
	}
	status := kube.NewConfigStatus(clients)
	name := metav1.ObjectMeta{Name: "a"}
	_ = status.ApplyPool(ctx, "a", v1beta1.IPAddressPoolStatus{})
	_ = status.ApplyL2Advertisement(ctx, "a", v1beta1.L2AdvertisementStatus{})
	for _, object := range []metav1.Object{
		&v1beta1.BGPPeer{ObjectMeta: name}, &v1beta1.BGPAdvertisement{ObjectMeta: name},
		&v1beta1.BFDProfile{ObjectMeta: name}, &v1beta1.Community{ObjectMeta: name},
	} {
		_ = status.ApplyBGP(ctx, object, nil)
	}
	_, _ = kube.EnsureMembershipSecret(ctx, clients, cluster.Namespace, "baliza-membership", "")
	if keys, err := kube.ReadMembershipKeys(ctx, clients, cluster.Namespace, "baliza-membership"); err == nil {
		keys.Rotation = "one"
		_ = kube.WriteMembershipKeys(ctx, clients, cluster.Namespace, "baliza-membership", keys)
	}
	<-ctx.Done()
}

// treat writes a Service and sends two equal events about it, of which the
// second changes the first.
func (s *site) treat(ctx context.Context, clients kube.Clients, svc *corev1.Service) {
	services := kube.NewServices(clients, config.ServiceAnnotations())
	if now, err := services.Get(ctx, svc.Namespace, svc.Name); err == nil && now != nil {
		_, _ = services.Write(ctx, kube.ServiceWrite{Before: now, Pool: "a", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1")}})
	}
	recorder, err := kube.NewRecorder(ctx, clients, kube.FieldManager)
	if err != nil {
		s.t.Error(err)
		return
	}
	for range 2 {
		recorder.ServiceEvent(svc, false, v1beta1.ReasonAllocated, "Allocate", "a test")
		time.Sleep(200 * time.Millisecond)
	}
}

// asSpeaker asks what a speaker asks.
func asSpeaker(ctx context.Context, s *site, clients kube.Clients) {
	view, err := kube.NewSpeakerView(clients, "n1", config.ServiceAnnotations())
	if err == nil {
		err = view.WatchPasswords(clients, cluster.Namespace)
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	view.Start(ctx)
	node, err := s.Client.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
	if err != nil {
		return
	}
	writer := kube.NewSpeakerWriter(clients, "n1", slog.New(slog.DiscardHandler))
	writer.Report(v1beta1.SpeakerStatus{Version: "trial"}, node.UID)
	writer.Run(ctx)
}
