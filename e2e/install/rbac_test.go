package install

import (
	"context"
	"io"
	"log/slog"
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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
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

// rule allows one verb of one resource, by one name or by any, in the whole
// cluster or in Baliza's own namespace alone.
type rule struct {
	rbacv1.PolicyRule
	own bool
}

func (r rule) String() string {
	text := r.Verbs[0] + " " + r.Resources[0] + "." + r.APIGroups[0]
	if len(r.ResourceNames) > 0 {
		text += " " + r.ResourceNames[0]
	}
	if r.own {
		text += " in " + cluster.Namespace
	}
	return text
}

func (r rule) allows(q request) bool {
	return r.Verbs[0] == q.verb && r.APIGroups[0] == q.group && r.Resources[0] == q.resource &&
		(len(r.ResourceNames) == 0 || r.ResourceNames[0] == q.name) && (!r.own || q.namespace == cluster.Namespace)
}

// rulesOf reads an account's rules from the chart as it is rendered, tasks
// included, and takes them apart.
func (s *site) rulesOf(ctx context.Context, t *testing.T, account string) []rule {
	t.Helper()
	text, err := s.Helm(ctx, "template", release, s.chart(), "--namespace", cluster.Namespace, "--set", "crds.keep=false")
	must(t, err)
	var all []rule
	for document := range strings.SplitSeq(text, "\n---\n") {
		var role rbacv1.Role // of the same form as a ClusterRole
		if yaml.Unmarshal([]byte(document), &role) != nil || role.Name != account || role.Kind != "ClusterRole" && role.Kind != "Role" {
			continue
		}
		for _, r := range role.Rules {
			all = append(all, single(r, role.Kind == "Role")...)
		}
	}
	if len(all) == 0 {
		t.Fatalf("the chart has no rules for %s", account)
	}
	return all
}

func single(r rbacv1.PolicyRule, own bool) (all []rule) {
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				one := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
				if len(r.ResourceNames) == 0 {
					all = append(all, rule{one, own})
				}
				for _, name := range r.ResourceNames {
					one.ResourceNames = []string{name}
					all = append(all, rule{one, own})
				}
			}
		}
	}
	return all
}

// request is what went to the API server, as RBAC sees it.
type request struct{ verb, group, resource, namespace, name string }

// requests keeps what went to the API server, and with what result.
type requests struct {
	next http.RoundTripper

	mu   *sync.Mutex
	seen map[request]int
}

