package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// ErrControllerAlive says that a controller holds the Lease: whatever is taken
// off a Service it would put back.
var ErrControllerAlive = errors.New("a controller is running: uninstall it first, or scale it to 0")

// leasePeriod is how often the Lease is looked at.
const leasePeriod = time.Second

// WaitNoLeader returns when nobody holds the Lease. A holder that was killed
// holds it until it runs out. The error is ErrControllerAlive when it is renewed.
func WaitNoLeader(ctx context.Context, clients Clients, namespace, name string, now func() time.Time) error {
	var renewed *metav1.MicroTime
	for {
		lease, err := clients.Kubernetes.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading Lease %s/%s: %w", namespace, name, err)
		}
		holder, at := lease.Spec.HolderIdentity, lease.Spec.RenewTime
		switch {
		case holder == nil || *holder == "" || at == nil || now().Sub(at.Time) > leaseDuration:
			return nil
		case renewed != nil && !renewed.Equal(at):
			return fmt.Errorf("%w (Lease %s/%s is renewed by %s)", ErrControllerAlive, namespace, name, *holder)
		}
		renewed = at
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for Lease %s/%s to run out: %w", namespace, name, ctx.Err())
		case <-time.After(leasePeriod):
		}
	}
}

// uninstalled is what a Service is told that keeps an address which nobody
// announces any more.
const uninstalled = "Baliza was uninstalled: nobody answers for these addresses, and nobody keeps this Service from being deleted"

// ReleaseServices takes Baliza's finalizer off every Service that has it, and
// says on each of them, by condition and event, that its addresses are not
// announced any more. The addresses stay: a new installation takes them up
// again. released is called with namespace and name of each.
func ReleaseServices(ctx context.Context, clients Clients, released func(namespace, name string)) error {
	list := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) {
		return clients.Kubernetes.CoreV1().Services(metav1.NamespaceAll).List(ctx, o)
	}))
	list.PageSize = pageSize
	var failed error
	err := list.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		svc, ok := object.(*corev1.Service)
		if !ok {
			return nil
		}
		finalizers, nothing := ourFinalizers(svc), ServiceWrite{Before: svc}
		progress := nothing.progressPatch()
		var err error
		switch {
		case len(finalizers) > 0:
			if err = release(ctx, clients, svc, finalizers, progress); err == nil {
				released(svc.Namespace, svc.Name)
			}
		case len(progress) > 0: // nobody works on it any more, and nobody is to wait for it
			status := map[string]any{"status": map[string]any{"conditions": progress}}
			if _, err = patchService(ctx, clients.Kubernetes.CoreV1(), svc, status); apierrors.IsNotFound(err) {
				err = nil
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("releasing Service %s/%s: %w", svc.Namespace, svc.Name, err))
		}
		return nil
	})
	if err != nil {
		return errors.Join(failed, fmt.Errorf("reading Services: %w", err))
	}
	return failed
}

func release(ctx context.Context, clients Clients, svc *corev1.Service, finalizers []string, progress []any) error {
	now := time.Now()
	_, err := patchService(ctx, clients.Kubernetes.CoreV1(), svc, map[string]any{
		"metadata": map[string]any{"$deleteFromPrimitiveList/finalizers": finalizers},
		"status": map[string]any{"conditions": append(progress, metav1.Condition{
			Type: v1beta1.ConditionAnnounced, Status: metav1.ConditionFalse, Reason: string(v1beta1.ReasonUninstalled),
			Message: uninstalled, ObservedGeneration: svc.Generation, LastTransitionTime: metav1.NewTime(now),
		})},
	})
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile, as it now may be
	}
	if err != nil {
		return err
	}
	_, err = clients.Kubernetes.EventsV1().Events(svc.Namespace).Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "baliza-uninstalled-", Namespace: svc.Namespace},
		EventTime:  metav1.NewMicroTime(now), Type: corev1.EventTypeWarning,
		ReportingController: FieldManager, ReportingInstance: FieldManager,
		Action: "Release", Reason: string(v1beta1.ReasonUninstalled), Note: uninstalled,
		Regarding: corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: svc.Namespace, Name: svc.Name, UID: svc.UID},
	}, metav1.CreateOptions{})
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return nil // its namespace is being deleted, and takes no events
	}
	return err
}
