package command_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/command"
	"github.com/baliza-lb/baliza/cli/explain"
)

// refuse has the API server refuse what the user may not do, or not answer at all.
func (w *world) refuse(clients ...*clienttesting.Fake) {
	for _, client := range clients {
		client.PrependReactor("list", "*", w.refusal())
	}
}

func (w *world) refusal() clienttesting.ReactionFunc {
	return func(action clienttesting.Action) (bool, runtime.Object, error) {
		resource := action.GetResource()
		switch {
		case w.unreachable:
			return true, nil, errors.New("connection refused")
		case w.forbidden[resource.Resource]:
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: resource.Group, Resource: resource.Resource}, "", nil)
		}
		return false, nil, nil
	}
}

// K01: scripts read what people read.
func TestWhatIsPrintedForScripts(t *testing.T) {
	for _, format := range []string{"json", "yaml"} {
		w := newWorld()
		exhausted(w)
		out, status := w.ask(t, explainNew+" -o "+format)
		if status != command.StatusWrong {
			t.Errorf("%s: exit status %d", format, status)
		}
		var got explain.Service
		read := json.Unmarshal
		if format == "yaml" {
			read = func(data []byte, into any) error { return yaml.Unmarshal(data, into) }
		}
		if err := read([]byte(out), &got); err != nil {
			t.Fatalf("%s: %v\n%s", format, err, out)
		}
		if got.Service != "shop/new" || got.Verdict.Reason != v1beta1.ReasonPoolExhausted || len(got.Pools) != 1 || got.Pools[0].Fits {
			t.Errorf("%s: %+v", format, got)
		}
	}
}

// K03: the number of requests does not depend on the number of Services.
func TestRequestsDoNotGrowWithServices(t *testing.T) {
	count := func(services int, line string) int {
		w := newWorld()
		for i := range services {
			w.services = append(w.services, service(fmt.Sprintf("s%d", i)))
		}
		w.ask(t, line)
		for _, action := range w.kubernetes.Actions() {
			if action.GetVerb() != "list" {
				t.Errorf("%s: a request to %s %s", line, action.GetVerb(), action.GetResource().Resource)
			}
		}
		return len(w.kubernetes.Actions())
	}
	for _, line := range []string{"status", explainWeb, "addresses"} {
		if few, many := count(0, line), count(50, line); few != many || few > 10 {
			t.Errorf("%s: %d requests with one Service, %d with many", line, few, many)
		}
	}
}

// Whatever others write into an object, it cannot steer a terminal or forge a line.
func TestMessagesCannotForgeOutput(t *testing.T) {
	w := newWorld()
	w.unannounced(v1beta1.ReasonNoEndpoint, "\x1b[2Jall gone\nOverall      OK  all is well")
	for _, line := range []string{explainWeb, "status"} {
		out, _ := w.ask(t, line)
		if strings.ContainsAny(out, "\x1b\r") || strings.Contains(out, "\nOverall      OK") {
			t.Errorf("%s: %q", line, out)
		}
	}
}

// A namespace's reader is shown what can be read, of that namespace.
func TestTheServicesOfOneNamespace(t *testing.T) {
	w := newWorld()
	other := service("elsewhere")
	other.Namespace = "intranet"
	says(other, v1beta1.ConditionAllocated, metav1.ConditionFalse, v1beta1.ReasonPoolExhausted, "pool lan: every IPv4 address is taken")
	w.services = append(w.services, other)
	if out, status := w.ask(t, "status -n shop"); status != command.StatusWell || !strings.Contains(out, "1 of type LoadBalancer in shop") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	if out, status := w.ask(t, "status -A -n shop"); status != command.StatusWrong || !strings.Contains(out, "intranet/elsewhere") {
		t.Errorf("exit status %d\n%s", status, out)
	}
}

func TestNamesAreCompleted(t *testing.T) {
	for line, want := range map[string]string{
		"__complete explain service -n shop ": "web", "__complete explain node ": "n2", "__complete explain address ": "192.0.2.10",
	} {
		w := newWorld()
		// The last argument, which is empty, is the word to be completed.
		out, status := w.askArgs(t, append(strings.Fields(line), ""))
		if status != command.StatusWell || !strings.Contains(out, want+"\n") {
			t.Errorf("%s: exit status %d\n%s", line, status, out)
		}
	}
}

// K01: files are looked at without a cluster.
func TestValidate(t *testing.T) {
	for name, one := range map[string]struct {
		line   string
		status int
	}{
		"validate":                  {"validate -f testdata/manifests", command.StatusWrong},
		"validate-well":             {"validate -f testdata/manifests/pool.yaml", command.StatusWell},
		"validate-no-file":          {"validate -f testdata/nothing.yaml", command.StatusUnknown},
		"validate-nothing":          {"validate", command.StatusUnknown},
		"validate-refused":          {"validate -f testdata/refused", command.StatusWrong},
		"validate-json":             {"validate -f testdata/refused/all.yaml,testdata/metallb --metallb -o json", command.StatusWrong},
		"validate-metallb":          {"validate --metallb -f testdata/metallb", command.StatusWrong},
		"validate-theirs-unasked":   {"validate -f testdata/metallb", command.StatusWell},
		"validate-metallb-well":     {"validate --metallb -f testdata/migrate/home-flat.yaml", command.StatusWell},
		"validate-metallb-mistakes": {"validate --metallb -f testdata/migrate/mistakes.yaml", command.StatusWrong},
	} {
		w := newWorld()
		w.unreachable = true
		got, status := w.ask(t, one.line)
		if status != one.status || len(w.kubernetes.Actions()) > 0 {
			t.Errorf("%s: exit status %d, %d requests", name, status, len(w.kubernetes.Actions()))
		}
		compare(t, name, fmt.Sprintf("$ kubectl baliza %s\n%sexit status %d\n", one.line, got, status))
	}
}
