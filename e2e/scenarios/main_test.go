package scenarios

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// ceiling catches a hang; scenarios take seconds.
const ceiling = 3 * time.Minute

// start builds the one cluster that the scenarios share. It ends with the
// process.
var start = sync.OnceValues(func() (*cluster.Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ceiling)
	defer cancel()
	return cluster.Start(ctx, lab.Config{Clients: 2})
})

// shared returns the cluster and a context that ends with the test.
func shared(t *testing.T) (context.Context, *cluster.Cluster) {
	t.Helper()
	c, err := start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ceiling)
	t.Cleanup(cancel)
	t.Cleanup(func() { c.DumpOnFailure(t) })
	return ctx, c
}

// plot is a test's own piece of the cluster: a namespace, a pool that only it
// may use, and an advertisement of that pool. All are gone after the test.
type plot struct {
	*cluster.Cluster
	t    *testing.T
	name string
	// v4 and v6 are the first three groups of the pool's addresses: the pool
	// has v4+".0" to ".15", and v6+"0" to "f".
	v4, v6 string
}

var plots atomic.Int32

// newPlot makes one, with that many web pods.
func newPlot(t *testing.T, pods int) (context.Context, *plot) {
	t.Helper()
	ctx, c := shared(t)
	i := plots.Add(1)
	p := &plot{Cluster: c, t: t, name: fmt.Sprintf("plot-%d", i), v4: fmt.Sprintf("198.19.%d", 128+i), v6: fmt.Sprintf("2001:db8:4:0:%x::", i)}
	t.Cleanup(p.clear)
	p.must(c.Web(ctx, p.name, pods))
	p.must(c.Advertise(ctx, p.name, p.name))
	p.must(c.Pool(ctx, p.name, []string{p.v4 + ".0/28", p.v6 + "/124"}, p.name))
	return ctx, p
}

func (p *plot) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// clear removes the plot; its pods may take a while longer to end.
func (p *plot) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args := []string{"delete", "--ignore-not-found", "--wait=false"}
	for _, kind := range []string{"bgppeer", "bgpadvertisement", "bfdprofile", "community", "bpool", "l2adv", "namespace"} {
		args = append(args, kind+"/"+p.name)
	}
	if _, err := p.Kubectl(ctx, args...); err != nil {
		p.t.Error(err)
	}
}

// service makes a Service of the plot.
func (p *plot) service(ctx context.Context, name string, change func(*corev1.Service)) *corev1.Service {
	p.t.Helper()
	svc, err := p.Service(ctx, p.name, name, change)
	p.must(err)
	return svc
}

// get reads a Service of the plot.
func (p *plot) get(ctx context.Context, name string) *corev1.Service {
	p.t.Helper()
	svc, err := p.Client.CoreV1().Services(p.name).Get(ctx, name, metav1.GetOptions{})
	p.must(err)
	return svc
}

// addresses waits for that many addresses and returns them as one string,
// joined by spaces, in the status' order.
func (p *plot) addresses(ctx context.Context, name string, count int) string {
	p.t.Helper()
	all, err := p.WaitAddresses(ctx, p.name, name, count)
	if err != nil {
		p.t.Fatalf("%v; its conditions: %+v", err, p.get(context.WithoutCancel(ctx), name).Status.Conditions)
	}
	return join(all)
}

func join[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.String()
	}
	return strings.Join(texts, " ")
}

// refused waits until the Service says that it is not allocated for this
// reason, and returns the message.
func (p *plot) refused(ctx context.Context, name string, reason v1beta1.Reason) string {
	p.t.Helper()
	var last *metav1.Condition
	err := lab.WaitFor(ctx, fmt.Sprintf("Service %s to be refused: %s", name, reason), func() (bool, error) {
		last = cluster.Condition(p.get(ctx, name).Status.Conditions, v1beta1.ConditionAllocated)
		return last != nil && last.Status == metav1.ConditionFalse && last.Reason == string(reason), nil
	})
	if err != nil {
		p.t.Fatalf("%v; the condition is %+v", err, last)
	}
	return last.Message
}

// ready waits for the Ready condition of a cluster-scoped object, as kubectl
// wait would, to have this status and reason; it returns the message.
func (p *plot) ready(ctx context.Context, object, status string, reason v1beta1.Reason) string {
	p.t.Helper()
	kind, name, _ := strings.Cut(object, "/")
	short := map[string]string{"bpool": "ipaddresspools", "l2adv": "l2advertisements", "bspk": "speakers"}
	var out string
	err := lab.WaitFor(ctx, fmt.Sprintf("%s to have Ready=%s, %s", object, status, reason), func() (bool, error) {
		request := p.Baliza.BalizaV1beta1().RESTClient().Get().Resource(cmp.Or(short[kind], kind+"s")).Name(name)
		var found struct{ Status v1beta1.IPAddressPoolStatus } // all kinds' have conditions
		raw, err := request.DoRaw(ctx)
		if err == nil {
			err = json.Unmarshal(raw, &found)
		}
		if err != nil {
			out = err.Error()
			return false, nil //nolint:nilerr // it may not exist yet
		}
		out = ""
		if c := cluster.Condition(found.Status.Conditions, v1beta1.ConditionReady); c != nil {
			out = fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
		}
		return strings.HasPrefix(out, status+" "+string(reason)+" "), nil
	})
	if err != nil {
		p.t.Fatalf("%v; it is %q", err, out)
	}
	return out
}

// unchanged checks that the Service is not written to for a while.
func (p *plot) unchanged(ctx context.Context, name string) {
	p.t.Helper()
	before := p.get(ctx, name)
	time.Sleep(cluster.Settle)
	if after := p.get(ctx, name); after.ResourceVersion != before.ResourceVersion {
		p.t.Errorf("Service %s was written to:\nbefore %+v\nafter  %+v", name, before, after)
	}
}
