package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/e2e/lab"
)

// WaitDNS returns when the cluster's DNS answers, or says why it cannot: once its
// container has ended there is nothing to wait for.
func (c *Cluster) WaitDNS(ctx context.Context) error {
	return lab.WaitFor(ctx, "cluster DNS", func() (bool, error) {
		pods, err := c.Client.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
		if err != nil {
			return false, err
		}
		for _, pod := range pods.Items {
			for _, status := range pod.Status.ContainerStatuses {
				if status.Ready {
					return true, nil
				}
				if reason := cannotRun(status); reason != "" {
					name := fmt.Sprintf("%s/%s/%s/%s", pod.Spec.NodeName, pod.Namespace, pod.Name, status.Name)
					return false, fmt.Errorf("%s %s; its log is:\n%s", name, reason, c.Log(name))
				}
			}
		}
		return false, nil
	})
}

// cannotRun says how a container ended, or why it is not started; empty when it
// runs for the first time, or is about to.
func cannotRun(status corev1.ContainerStatus) string {
	ended := status.State.Terminated
	if ended == nil {
		ended = status.LastTerminationState.Terminated
	}
	switch waiting := status.State.Waiting; {
	case ended != nil:
		return fmt.Sprintf("ended with code %d: %s %s", ended.ExitCode, ended.Reason, ended.Message)
	case waiting != nil && waiting.Message != "":
		return "is not started: " + waiting.Reason + ": " + waiting.Message
	}
	return ""
}
