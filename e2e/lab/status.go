package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	got, err := w.agent.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, meta.PatchOptions{}, "status")
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
func (w *podWorker) status(now time.Time) v1.PodStatus {
	s := v1.PodStatus{
		Phase:                 w.phase(),
		HostIP:                w.agent.node.IPv4.String(),
		HostIPs:               []v1.HostIP{{IP: w.agent.node.IPv4.String()}, {IP: w.agent.node.IPv6.String()}},
		StartTime:             w.pod.Status.StartTime,
		InitContainerStatuses: containerStatuses(w.inits, w.waiting),
		ContainerStatuses:     containerStatuses(w.containers, w.waiting),
	}
	if s.StartTime == nil {
		s.StartTime = new(meta.NewTime(now).Rfc3339Copy())
	}
	if w.sandbox != nil {
		for _, ip := range w.sandbox.ips {
			s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip.String()})
		}
		s.PodIP = s.PodIPs[0].IP
	}
	initialized, ready := true, s.Phase == v1.PodRunning
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
		kind   v1.PodConditionType
		value  bool
		reason string
	}{
		{v1.PodReadyToStartContainers, w.sandbox != nil, ""},
		{v1.PodInitialized, initialized, "ContainersNotInitialized"},
		{v1.ContainersReady, ready, "ContainersNotReady"},
		{v1.PodReady, ready && gates, "ContainersNotReady"},
	} {
		s.Conditions = append(s.Conditions, condition(w.pod.Status.Conditions, c.kind, c.value, c.reason, now))
	}
	return s
}

func (w *podWorker) phase() v1.PodPhase {
	if old := w.pod.Status.Phase; old == v1.PodSucceeded || old == v1.PodFailed {
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
		return v1.PodFailed
	case ended == len(w.containers):
		return v1.PodSucceeded
	case running+ended == len(w.containers):
		return v1.PodRunning
	}
	return v1.PodPending
}

func containerStatuses(all []*container, waiting string) []v1.ContainerStatus {
	var list []v1.ContainerStatus
	for _, c := range all {
		s := v1.ContainerStatus{
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

func conditionTrue(all []v1.PodCondition, kind v1.PodConditionType) bool {
	for _, c := range all {
		if c.Type == kind {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// condition keeps the time of the last transition when the value is the same.
func condition(old []v1.PodCondition, kind v1.PodConditionType, value bool, reason string, now time.Time) v1.PodCondition {
	c := v1.PodCondition{Type: kind, Status: v1.ConditionFalse, Reason: reason, LastTransitionTime: meta.NewTime(now).Rfc3339Copy()}
	if value {
		c.Status, c.Reason = v1.ConditionTrue, ""
	}
	for _, o := range old {
		if o.Type == kind && o.Status == c.Status {
			c.LastTransitionTime = o.LastTransitionTime
		}
	}
	return c
}

// sameStatus compares what the agent writes and ignores the rest.
func sameStatus(have, want v1.PodStatus) bool {
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
func sameContainers(have, want []v1.ContainerStatus) bool {
	if len(have) != len(want) {
		return false
	}
	kind := func(s v1.ContainerState) string {
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
