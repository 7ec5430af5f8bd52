package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// report writes the pod's status whenever it differs from what the API server
// shows, until ctx ends.
func (w *podWorker) report(ctx context.Context) {
	for {
		select {
		case <-w.changed:
		case <-ctx.Done():
			return
		}
		for w.agent.gate.wait(ctx) {
			err := w.pushStatus(ctx)
			if err == nil {
				break
			}
			w.agent.log.Debug("reporting a pod", "error", err)
			if !sleep(ctx, retryEvery) {
				return
			}
		}
	}
}

// pushStatus writes the status when it must change. A pod that is gone needs
// none.
func (w *podWorker) pushStatus(ctx context.Context) error {
	w.mu.Lock()
	pod, gone := w.pod, w.gone
	want := w.status(time.Now())
	w.mu.Unlock()
	if gone || sameStatus(pod.Status, want) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": want})
	if err != nil {
		return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	pods := w.agent.client.CoreV1().Pods(pod.Namespace)
	got, err := pods.Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		w.vanish()
		return nil
	}
	if err != nil {
		return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pod == pod {
		w.pod = got
	}
	return nil
}

// status is what the pod looks like now. The caller holds mu.
func (w *podWorker) status(now time.Time) corev1.PodStatus {
	s := corev1.PodStatus{
		Phase:                 w.phase(),
		HostIP:                w.agent.node.IPv4.String(),
		HostIPs:               []corev1.HostIP{{IP: w.agent.node.IPv4.String()}, {IP: w.agent.node.IPv6.String()}},
		StartTime:             w.pod.Status.StartTime,
		InitContainerStatuses: containerStatuses(w.inits, w.waiting),
		ContainerStatuses:     containerStatuses(w.containers, w.waiting),
	}
	if s.StartTime == nil {
		s.StartTime = new(metav1.NewTime(now).Rfc3339Copy())
	}
	if w.sandbox != nil {
		for _, ip := range w.sandbox.ips {
			s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip.String()})
		}
		s.PodIP = s.PodIPs[0].IP
	}
	initialized, ready := true, s.Phase == corev1.PodRunning
	for _, c := range w.inits {
		initialized = initialized && c.final
	}
	for _, c := range w.containers {
		ready = ready && c.ready
	}
	gates := true
	for _, g := range w.pod.Spec.ReadinessGates {
		gates = gates && conditionTrue(w.pod.Status.Conditions, g.ConditionType)
	}
	for _, c := range []struct {
		kind   corev1.PodConditionType
		value  bool
		reason string
	}{
		{corev1.PodReadyToStartContainers, w.sandbox != nil, ""},
		{corev1.PodInitialized, initialized, "ContainersNotInitialized"},
		{corev1.ContainersReady, ready, "ContainersNotReady"},
		{corev1.PodReady, ready && gates, "ContainersNotReady"},
	} {
		s.Conditions = append(s.Conditions, condition(w.pod.Status.Conditions, c.kind, c.value, c.reason, now))
	}
	return s
}

func (w *podWorker) phase() corev1.PodPhase {
	if old := w.pod.Status.Phase; old == corev1.PodSucceeded || old == corev1.PodFailed {
		return old
	}
	running, ended, failed := 0, 0, 0
	for _, c := range w.containers {
		switch {
		case c.final:
			ended++
			if c.state.Terminated != nil && c.state.Terminated.ExitCode != 0 {
				failed++
			}
		case c.state.Running != nil || c.restarts > 0 || c.state.Terminated != nil:
			running++
		}
	}
	switch {
	case ended == len(w.containers) && failed > 0:
		return corev1.PodFailed
	case ended == len(w.containers):
		return corev1.PodSucceeded
	case running+ended == len(w.containers):
		return corev1.PodRunning
	}
	return corev1.PodPending
}

func containerStatuses(all []*container, waiting string) []corev1.ContainerStatus {
	var list []corev1.ContainerStatus
	for _, c := range all {
		s := corev1.ContainerStatus{
			Name: c.spec.Name, Image: c.spec.Image, ImageID: "lab://" + imageName(c.spec.Image),
			State: c.state, LastTerminationState: c.last, Ready: c.ready, RestartCount: c.restarts, Started: new(c.started),
		}
		if s.State.Waiting != nil && waiting != "" {
			s.State = waitingState("ContainerCreating", waiting)
		}
		if c.process != nil {
			s.ContainerID = containerID(c.process)
		}
		list = append(list, s)
	}
	return list
}

func conditionTrue(all []corev1.PodCondition, kind corev1.PodConditionType) bool {
	for _, c := range all {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// condition keeps the time of the last transition when the value is the same.
func condition(old []corev1.PodCondition, kind corev1.PodConditionType, value bool, reason string, now time.Time) corev1.PodCondition {
	c := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, LastTransitionTime: metav1.NewTime(now).Rfc3339Copy()}
	if value {
		c.Status, c.Reason = corev1.ConditionTrue, ""
	}
	for _, o := range old {
		if o.Type == kind && o.Status == c.Status {
			c.LastTransitionTime = o.LastTransitionTime
		}
	}
	return c
}

// sameStatus compares what the agent writes and ignores the rest.
func sameStatus(have, want corev1.PodStatus) bool {
	for _, c := range want.Conditions {
		found := false
		for _, h := range have.Conditions {
			found = found || h.Type == c.Type && h.Status == c.Status && h.Reason == c.Reason
		}
		if !found {
			return false
		}
	}
	return have.Phase == want.Phase && equality.Semantic.DeepEqual(have.PodIPs, want.PodIPs) &&
		sameContainers(have.ContainerStatuses, want.ContainerStatuses) &&
		sameContainers(have.InitContainerStatuses, want.InitContainerStatuses)
}

// sameContainers does not look at times: they come back rounded to seconds.
func sameContainers(have, want []corev1.ContainerStatus) bool {
	if len(have) != len(want) {
		return false
	}
	kind := func(s corev1.ContainerState) string {
		switch {
		case s.Running != nil:
			return "running"
		case s.Terminated != nil:
			return fmt.Sprint("terminated ", s.Terminated.ExitCode)
		case s.Waiting != nil:
			return "waiting " + s.Waiting.Reason + s.Waiting.Message
		}
		return "unknown"
	}
	for i, w := range want {
		h := have[i]
		if h.Name != w.Name || h.Ready != w.Ready || h.RestartCount != w.RestartCount || h.ContainerID != w.ContainerID ||
			h.Started == nil || *h.Started != *w.Started || kind(h.State) != kind(w.State) {
			return false
		}
	}
	return true
}
