package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/command"
	"github.com/baliza-lb/baliza/speaker/model"
)

const probeWeb = explainWeb + " --probe"

// pods are those of the speakers that can be asked.
func (w *world) pods() (all []runtime.Object) {
	for node := range w.asked {
		pod := &corev1.Pod{ObjectMeta: named("baliza-system", "baliza-speaker-"+node)}
		pod.Labels = map[string]string{"app.kubernetes.io/name": "baliza"}
		pod.Spec.NodeName, pod.Status.Phase = node, corev1.PodRunning
		pod.Spec.Containers = []corev1.Container{{Name: "speaker", Args: []string{"--admin-address=:7473", "--inspect-address=127.0.0.1:17474"}}}
		if w.restarted {
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "speaker", RestartCount: 1}}
		}
		all = append(all, pod)
	}
	return all
}

// dialer connects to them, and to no port but theirs.
func (w *world) dialer(t *testing.T) kube.PodDialer {
	t.Helper()
	w.kubernetes.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, _ := action.(clienttesting.CreateAction)
		review, _ := create.GetObject().(*authorizationv1.SelfSubjectAccessReview)
		of := review.Spec.ResourceAttributes
		review.Status.Allowed = !w.forbidden[of.Resource+"/"+of.Subresource] && of.Verb == "create" && of.Namespace == "baliza-system" && of.Subresource != "" ||
			w.mayCreate && of.Subresource == ""
		return true, review, nil
	})
	servers := map[string]*httptest.Server{}
	for node, handler := range w.asked {
		servers["baliza-speaker-"+node] = httptest.NewServer(handler)
		t.Cleanup(servers["baliza-speaker-"+node].Close)
	}
	return func(ctx context.Context, namespace, pod string, port uint16) (net.Conn, error) {
		if namespace != "baliza-system" || servers[pod] == nil || port != 17474 && port != 7473 {
			return nil, fmt.Errorf("no connection to port %d of %s/%s", port, namespace, pod)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", servers[pod].Listener.Addr().String())
	}
}

// hears has the speaker of a node hear these answers when it is asked for an address.
func (w *world) hears(node string, answers ...model.WireAnswer) {
	w.says(node, "/probe", func(r *http.Request) any {
		address, _ := netip.ParseAddr(r.URL.Query().Get("address"))
		for i := range answers {
			if r.URL.Query().Get("port") == "80" {
				answers[i].Port, answers[i].Handshake, answers[i].HandshakeMilliseconds = 80, model.HandshakeAccepted, 0.9
			}
		}
		return model.WireProbe{Address: address, Node: node, Interfaces: []string{"eth0"}, Answers: append([]model.WireAnswer{}, answers...)}
	})
}

func (w *world) says(node, path string, what func(*http.Request) any) {
	w.answers(node, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path || r.Method != http.MethodGet {
			http.NotFound(rw, r)
			return
		}
		_ = json.NewEncoder(rw).Encode(what(r))
	})
}

func (w *world) answers(node string, handler http.HandlerFunc) {
	if w.asked == nil {
		w.asked = map[string]http.HandlerFunc{}
	}
	w.asked[node] = handler
}

func from(node, mac string) model.WireAnswer {
	return model.WireAnswer{Interface: "eth0", MAC: mac, Node: node, Milliseconds: 0.4}
}

const (
	macOfN1    = "00:00:5e:00:53:01"
	macOfN3    = "00:00:5e:00:53:03"
	macOfOther = "00:00:5e:00:53:99"
)

