package lab

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	leaseSeconds   = 40
	heartbeatEvery = 3 * time.Second
	statusEvery    = 5 * time.Minute
)

// agent is the lab's own [PodRunner]. It lives in the lab's process but talks
// to the API server from its node's network and with its node's credential.
// Its maps are guarded by mu; each pod is owned by one goroutine.
type agent struct {
	lab     *Lab
	node    Node
	client  kubernetes.Interface
	serving credential
	gate    *gate
	log     *slog.Logger

	mu    sync.Mutex
	pods  map[types.UID]*podWorker
	slots map[int]bool
	done  sync.WaitGroup
}

func newAgent(l *Lab, node Node) (PodRunner, error) {
	c, err := l.ca.client("system:node:"+node.Name, "system:nodes")
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(l.userConfig(node.Name, c))
	if err != nil {
		return nil, fmt.Errorf("node client: %w", err)
	}
	serving, err := l.ca.server("system:node:"+node.Name, []string{node.Name}, node.IPv4.AsSlice(), node.IPv6.AsSlice())
	if err != nil {
		return nil, err
	}
	return &agent{
		lab: l, node: node, client: client, serving: serving, gate: newGate(), log: l.log.With("node", node.Name),
		pods: map[types.UID]*podWorker{}, slots: map[int]bool{},
	}, nil
}

func (a *agent) Freeze() { a.gate.shut() }
func (a *agent) Thaw()   { a.gate.open() }

func (a *agent) Run(ctx context.Context) error {
	gateway := a.node.Pods4.Addr().Next()
	if err := inNetns(a.node.Name, func() error { return addAddress("lo", hostPrefix(gateway)) }); err != nil {
		return err
	}
	if err := a.serveLogs(ctx); err != nil {
		return err
	}
	a.done.Go(func() { a.heartbeat(ctx) })
	list := cache.NewListWatchFromClient(a.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll,
		fields.OneTermEqualSelector("spec.nodeName", a.node.Name))
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: list,
		ObjectType:    &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { a.podChanged(ctx, o) },
			UpdateFunc: func(_, o any) { a.podChanged(ctx, o) },
			DeleteFunc: a.podGone,
		},
	})
	informer.RunWithContext(ctx)
	a.done.Wait()
	return ctx.Err()
}

func (a *agent) podChanged(ctx context.Context, o any) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	a.gate.wait(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.pods[pod.UID]
	if !ok {
		w = newPodWorker(a, pod)
		a.pods[pod.UID] = w
		a.done.Go(func() {
			w.run(ctx)
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.pods, pod.UID)
		})
	}
	w.observe(pod)
}

func (a *agent) podGone(o any) {
	if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = unknown.Obj
	}
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if w, ok := a.pods[pod.UID]; ok {
		w.vanish()
	}
}

// takeSlot reserves pod addresses.
func (a *agent) takeSlot() (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for slot := 2; slot < 255; slot++ {
		if !a.slots[slot] {
			a.slots[slot] = true
			return slot, nil
		}
	}
	return 0, fmt.Errorf("node %s has no pod address left", a.node.Name)
}

func (a *agent) freeSlot(slot int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.slots, slot)
}

// heartbeat registers the node and then renews its lease, and repairs its
// status when somebody else marked it.
func (a *agent) heartbeat(ctx context.Context) {
	pause := 100 * time.Millisecond
	for a.gate.wait(ctx) {
		if err := a.beat(ctx); err != nil {
			a.log.Debug("heartbeat failed", "error", err)
		} else {
			pause = heartbeatEvery
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (a *agent) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	if err := a.renew(ctx); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	nodes := a.client.CoreV1().Nodes()
	node, err := nodes.Get(ctx, a.node.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		node, err = nodes.Create(ctx, nodeObject(a.node), metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if !needsStatus(node, time.Now()) {
		return nil
	}
	node.Status = nodeStatus(a.node, node.Status, time.Now())
	if _, err := nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("node status: %w", err)
	}
	return nil
}

func (a *agent) renew(ctx context.Context) error {
	leases := a.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	lease, err := leases.Get(ctx, a.node.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordination.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: a.node.Name},
			Spec:       coordination.LeaseSpec{HolderIdentity: &a.node.Name, LeaseDurationSeconds: new(int32(leaseSeconds)), RenewTime: &now},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

func nodeObject(n Node) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{
			corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: runtime.GOARCH,
		}},
		Spec: corev1.NodeSpec{PodCIDR: n.Pods4.String(), PodCIDRs: []string{n.Pods4.String(), n.Pods6.String()}},
	}
}

func needsStatus(n *corev1.Node, now time.Time) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status != corev1.ConditionTrue || now.Sub(c.LastHeartbeatTime.Time) > statusEvery
		}
	}
	return true
}

// nodeStatus is the status of a healthy node; times of conditions that did not
// change are kept.
func nodeStatus(n Node, old corev1.NodeStatus, now time.Time) corev1.NodeStatus {
	s := old
	s.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: n.IPv4.String()},
		{Type: corev1.NodeInternalIP, Address: n.IPv6.String()},
		{Type: corev1.NodeHostName, Address: n.Name},
	}
	s.Capacity = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods: resource.MustParse("250"),
	}
	s.Allocatable = s.Capacity
	s.DaemonEndpoints.KubeletEndpoint.Port = kubeletPort
	s.NodeInfo = corev1.NodeSystemInfo{
		KubeletVersion: "v1.36.3", OperatingSystem: "linux", Architecture: runtime.GOARCH,
		ContainerRuntimeVersion: "lab://1", OSImage: "namespaces", MachineID: n.Name, SystemUUID: n.Name, BootID: n.Name,
	}
	s.Conditions = nil
	for kind, value := range map[corev1.NodeConditionType]corev1.ConditionStatus{
		corev1.NodeReady: corev1.ConditionTrue, corev1.NodeMemoryPressure: corev1.ConditionFalse,
		corev1.NodeDiskPressure: corev1.ConditionFalse, corev1.NodePIDPressure: corev1.ConditionFalse,
	} {
		c := corev1.NodeCondition{
			Type: kind, Status: value, Reason: "LabAgent", Message: "the lab's agent is running",
			LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
		}
		for _, o := range old.Conditions {
			if o.Type == kind && o.Status == value {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		s.Conditions = append(s.Conditions, c)
	}
	for _, o := range old.Conditions {
		if o.Type == corev1.NodeNetworkUnavailable {
			s.Conditions = append(s.Conditions, o)
		}
	}
	return s
}
