package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// FieldManager under which the controller writes.
const FieldManager = "baliza-controller"

// ServiceWrite is the whole of what the controller says about one Service.
// What an earlier write said and this one does not is taken back; what others
// said of it stays, but for the addresses.
//
// It goes out as one strategic merge patch of the status subresource: the
// difference to Before, bound to its version. The status strategy of Services
// resets only spec, so finalizer and annotations are part of the same atomic
// write as the addresses (see strategy.go and storage.go of
// k8s.io/kubernetes/pkg/registry/core/service: "users can patch the status to
// remove the finalizer"). A server-side apply would cost the API server half as
// much again.
type ServiceWrite struct {
	// Before is the object that the decision was made on. If it has changed
	// since, the write fails with ErrStale.
	Before *corev1.Service
	// Addresses for status.loadBalancer.ingress, with ipMode VIP. Without any,
	// what is there stays, unless it is to vanish.
	Addresses []netip.Addr
	Vanish    bool
	// Pool that the addresses came from, for the annotation. With it comes
	// the finalizer.
	Pool string
	// Unannounced are those of the addresses that no node has announced yet, for
	// the annotation.
	Unannounced []netip.Addr
	// Conditions of ours, complete.
	Conditions []metav1.Condition
	// Progress is the condition Stalled or Reconciling that the Service is to have, or
	// nil. Its reason is that of one of Conditions.
	Progress *metav1.Condition
	// Yield makes the write fail with a FieldConflict where others own the
	// addresses that it would replace.
	Yield bool
}

// ErrStale says that a Service changed, or went, since the decision was made.
var ErrStale = errors.New("the Service has changed meanwhile")

// FieldConflict says that other managers own what a write would change.
type FieldConflict struct {
	// Managers, each once, in order.
	Managers []string
}

func (c *FieldConflict) Error() string {
	return "other managers own the fields: " + strings.Join(c.Managers, ", ")
}

// Services writes Services. It may be used from many goroutines.
type Services struct {
	client corev1client.ServicesGetter
	strip  func(*corev1.Service) *corev1.Service
}

// NewServices makes a writer. keepAnnotations are those that the returned
// objects still have.
func NewServices(clients Clients, keepAnnotations []string) *Services {
	return &Services{client: clients.Kubernetes.CoreV1(), strip: serviceStripper(keepAnnotations)}
}

// Get reads a Service from the API server itself; nil when there is none.
func (s *Services) Get(ctx context.Context, namespace, name string) (*corev1.Service, error) {
	svc, err := s.client.Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Service %s/%s: %w", namespace, name, err)
	}
	return s.strip(svc), nil
}

// Write writes and returns the Service as it is then. The error is ErrStale,
// a *FieldConflict, or whatever kept a request from succeeding.
func (s *Services) Write(ctx context.Context, w ServiceWrite) (*corev1.Service, error) {
	svc, err := s.write(ctx, w)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		err = ErrStale
	}
	if err != nil {
		return nil, fmt.Errorf("writing Service %s/%s: %w", w.Before.Namespace, w.Before.Name, err)
	}
	return s.strip(svc), nil
}