// askScenarios are those in which speakers are asked themselves (K02).
func askScenarios() map[string]scenario {
	return map[string]scenario{
		"probe-all-is-well": {ask: probeWeb, set: func(w *world) { w.hears("n2", from("n1", macOfN1)) }, says: macOfN1},
		"probe-address":     {ask: "explain address 192.0.2.10 --probe", set: func(w *world) { w.hears("n2", from("n1", macOfN1)) }, says: "port 80 accepts"},
		"probe-conflict": {
			ask: probeWeb, set: func(w *world) { w.hears("n2", from("n1", macOfN1), from("", macOfOther)) },
			status: command.StatusWrong, reason: v1beta1.ReasonAddressConflict, says: macOfOther + ", which is no node's",
		},
		"probe-two-nodes": {
			ask: probeWeb, set: func(w *world) { w.hears("n2", from("n1", macOfN1), from("n3", macOfN3)) },
			status: command.StatusWrong, says: "MultipleOwners: on the network 192.0.2.10 is answered for by n1 and n3, and only n1 says so",
		},
		"probe-several-owners": {
			ask: "explain address 192.0.2.10 --probe", set: func(w *world) {
				severalOwners(w)
				w.hears("n3", from("n1", macOfN1), from("n2", "00:00:5e:00:53:02"))
			},
			status: command.StatusWrong, reason: v1beta1.ReasonMultipleOwners,
		},
		"probe-nobody": {
			ask: probeWeb, set: func(w *world) { w.hears("n2"); w.hears("n3") },
			status: command.StatusWrong, reason: v1beta1.ReasonNoAnswer, says: "nobody answers",
		},
		"probe-another-segment": {ask: probeWeb, set: func(w *world) { w.hears("n2"); w.hears("n3", from("n1", macOfN1)) }, says: "node n3 asked on eth0"},
		"probe-busy": {
			ask: probeWeb, set: func(w *world) {
				w.answers("n2", func(rw http.ResponseWriter, _ *http.Request) {
					http.Error(rw, "another probe is under way: one at a time", http.StatusTooManyRequests)
				})
			},
			says: "not asked: pod baliza-speaker-n2: another probe is under way",
		},
		"probe-not-allowed": {
			ask: probeWeb, set: func(w *world) {
				w.hears("n2", from("", macOfOther))
				w.forbidden["pods/portforward"] = true
			},
			says: "not asked: you may not create pods/portforward in baliza-system",
		},
		"probe-no-pods": {ask: probeWeb, set: func(w *world) { w.forbidden["pods"] = true }, says: "not asked: you may not list pods in baliza-system"},
		"probe-alone":   {ask: probeWeb, set: func(w *world) { w.nodes, w.speakers = w.nodes[:1], w.speakers[:1] }, says: "not asked: no speaker is alive but the one"},
		"probe-bgp":     {ask: probeWeb, set: func(w *world) { routed(w); w.hears("n2") }, says: "not asked: it is announced over BGP alone"},
		"probe-free": {
			ask: "explain address 192.0.2.11 --probe", set: func(w *world) { w.hears("n1", from("", macOfOther)) },
			status: command.StatusWrong, reason: v1beta1.ReasonAddressConflict, says: macOfOther,
		},
		"probe-free-and-silent": {ask: "explain address 192.0.2.11 --probe", set: func(w *world) { w.hears("n1"); w.hears("n2"); w.hears("n3") }, says: "nobody answers"},
		"probe-a-nodes-own": {
			ask: "explain address 192.0.2.11 --probe", set: func(w *world) { w.hears("n1", from("n3", macOfN3)) },
			status: command.StatusWrong, reason: v1beta1.ReasonLocalAddress, says: "node n3 answers for 192.0.2.11",
		},
		"history":         {ask: "history", set: moved, says: "NodeFailed"},
		"history-address": {ask: "history 192.0.2.10", set: moved, says: "Rebalanced"},
		"history-tail":    {ask: "history --tail 1", set: moved, says: "NodeFailed"},
		"history-brief": {
			ask: "history", set: func(w *world) {
				moved(w)
				w.forbidden["pods/portforward"] = true
			},
			says: "you may not create pods/portforward",
		},
		"history-of-nothing": {ask: "history 192.0.2.99", says: "No move is known"},
		"history-of-what":    {ask: "history web", status: command.StatusUnknown},
		"history-unreadable": {ask: "history", set: func(w *world) { w.forbidden["speakers"] = true }, status: command.StatusUnknown, says: "you may not list speakers"},
		"last-move":          {ask: "explain address 192.0.2.10", set: moved, says: "n2 -> n1, NodeFailed, nobody answered for about 85ms"},
	}
}

// moved has speakers that remember more than they report, n3 that cannot be asked.
func moved(w *world) {
	move := func(d time.Duration, address, from, to string, cause v1beta1.MoveCause, unowned int64) v1beta1.AddressMove {
		return v1beta1.AddressMove{Time: metav1.NewMicroTime(now().Add(-d)), Address: address, From: from, To: to, Cause: cause, UnownedMilliseconds: unowned}
	}
	failed := move(2*time.Minute, "192.0.2.10", "n2", "n1", v1beta1.MoveNodeFailed, 85)
	rebalanced := move(3*time.Hour, "192.0.2.10", "n1", "n2", v1beta1.MoveRebalanced, 0)
	first := move(4*time.Hour, "192.0.2.10", "", "n1", v1beta1.MoveAssigned, 0)
	gone := move(time.Hour, "192.0.2.11", "n3", "", v1beta1.MoveReleased, 0)
	w.speakers[0].Status.Moves = []v1beta1.AddressMove{failed}
	w.speakers[2].Status.Moves = []v1beta1.AddressMove{gone}
	for node, all := range map[string][]v1beta1.AddressMove{"n1": {first, failed}, "n2": {rebalanced}} {
		w.says(node, "/moves", func(r *http.Request) any {
			asked := r.URL.Query().Get("address")
			return slices.DeleteFunc(slices.Clone(all), func(m v1beta1.AddressMove) bool { return asked != "" && m.Address != asked })
		})
	}
}

// Without --probe nobody is asked, and with it nobody for an address of another.
func TestK02_SpeakersAreAskedOnlyWhereThatIsWanted(t *testing.T) {
	w := newWorld()
	requests := 0
	w.answers("n2", func(http.ResponseWriter, *http.Request) { requests++ })
	for _, line := range []string{explainWeb, "status", "explain address 192.0.2.10", "explain address 203.0.113.9 --probe"} {
		if out, _ := w.ask(t, line); requests > 0 || strings.Contains(out, "On the wire  node") {
			t.Errorf("%s: %d requests\n%s", line, requests, out)
		}
	}
}
