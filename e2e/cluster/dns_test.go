package cluster

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A DNS that cannot run is not waited for, and one that has not begun is.
func TestWhatCannotRunIsNotWaitedFor(t *testing.T) {
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "no Corefile"}}
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	for name, c := range map[string]struct {
		status corev1.ContainerStatus
		want   string
	}{
		"about to start":    {corev1.ContainerStatus{State: waiting("ContainerCreating", "")}, ""},
		"running":           {corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}, ""},
		"ended":             {corev1.ContainerStatus{State: ended}, "code 1: Error no Corefile"},
		"in a crash loop":   {corev1.ContainerStatus{State: waiting("CrashLoopBackOff", "back-off"), LastTerminationState: ended}, "code 1"},
		"started once more": {corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, LastTerminationState: ended}, "code 1"},
		"cannot be started": {corev1.ContainerStatus{State: waiting("CreateContainerError", "exec format error")}, "CreateContainerError: exec format error"},
		"without its image": {corev1.ContainerStatus{State: waiting("ErrImagePull", "not found")}, "ErrImagePull: not found"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cannotRun(c.status); got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