func (s *Services) write(ctx context.Context, w ServiceWrite) (*corev1.Service, error) {
	if w.Yield {
		// The cached object does not say who wrote what.
		svc, err := s.client.Services(w.Before.Namespace).Get(ctx, w.Before.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if managers := othersShowing(svc); len(managers) > 0 {
			return nil, &FieldConflict{Managers: managers}
		}
	}
	return patchService(ctx, s.client, w.Before, w.patch())
}

// patchService writes a strategic merge patch of the status subresource.
func patchService(ctx context.Context, client corev1client.ServicesGetter, svc *corev1.Service, patch map[string]any) (*corev1.Service, error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	options := metav1.PatchOptions{FieldManager: FieldManager}
	return client.Services(svc.Namespace).Patch(ctx, svc.Name, types.StrategicMergePatchType, body, options, "status")
}

// patch is the difference between the object and what is to be said.
func (w *ServiceWrite) patch() map[string]any {
	metadata := map[string]any{"resourceVersion": w.Before.ResourceVersion}
	add, remove := w.finalizers()
	if len(add) > 0 {
		metadata["finalizers"] = add
	}
	if len(remove) > 0 {
		metadata["$deleteFromPrimitiveList/finalizers"] = remove
	}
	annotations := make(map[string]any)
	for name, value := range w.Annotations() {
		switch before, present := w.Before.Annotations[name]; {
		case value != "" && value != before:
			annotations[name] = value
		case value == "" && present:
			annotations[name] = nil
		}
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	patch := map[string]any{"metadata": metadata}
	if status := w.statusPatch(); len(status) > 0 {
		patch["status"] = status
	}
	return patch
}

// finalizers are those to add and those to remove.
func (w *ServiceWrite) finalizers() (add, remove []string) {
	remove = ourFinalizers(w.Before)
	if w.Pool == "" {
		return nil, remove
	}
	if !slices.Contains(remove, v1beta1.Finalizer) {
		return []string{v1beta1.Finalizer}, remove
	}
	return nil, slices.DeleteFunc(remove, func(f string) bool { return f == v1beta1.Finalizer })
}

// HasFinalizers reports whether the Service has the finalizers that it is to
// have with an address from a pool, or without one.
func (w *ServiceWrite) HasFinalizers() bool {
	add, remove := w.finalizers()
	return len(add)+len(remove) == 0
}

func (w *ServiceWrite) statusPatch() map[string]any {
	status := make(map[string]any)
	switch {
	case len(w.Addresses) > 0 && !Shows(w.Before, w.Addresses):
		vip := corev1.LoadBalancerIPModeVIP
		var ingress []corev1.LoadBalancerIngress
		for _, a := range w.Addresses {
			ingress = append(ingress, corev1.LoadBalancerIngress{IP: a.String(), IPMode: &vip})
		}
		status["loadBalancer"] = map[string]any{"ingress": ingress}
	case len(w.Addresses) == 0 && w.Vanish:
		status["loadBalancer"] = map[string]any{"ingress": nil}
	}
	var conditions []any
	for _, kind := range []string{v1beta1.ConditionAllocated, v1beta1.ConditionAnnounced} {
		now, before := meta.FindStatusCondition(w.Conditions, kind), meta.FindStatusCondition(w.Before.Status.Conditions, kind)
		switch {
		case now != nil && (before == nil || *now != *before):
			conditions = append(conditions, now)
		case now == nil && before != nil:
			conditions = append(conditions, map[string]any{"$patch": "delete", "type": kind})
		}
	}
	if conditions = append(conditions, w.progressPatch()...); len(conditions) > 0 {
		status["conditions"] = conditions
	}
	return status
}

// progressPatch is the difference in the conditions Stalled and Reconciling. Since these
// names are everybody's, they are ours only where they repeat the reason of a condition
// that nobody else writes; another's stays, and none of ours takes its place.
func (w *ServiceWrite) progressPatch() []any {
	var patch []any
	for _, kind := range []string{v1beta1.ConditionReconciling, v1beta1.ConditionStalled} {
		now, before := w.Progress, meta.FindStatusCondition(w.Before.Status.Conditions, kind)
		if now != nil && now.Type != kind {
			now = nil
		}
		switch {
		case before != nil && !repeats(before, w.Before.Status.Conditions):
		case now != nil && (before == nil || now.Reason != before.Reason || now.Message != before.Message):
			patch = append(patch, now)
		case now == nil && before != nil:
			patch = append(patch, map[string]any{"$patch": "delete", "type": kind})
		}
	}
	return patch
}

// HasProgress reports whether the Service says what it is to say to those who wait.
func (w *ServiceWrite) HasProgress() bool { return len(w.progressPatch()) == 0 }

// repeats reports whether a condition has the reason of one that only the controller
// writes.
func repeats(c *metav1.Condition, all []metav1.Condition) bool {
	return slices.ContainsFunc(all, func(o metav1.Condition) bool {
		return o.Reason == c.Reason && (o.Type == v1beta1.ConditionAllocated || o.Type == v1beta1.ConditionAnnounced)
	})
}

// Shows reports whether the status has exactly these addresses, as they are
// written here.
func Shows(svc *corev1.Service, addresses []netip.Addr) bool {
	return slices.EqualFunc(svc.Status.LoadBalancer.Ingress, addresses, func(entry corev1.LoadBalancerIngress, a netip.Addr) bool {
		vip := entry.IPMode != nil && *entry.IPMode == corev1.LoadBalancerIPModeVIP
		return entry.IP == a.String() && vip && entry.Hostname == "" && len(entry.Ports) == 0
	})
}

// WrittenAnnotations are the annotations that the controller writes.
func WrittenAnnotations() []string {
	return []string{v1beta1.AnnotationAllocatedPool, v1beta1.AnnotationAllocatedAddresses, v1beta1.AnnotationUnannounced}
}

// Annotations are those that the controller writes, with their values; an empty
// one is to be absent.
func (w *ServiceWrite) Annotations() map[string]string {
	values := map[string]string{
		v1beta1.AnnotationAllocatedPool: w.Pool, v1beta1.AnnotationUnannounced: listed(w.Unannounced), v1beta1.AnnotationAllocatedAddresses: "",
	}
	if w.Pool != "" {
		values[v1beta1.AnnotationAllocatedAddresses] = listed(w.Addresses)
	}
	return values
}

// listed is the value of an annotation that names these addresses.
func listed(addresses []netip.Addr) string {
	texts := make([]string, 0, len(addresses))
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

// othersShowing are the managers, other than us, that own what the status
// shows, in order.
func othersShowing(svc *corev1.Service) []string {
	var managers []string
	for _, entry := range svc.ManagedFields {
		var owned struct {
			Status struct {
				LoadBalancer map[string]json.RawMessage `json:"f:loadBalancer"`
			} `json:"f:status"`
		}
		if entry.Manager == FieldManager || entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned) != nil {
			continue
		}
		if _, shows := owned.Status.LoadBalancer["f:ingress"]; shows {
			managers = append(managers, entry.Manager)
		}
	}
	slices.Sort(managers)
	return slices.Compact(managers)
}
