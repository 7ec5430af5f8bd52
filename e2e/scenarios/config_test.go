package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

func TestC01_Every_kind_has_a_Ready_condition(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.served(ctx, "web", nil)
	for _, object := range []string{"bpool/" + p.name, "l2adv/" + p.name, "bspk/n1", "bspk/n2", "bspk/n3"} {
		_, err := p.Kubectl(ctx, "wait", "--for=condition=Ready", object, "--timeout=20s")
		p.must(err)
		out, err := p.Kubectl(ctx, "get", object, "-o",
			`jsonpath={.metadata.generation} {range .status.conditions[?(@.type=="Ready")]}{.observedGeneration} {.reason} {.message}{end}`)
		p.must(err)
		fields := strings.Fields(out)
		if len(fields) < 4 {
			t.Errorf("%s has no generation, observed generation, reason or message: %q", object, out)
			continue
		}
		if fields[0] != fields[1] {
			t.Errorf("%s is at generation %s, but Ready speaks of %s", object, fields[0], fields[1])
		}
	}
}

// mistakes are what an operator got wrong in a plot: each object, the reason
// that it must give, a word that its message must have, and what puts it right.
func (p *plot) mistakes(ctx context.Context) map[string]mistake {
	p.t.Helper()
	names := map[string]string{}
	for _, kind := range []string{"younger", "reversed", "dangling", "nothing", "later"} {
		names[kind] = p.name + "-" + kind
	}
	p.t.Cleanup(func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "delete", "--ignore-not-found", "bpool/"+names["younger"], "bpool/"+names["reversed"],
			"bpool/"+names["later"], "l2adv/"+names["dangling"], "l2adv/"+names["nothing"])
		if err != nil {
			p.t.Error(err)
		}
	})
	p.must(p.Pool(ctx, names["younger"], []string{p.v4 + ".8-" + p.v4 + ".20"}, p.name))
	p.must(p.Pool(ctx, names["reversed"], []string{p.v4 + ".9-" + p.v4 + ".1"}, p.name))
	p.must(p.Advertise(ctx, names["dangling"], p.name, names["later"]))
	_, err := p.Baliza.BalizaV1beta1().L2Advertisements().Create(ctx, &v1beta1.L2Advertisement{
		ObjectMeta: metav1.ObjectMeta{Name: names["nothing"]},
		Spec:       v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"plot": names["nothing"]}}}},
	}, metav1.CreateOptions{})
	p.must(err)
	pools := p.Baliza.BalizaV1beta1().IPAddressPools()
	addresses := func(name, list string) func() error {
		return func() error {
			_, err := pools.Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"addresses":["`+list+`"]}}`), metav1.PatchOptions{})
			return err
		}
	}
	return map[string]mistake{
		"bpool/" + names["younger"]:  {v1beta1.ReasonOverlap, p.name, addresses(names["younger"], p.v4+".16-"+p.v4+".20")},
		"bpool/" + names["reversed"]: {v1beta1.ReasonInvalidSpec, "reversed", addresses(names["reversed"], p.v4+".31-"+p.v4+".39")},
		"l2adv/" + names["dangling"]: {v1beta1.ReasonReferenceNotFound, names["later"], func() error {
			return p.Pool(ctx, names["later"], []string{p.v4 + ".64/28"}, p.name)
		}},
		"l2adv/" + names["nothing"]: {v1beta1.ReasonNoMatch, "no IPAddressPool", func() error {
			_, err := pools.Patch(ctx, p.name, types.MergePatchType, []byte(`{"metadata":{"labels":{"plot":"`+names["nothing"]+`"}}}`), metav1.PatchOptions{})
			return err
		}},
	}
}

type mistake struct {
	reason v1beta1.Reason
	word   string
	mend   func() error
}

// complain waits until each of the mistakes is reported where it stands.
func (p *plot) complain(ctx context.Context, all map[string]mistake) {
	p.t.Helper()
	for object, m := range all {
		if message := p.ready(ctx, object, "False", m.reason); !strings.Contains(message, m.word) {
			p.t.Errorf("%s does not speak of %q: %s", object, m.word, message)
		}
	}
}

func TestC02_Mistakes_are_reported_where_they_stand_and_disable_nothing_else(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.served(ctx, "before", nil)
	p.complain(ctx, p.mistakes(ctx))
	p.ready(ctx, "bpool/"+p.name, "True", v1beta1.ReasonValid)
	p.ready(ctx, "l2adv/"+p.name, "True", v1beta1.ReasonValid)
	p.served(ctx, "after", nil)
	for name, want := range map[string]string{"before": ".0", "after": ".1"} {
		if got := p.addresses(ctx, name, 2); !strings.Contains(got+" ", p.v4+want+" ") {
			t.Errorf("%s has %s, want %s%s", name, got, p.v4, want)
		}
	}
}

func TestC03_Putting_a_mistake_right_clears_the_complaint_at_once(t *testing.T) {
	ctx, p := newPlot(t, 1)
	all := p.mistakes(ctx)
	p.complain(ctx, all)
	for object, m := range all {
		began := time.Now()
		p.must(m.mend())
		soon, cancel := context.WithTimeout(ctx, atOnce)
		p.ready(soon, object, "True", v1beta1.ReasonValid)
		cancel()
		t.Logf("%s, %s: clear after %s", object, m.reason, time.Since(began).Round(time.Millisecond))
	}
	// What was a mistake is in use now.
	_, err := p.Kubectl(ctx, "patch", "bpool", p.name, "--type=merge", "-p", `{"spec":{"autoAssign":false}}`)
	p.must(err)
	for kind, want := range map[string]string{"younger": ".16", "reversed": ".31", "later": ".64"} {
		p.service(ctx, kind, annotated(v1beta1.AnnotationPool, fmt.Sprintf("%s-%s", p.name, kind)))
		if got := p.addresses(ctx, kind, 1); got != p.v4+want {
			t.Errorf("the pool %s gave %s, want %s%s", kind, got, p.v4, want)
		}
	}
}

// atOnce is more than the controller takes between two writes of a status (1 s)
// on a machine that is busy.
const atOnce = 5 * time.Second
