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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// FieldManager under which the controller writes.
const FieldManager = "baliza-controller"

// ServiceWrite is the whole of what the controller says about one Service.
// What an earlier write said and this one does not is taken back.
//
// It goes out as one server-side apply to the status subresource. The status
// strategy of Services resets only spec, so finalizer and annotation are part
// of the same atomic write as the addresses (see strategy.go and storage.go of
// k8s.io/kubernetes/pkg/registry/core/service: "users can patch the status to
// remove the finalizer").
type ServiceWrite struct {
	// Namespace, Name and ResourceVersion of the object that the decision was
	// made on; if it has changed since, the write fails with ErrStale.
	Namespace, Name, ResourceVersion string
	// Addresses for status.loadBalancer.ingress, with ipMode VIP.
	Addresses []netip.Addr
	// Pool that the addresses came from, for the annotation. With it comes
	// the finalizer.
	Pool string
	// Untried are those of the addresses that no node has announced yet, for
	// the annotation.
	Untried []netip.Addr
	// Conditions of ours, complete.
	Conditions []metav1.Condition
	// Force takes fields over from other managers.
	Force bool
	// Clean removes finalizer, annotation and addresses also where another
	// manager put them as well, as a restored backup does.
	Clean bool
}

// ErrStale says that a Service changed, or went, since the decision was made.
var ErrStale = errors.New("the Service has changed meanwhile")

// FieldConflict says that other managers own what a write would change.
type FieldConflict struct {
	// Managers, each once, in order.
	Managers []string
	err      error
}

func (c *FieldConflict) Error() string {
	return "other managers own the fields: " + strings.Join(c.Managers, ", ")
}

func (c *FieldConflict) Unwrap() error { return c.err }

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

// Apply writes and returns the Service as it is then. The error is ErrStale,
// a *FieldConflict, or whatever kept the request from succeeding.
func (s *Services) Apply(ctx context.Context, w ServiceWrite) (*corev1.Service, error) {
	options := metav1.ApplyOptions{FieldManager: FieldManager, Force: w.Force}
	svc, err := s.client.Services(w.Namespace).ApplyStatus(ctx, applyConfiguration(w), options)
	if err == nil && w.Clean {
		svc, err = s.clean(ctx, svc)
	}
	if err != nil {
		return nil, fmt.Errorf("writing Service %s/%s: %w", w.Namespace, w.Name, classify(err))
	}
	return s.strip(svc), nil
}

func applyConfiguration(w ServiceWrite) *corev1ac.ServiceApplyConfiguration {
	cfg := corev1ac.Service(w.Name, w.Namespace)
	if w.ResourceVersion != "" {
		cfg.WithResourceVersion(w.ResourceVersion)
	}
	if w.Pool != "" {
		cfg.WithFinalizers(v1beta1.Finalizer)
		cfg.WithAnnotations(map[string]string{v1beta1.AnnotationAllocatedPool: w.Pool})
	}
	if len(w.Untried) > 0 {
		cfg.WithAnnotations(map[string]string{v1beta1.AnnotationUntried: UntriedAnnotation(w.Untried)})
	}
	if len(w.Addresses) == 0 && len(w.Conditions) == 0 {
		return cfg
	}
	status := corev1ac.ServiceStatus()
	if len(w.Addresses) > 0 {
		balancer := corev1ac.LoadBalancerStatus()
		for _, a := range w.Addresses {
			balancer.WithIngress(corev1ac.LoadBalancerIngress().WithIP(a.String()).WithIPMode(corev1.LoadBalancerIPModeVIP))
		}
		status.WithLoadBalancer(balancer)
	}
	for _, c := range w.Conditions {
		status.WithConditions(condition(c))
	}
	return cfg.WithStatus(status)
}

// UntriedAnnotation is the value of the annotation that names these addresses;
// empty without any.
func UntriedAnnotation(addresses []netip.Addr) string {
	texts := make([]string, 0, len(addresses))
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

func condition(c metav1.Condition) *metav1ac.ConditionApplyConfiguration {
	return metav1ac.Condition().WithType(c.Type).WithStatus(c.Status).WithReason(c.Reason).WithMessage(c.Message).
		WithObservedGeneration(c.ObservedGeneration).WithLastTransitionTime(c.LastTransitionTime)
}

// clean removes what an apply leaves because another manager put it there too.
func (s *Services) clean(ctx context.Context, svc *corev1.Service) (*corev1.Service, error) {
	finalizers := slices.DeleteFunc(slices.Clone(svc.Finalizers), func(f string) bool { return f == v1beta1.Finalizer })
	_, annotated := svc.Annotations[v1beta1.AnnotationAllocatedPool]
	if len(finalizers) == len(svc.Finalizers) && !annotated && len(svc.Status.LoadBalancer.Ingress) == 0 {
		return svc, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": svc.ResourceVersion,
			"finalizers":      finalizers,
			"annotations":     map[string]any{v1beta1.AnnotationAllocatedPool: nil, v1beta1.AnnotationUntried: nil},
		},
		"status": map[string]any{"loadBalancer": map[string]any{"ingress": nil}},
	})
	if err != nil {
		return nil, err
	}
	return s.client.Services(svc.Namespace).Patch(ctx, svc.Name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: FieldManager}, "status")
}

// classify tells the two kinds of conflict apart.
func classify(err error) error {
	if apierrors.IsNotFound(err) {
		return ErrStale
	}
	if !apierrors.IsConflict(err) {
		return err
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ErrStale
	}
	var managers []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			managers = append(managers, managerOf(cause.Message))
		}
	}
	if len(managers) == 0 {
		return ErrStale
	}
	slices.Sort(managers)
	return &FieldConflict{Managers: slices.Compact(managers), err: err}
}

// managerOf finds the manager in `conflict with "name" using v1`.
func managerOf(message string) string {
	parts := strings.SplitN(message, `"`, 3)
	if len(parts) < 3 {
		return message
	}
	return parts[1]
}
