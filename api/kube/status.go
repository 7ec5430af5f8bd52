package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	acv1beta1 "github.com/baliza-lb/baliza/api/client/applyconfiguration/api/v1beta1"
	"github.com/baliza-lb/baliza/api/client/clientset/versioned"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

func condition(c metav1.Condition) *metav1ac.ConditionApplyConfiguration {
	return metav1ac.Condition().WithType(c.Type).WithStatus(c.Status).WithReason(c.Reason).WithMessage(c.Message).
		WithObservedGeneration(c.ObservedGeneration).WithLastTransitionTime(c.LastTransitionTime)
}

// ConfigStatus writes the status of the operator's objects. Nobody else does,
// so it always wins. It may be used from many goroutines.
type ConfigStatus struct {
	client versioned.Interface
}

// NewConfigStatus makes a writer.
func NewConfigStatus(clients Clients) *ConfigStatus { return &ConfigStatus{clients.Baliza} }

// ApplyPool writes the status of a pool.
func (s *ConfigStatus) ApplyPool(ctx context.Context, name string, status v1beta1.IPAddressPoolStatus) error {
	quarantined := make([]*acv1beta1.QuarantinedAddressApplyConfiguration, 0, len(status.Quarantined))
	for _, q := range status.Quarantined {
		one := acv1beta1.QuarantinedAddress().WithAddress(q.Address).WithMAC(q.MAC).WithSince(q.Since).WithReassignedServices(q.ReassignedServices...)
		if q.Until != nil {
			one.WithUntil(*q.Until)
		}
		quarantined = append(quarantined, one)
	}
	cfg := acv1beta1.IPAddressPool(name).WithStatus(acv1beta1.IPAddressPoolStatus().WithObservedGeneration(status.ObservedGeneration).
		WithAssignedIPv4(status.AssignedIPv4).WithAssignedIPv6(status.AssignedIPv6).
		WithAvailableIPv4(status.AvailableIPv4).WithAvailableIPv6(status.AvailableIPv6).
		WithOutsideSpec(status.OutsideSpec...).WithQuarantined(quarantined...).
		WithConditions(conditions(status.Conditions)...))
	_, err := s.client.BalizaV1beta1().IPAddressPools().ApplyStatus(ctx, cfg, applied())
	if err != nil {
		return fmt.Errorf("writing the status of IPAddressPool %s: %w", name, err)
	}
	return nil
}

// ApplyL2Advertisement writes the status of an advertisement.
func (s *ConfigStatus) ApplyL2Advertisement(ctx context.Context, name string, status v1beta1.L2AdvertisementStatus) error {
	cfg := acv1beta1.L2Advertisement(name).WithStatus(acv1beta1.L2AdvertisementStatus().
		WithObservedGeneration(status.ObservedGeneration).WithConditions(conditions(status.Conditions)...))
	_, err := s.client.BalizaV1beta1().L2Advertisements().ApplyStatus(ctx, cfg, applied())
	if err != nil {
		return fmt.Errorf("writing the status of L2Advertisement %s: %w", name, err)
	}
	return nil
}

func applied() metav1.ApplyOptions {
	return metav1.ApplyOptions{FieldManager: FieldManager, Force: true}
}

func conditions(in []metav1.Condition) []*metav1ac.ConditionApplyConfiguration {
	out := make([]*metav1ac.ConditionApplyConfiguration, 0, len(in))
	for _, c := range in {
		out = append(out, condition(c))
	}
	return out
}
