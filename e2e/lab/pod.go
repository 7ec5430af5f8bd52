package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	retryEvery   = 500 * time.Millisecond
	refreshEvery = 5 * time.Second
)

// podWorker runs one pod from its appearance on the node to its end. mu guards
// what its goroutines share: the pod as last seen, and the containers' states.
type podWorker struct {
	agent  *agent
	dir    string
	refs   references
	tokens map[string]string

	sandbox *sandbox
	volumes map[string]string

	mu         sync.Mutex
	pod        *corev1.Pod
	inits      []*container
	containers []*container
	waiting    string // why it is still being created

	changed chan struct{} // something that the status shows has changed
	ending  chan struct{} // closed when the pod is to end
	endOnce sync.Once
	gone    bool // the object is no more
}

func newPodWorker(a *agent, pod *corev1.Pod) *podWorker {
	w := &podWorker{
		agent: a, pod: pod, dir: a.lab.path("nodes", a.node.Name, string(pod.UID)), tokens: map[string]string{},
		changed: make(chan struct{}, 1), ending: make(chan struct{}),
	}
	w.refs = references{
		configMap: func(ctx context.Context, name string) (*corev1.ConfigMap, error) {
			return a.client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		},
		secret: func(ctx context.Context, name string) (*corev1.Secret, error) {
			return a.client.CoreV1().Secrets(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		},
	}
	for i := range pod.Spec.InitContainers {
		w.inits = append(w.inits, newContainer(w, &pod.Spec.InitContainers[i]))
	}
	for i := range pod.Spec.Containers {
		w.containers = append(w.containers, newContainer(w, &pod.Spec.Containers[i]))
	}
	return w
}

// observe takes note of the object as the API server shows it now.
func (w *podWorker) observe(pod *corev1.Pod) {
	w.mu.Lock()
	w.pod = pod
	w.mu.Unlock()
	if pod.DeletionTimestamp != nil {
		w.end()
	}
	w.touch()
}

// vanish is called when the object was removed by force.
func (w *podWorker) vanish() {
	w.mu.Lock()
	w.gone = true
	w.mu.Unlock()
	w.end()
}

func (w *podWorker) end() { w.endOnce.Do(func() { close(w.ending) }) }

func (w *podWorker) touch() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *podWorker) seen() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

func (w *podWorker) run(ctx context.Context) {
	alive, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-w.ending:
			cancel()
		case <-alive.Done():
		}
	}()
	reporting, stopReporting := context.WithCancel(ctx)
	var reporter, live sync.WaitGroup
	reporter.Go(func() { w.report(reporting) })

	phase := w.seen().Status.Phase
	if phase != corev1.PodSucceeded && phase != corev1.PodFailed {
		live.Go(func() { w.live(alive) })
	}
	<-alive.Done()
	if ctx.Err() == nil {
		w.terminate(ctx)
	}
	live.Wait()
	w.cleanUp()
	stopReporting()
	reporter.Wait()
	if ctx.Err() == nil {
		w.remove(ctx)
	}
}

// live makes the pod, runs its containers and returns when all have ended for
// good or the pod is to end.
func (w *podWorker) live(ctx context.Context) {
	for {
		err := w.create(ctx)
		if err == nil {
			break
		}
		w.setWaiting(err.Error())
		if !sleep(ctx, retryEvery) {
			return
		}
	}
	w.setWaiting("")
	for _, c := range w.inits {
		if !c.run(ctx) {
			return
		}
	}
	var all sync.WaitGroup
	for _, c := range w.containers {
		all.Go(func() { c.run(ctx) })
	}
	all.Go(func() { w.refresh(ctx) })
	all.Wait()
}

func (w *podWorker) create(ctx context.Context) error {
	pod := w.seen()
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	if w.sandbox == nil {
		s, err := w.agent.newSandbox(pod)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.sandbox = s
		w.mu.Unlock()
	}
	var err error
	w.volumes, err = w.fillVolumes(ctx, pod)
	return err
}

func (a *agent) newSandbox(pod *corev1.Pod) (*sandbox, error) {
	if pod.Spec.HostNetwork {
		return hostSandbox(a.node), nil
	}
	slot, err := a.takeSlot()
	if err != nil {
		return nil, err
	}
	s, err := newSandbox(a.node, slot)
	if err != nil {
		a.freeSlot(slot)
	}
	return s, err
}

// refresh keeps secrets and config maps in volumes up to date.
func (w *podWorker) refresh(ctx context.Context) {
	for sleep(ctx, refreshEvery) && w.agent.gate.wait(ctx) {
		if _, err := w.fillVolumes(ctx, w.seen()); err != nil {
			w.agent.log.Debug("refreshing volumes", "pod", w.name(), "error", err)
		}
	}
}

// terminate ends the containers as the kubelet does: pre-stop hook, SIGTERM,
// and SIGKILL when the grace period is over.
func (w *podWorker) terminate(ctx context.Context) {
	if !w.agent.gate.wait(ctx) {
		return
	}
	grace := 30 * time.Second
	pod := w.seen()
	if s := pod.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	} else if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	var all sync.WaitGroup
	for _, c := range append(w.inits, w.containers...) {
		all.Go(func() { c.terminate(ctx) })
	}
	all.Wait()
}

func (w *podWorker) cleanUp() {
	if s := w.sandbox; s != nil {
		if err := s.remove(w.agent.node); err != nil {
			w.agent.log.Debug("removing the pod's network", "pod", w.name(), "error", err)
		}
		if s.slot != 0 {
			w.agent.freeSlot(s.slot)
		}
	}
	os.RemoveAll(w.dir)
}

// remove reports the end and deletes the object for good.
func (w *podWorker) remove(ctx context.Context) {
	pod := w.seen()
	for w.agent.gate.wait(ctx) {
		w.mu.Lock()
		gone := w.gone
		w.mu.Unlock()
		if gone {
			return
		}
		if w.pushStatus(ctx) == nil {
			options := metav1.NewDeleteOptions(0)
			options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
			deadline, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := w.agent.client.CoreV1().Pods(pod.Namespace).Delete(deadline, pod.Name, *options)
			cancel()
			if err != nil {
				w.agent.log.Debug("deleting a pod", "pod", w.name(), "error", err)
			}
		}
		if !sleep(ctx, retryEvery) {
			return
		}
	}
}

func (w *podWorker) setWaiting(why string) {
	w.mu.Lock()
	w.waiting = why
	w.mu.Unlock()
	w.touch()
}

func (w *podWorker) name() string {
	pod := w.seen()
	return fmt.Sprintf("%s/%s", pod.Namespace, pod.Name)
}

func (w *podWorker) ips() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	if w.sandbox != nil {
		for _, ip := range w.sandbox.ips {
			all = append(all, ip.String())
		}
	}
	return all
}

func (w *podWorker) hostIPs() []string {
	return []string{w.agent.node.IPv4.String(), w.agent.node.IPv6.String()}
}

func (w *podWorker) fsGroup() int {
	s := w.seen().Spec.SecurityContext
	if s == nil || s.FSGroup == nil || !canChangeUser() {
		return 0
	}
	return int(*s.FSGroup)
}

func (w *podWorker) file(name string) string { return filepath.Join(w.dir, name) }
