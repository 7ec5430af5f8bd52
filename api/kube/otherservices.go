package kube

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// otherServices are those that are no load balancers. They are watched from when
// a BGPAdvertisement announces their addresses: most clusters have more of them than
// of the others, and no use for it.
type otherServices struct {
	factory informers.SharedInformerFactory
	cached  cache.Indexer
	watched cache.SharedIndexInformer

	once sync.Once
	mu   sync.Mutex
	ctx  context.Context //nolint:containedctx // that of Start, for what starts later
}

// prepare makes the cache, which stays empty until it is started.
func (o *otherServices) prepare(clients Clients, strip informers.SharedInformerOption) {
	others := informers.WithTweakListOptions(func(l *metav1.ListOptions) {
		l.FieldSelector = fields.OneTermNotEqualSelector("spec.type", string(corev1.ServiceTypeLoadBalancer)).String()
	})
	o.factory = informers.NewSharedInformerFactoryWithOptions(clients.Kubernetes, 0, strip, others)
	o.watched = o.factory.Core().V1().Services().Informer()
	o.cached = o.watched.GetIndexer()
}

func (o *otherServices) begin(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ctx = ctx
}

// WatchOtherServices begins to watch the Services that are no load balancers,
// after Start and once; from then on Changes and Service have them, too.
func (v *SpeakerView) WatchOtherServices() error {
	o := &v.others
	var failed error
	o.once.Do(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if _, err := o.watched.AddEventHandler(v.handler(v.noteService)); err != nil {
			failed = fmt.Errorf("watching Services that are no load balancers: %w", err)
			return
		}
		o.factory.Start(o.ctx.Done())
	})
	return failed
}
