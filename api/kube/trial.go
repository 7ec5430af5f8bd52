package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Trial is a Service in front of the controller that is made to see whether
// Services get addresses.
type Trial struct {
	clients         Clients
	namespace, name string
}

// trialPeriod is how often the Service is looked at.
const trialPeriod = 200 * time.Millisecond

// NewTrial makes the Service: port 80 leads to the controllers' admin port. A
// Service of that name which an earlier trial left goes first.
func NewTrial(ctx context.Context, clients Clients, namespace, name, class, pool string) (*Trial, error) {
	t := &Trial{clients, namespace, name}
	if err := t.Delete(ctx); err != nil {
		return nil, err
	}
	no := false
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace, Annotations: map[string]string{},
			Labels: map[string]string{"app.kubernetes.io/name": "baliza", "app.kubernetes.io/managed-by": FieldManager},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class, AllocateLoadBalancerNodePorts: &no,
			Selector: map[string]string{"app.kubernetes.io/name": "baliza", "app.kubernetes.io/component": "controller"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("admin")}},
		},
	}
	if pool != "" {
		svc.Annotations[v1beta1.AnnotationPool] = pool
	}
	if _, err := clients.Kubernetes.CoreV1().Services(namespace).Create(ctx, svc, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
		return nil, fmt.Errorf("creating Service %s/%s: %w", namespace, name, err)
	}
	return t, nil
}

// Announced waits until the Service has an address that is announced, and
// returns all that it has. The error says what its conditions said last.
func (t *Trial) Announced(ctx context.Context) ([]netip.Addr, error) {
	said := "the controller has said nothing of it"
	for {
		svc, err := t.clients.Kubernetes.CoreV1().Services(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
		if err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("reading Service %s/%s: %w", t.namespace, t.name, err)
		}
		if err == nil {
			var announced bool
			if said, announced = state(svc, said); announced {
				return addressesOf(svc), nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for Service %s/%s to be announced: %s", t.namespace, t.name, said)
		case <-time.After(trialPeriod):
		}
	}
}

// state is what the first condition says that is not met, and whether none is
// left. Without conditions it is as before.
func state(svc *corev1.Service, before string) (said string, announced bool) {
	said = before
	for _, kind := range []string{v1beta1.ConditionAllocated, v1beta1.ConditionAnnounced} {
		c := meta.FindStatusCondition(svc.Status.Conditions, kind)
		if c == nil {
			return said, false
		}
		said = fmt.Sprintf("%s=%s (%s): %s", c.Type, c.Status, c.Reason, c.Message)
		if c.Status != metav1.ConditionTrue {
			return said, false
		}
	}
	return said, true
}

// Delete deletes the Service and waits until it is gone.
func (t *Trial) Delete(ctx context.Context) error {
	services := t.clients.Kubernetes.CoreV1().Services(t.namespace)
	if err := services.Delete(ctx, t.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting Service %s/%s: %w", t.namespace, t.name, err)
	}
	for {
		_, err := services.Get(ctx, t.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for Service %s/%s to be let go", t.namespace, t.name), err)
		case <-time.After(trialPeriod):
		}
	}
}

func addressesOf(svc *corev1.Service) []netip.Addr {
	var all []netip.Addr
	for _, entry := range svc.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(entry.IP); err == nil {
			all = append(all, a)
		}
	}
	return all
}
