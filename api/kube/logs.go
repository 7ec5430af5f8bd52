package kube

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
)

// Bounds of a log that is read.
const (
	logLines = 10_000
	logBytes = 16 << 20
)

// ReadLog reads the last 10,000 lines of a container's log, or of that of the process
// before it.
func ReadLog(ctx context.Context, clients Clients, pod *corev1.Pod, container string, previous bool) ([]byte, error) {
	lines, limit := int64(logLines), int64(logBytes)
	options := &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: &lines, LimitBytes: &limit}
	stream, err := clients.Kubernetes.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("log of pod %s: %w", pod.Name, err)
	}
	defer func() { _ = stream.Close() }()
	data, err := io.ReadAll(io.LimitReader(stream, logBytes))
	if err != nil {
		return nil, fmt.Errorf("log of pod %s: %w", pod.Name, err)
	}
	return data, nil
}