// RoundTrip refuses lists that come as watches, as an API server does that does
// not offer them, such as one of the oldest version promised: only there, or
// when a watch has to begin anew, is the permission to list needed.
func (r requests) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Query().Get("sendInitialEvents") != "" {
		status := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"sendInitialEvents is forbidden"}`
		return &http.Response{
			StatusCode: http.StatusUnprocessableEntity, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(status)), Request: req, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		}, nil
	}
	factory := apirequest.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, err := factory.NewRequestInfo(req)
	if err != nil {
		return nil, err
	}
	response, err := r.next.RoundTrip(req)
	if err != nil || !info.IsResourceRequest {
		return response, err
	}
	q := request{info.Verb, info.APIGroup, info.Resource, info.Namespace, info.Name}
	if info.Subresource != "" {
		q.resource += "/" + info.Subresource
	}
	r.mu.Lock()
	r.seen[q] = max(r.seen[q], response.StatusCode)
	r.mu.Unlock()
	return response, nil
}

// refused are the requests that were, and of how many in all.
func (r requests) refused() (refused []request, all int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for q, status := range r.seen {
		if status == http.StatusForbidden {
			refused = append(refused, q)
		}
	}
	return refused, len(r.seen)
}

// program is what one of ours asks of the API server. It returns when the
// context ends, or when it has nothing more to ask.
type program func(ctx context.Context, s *site, clients kube.Clients)

// Each rule is needed: without it the program is refused something. And all of
// them are enough. It is the code of the programs that asks, api/kube; the tests
// of a whole cluster show the rest.
func TestI05_Each_rule_of_a_service_account_is_needed(t *testing.T) {
	ctx, s := begin(t, "helm")
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
		t.Run(p.account, func(t *testing.T) { s.eachNeeded(ctx, t, s.rulesOf(ctx, t, p.account), p.asks) })
	}
}

// eachNeeded takes away all rules at once and gives back, in rounds, those
// without which something was refused: what a program asks late it asks only
// when it was answered before. A rule that no round gives back is not needed.
func (s *site) eachNeeded(ctx context.Context, t *testing.T, all []rule, asks program) {
	s.grant(ctx, t, all, nil)
	if refused := s.observe(ctx, t, asks, all, nil); len(refused) > 0 {
		t.Fatalf("with all rules it is refused %+v", refused)
	}
	for missing := all; len(missing) > 0; {
		s.grant(ctx, t, all, missing)
		refused := s.observe(ctx, t, asks, all, missing)
		left := slices.DeleteFunc(slices.Clone(missing), func(r rule) bool {
			for _, q := range refused {
				if wants(q, all, missing, r) {
					t.Logf("without %q it is refused %+v", r, q)
					return true
				}
			}
			return false
		})
		if len(left) == len(missing) {
			t.Errorf("not needed, for nothing was refused for the lack of it alone: %q; refused was %+v", left, refused)
			return
		}
		missing = left
	}
}

// wants reports whether a refused request lacked this rule and could do with no
// other. To patch what is not there takes the rule that allows to create it.
func wants(q request, all, missing []rule, r rule) bool {
	allowing := func(q request) []rule {
		return slices.DeleteFunc(slices.Clone(all), func(r rule) bool { return !r.allows(q) })
	}
	by := allowing(q)
	if granted := len(by) > 0 && !contains(missing, by[0]); q.verb == "patch" && granted {
		q.verb = "create"
		by = allowing(q)
	}
	return len(by) == 1 && by[0].String() == r.String() && contains(missing, r)
}

func contains(rules []rule, r rule) bool {
	return slices.ContainsFunc(rules, func(one rule) bool { return one.String() == r.String() })
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

// grant gives the user all rules but the missing ones, and waits until the API
// server acts on it.
func (s *site) grant(ctx context.Context, t *testing.T, all, missing []rule) {
	t.Helper()
	metadata := metav1.ObjectMeta{Name: trialUser}
	role, local := &rbacv1.ClusterRole{ObjectMeta: metadata}, &rbacv1.Role{ObjectMeta: metadata}
	for _, r := range all {
		switch {
		case contains(missing, r):
		case r.own:
			local.Rules = append(local.Rules, r.PolicyRule)
		default:
			role.Rules = append(role.Rules, r.PolicyRule)
		}
	}
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
	for _, r := range all {
		s.waitAllowed(ctx, t, r, all, missing)
	}
}

// waitAllowed waits until the API server allows what the rule does, or refuses
// it when no other allows it.
func (s *site) waitAllowed(ctx context.Context, t *testing.T, r rule, all, missing []rule) {
	t.Helper()
	resource, subresource, _ := strings.Cut(r.Resources[0], "/")
	asked := authorizationv1.ResourceAttributes{
		Verb: r.Verbs[0], Group: r.APIGroups[0], Resource: resource, Subresource: subresource, Name: strings.Join(r.ResourceNames, ""),
	}
	if r.own {
		asked.Namespace = cluster.Namespace
	}
	want := slices.ContainsFunc(all, func(one rule) bool {
		return one.allows(request{asked.Verb, asked.Group, r.Resources[0], asked.Namespace, asked.Name}) && !contains(missing, one)
	})
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: trialUser, ResourceAttributes: &asked}}
	for range 200 {
		answer, err := s.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		must(t, err)
		if answer.Status.Allowed == want {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%s: allowed is not %v", r, want)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	// roundQuiet is how long a program that was refused something is given to ask
	// for something new. One that needs longer costs another round.
	roundQuiet = 2 * time.Second
	// quiet is how long one that was refused nothing is given, which is believed.
	quiet = 10 * time.Second
)

// observe lets the program ask until it has been refused for each missing rule,
// or has nothing more to ask, and returns what it was refused.
func (s *site) observe(ctx context.Context, t *testing.T, asks program, all, missing []rule) []request {
	t.Helper()
	s.forget(ctx, t, missing)
	seen := requests{mu: &sync.Mutex{}, seen: map[request]int{}}
	to := rest.CopyConfig(s.Admin)
	to.Impersonate = rest.ImpersonationConfig{UserName: trialUser}
	to.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return requests{next: next, mu: seen.mu, seen: seen.seen}
	})
	clients, err := kube.ForConfig(to)
	must(t, err)
	ctx, stop := context.WithTimeout(ctx, 40*time.Second)
	defer stop()
	ended := make(chan struct{})
	defer func() { stop(); <-ended }()
	go func() {
		defer close(ended)
		asks(ctx, s, clients)
	}()
	for last, news := 0, time.Now(); ; {
		refused, count := seen.refused()
		if count != last {
			last, news = count, time.Now()
		}
		enough := len(missing) > 0 && !slices.ContainsFunc(missing, func(r rule) bool {
			return !slices.ContainsFunc(refused, func(q request) bool { return wants(q, all, missing, r) })
		})
		if silent := time.Since(news); enough || silent > quiet || len(refused) > 0 && silent > roundQuiet {
			return refused
		}
		select {
		case <-ended:
			refused, _ := seen.refused()
			return refused
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// forget takes away what a program made, and puts back what it took, so that it
// does it again. Of the CRDs one is missing for a while, that of the first rule
// in question if there is one: what may not be created is created only where it
// is not there.
func (s *site) forget(ctx context.Context, t *testing.T, missing []rule) {
	t.Helper()
	gone := metav1.DeleteOptions{}
	for _, err := range []error{
		s.Client.CoordinationV1().Leases(cluster.Namespace).Delete(ctx, "baliza-controller", gone),
		s.Client.CoreV1().Secrets(cluster.Namespace).Delete(ctx, "baliza-membership", gone),
		s.Client.CoreV1().Secrets(cluster.Namespace).Delete(ctx, kube.PasswordsSecret, gone),
		s.Client.CoreV1().Services(cluster.Namespace).Delete(ctx, trialService, gone),
	} {
		if !apierrors.IsNotFound(err) {
			must(t, err)
		}
	}
	_, err := s.Client.CoreV1().Services("web").Patch(ctx, "rbac", types.MergePatchType, []byte(
		`{"metadata":{"annotations":{"`+v1beta1.AnnotationAllocatedPool+`":"a"},"finalizers":["`+v1beta1.Finalizer+`"]}}`), metav1.PatchOptions{})
	must(t, err)
	switch {
	case strings.HasSuffix(t.Name(), "/baliza-speaker"):
		for _, err := range []error{
			s.Baliza.BalizaV1beta1().Speakers().Delete(ctx, "n1", gone),
			s.Baliza.BalizaV1beta1().Members().Delete(ctx, "n1", gone),
		} {
			if !apierrors.IsNotFound(err) {
				must(t, err)
			}
		}
	case strings.HasSuffix(t.Name(), "/baliza-crds"):
		name := "communities.baliza.io"
		if i := slices.IndexFunc(missing, func(r rule) bool { return r.Verbs[0] == "create" }); i >= 0 {
			name = strings.Join(missing[i].ResourceNames, "")
		}
		_, err := s.Kubectl(ctx, "delete", "--ignore-not-found", "crd/"+name)
		must(t, err)
	}
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
	view, err := kube.NewControllerView(clients, cluster.Namespace, config.ServiceAnnotations(), func(kube.Kind, string) {})
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
		_ = status.ApplyBGP(ctx, object, 1, nil)
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
