package kube

import (
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/baliza-lb/baliza/api/client/clientset/versioned"
)

// Clients are the clients that our programs need.
type Clients struct {
	Kubernetes kubernetes.Interface
	Baliza     versioned.Interface
	// Dynamic is for what has no types here: CustomResourceDefinitions.
	Dynamic dynamic.Interface
	// DialPod connects to ports of pods, where somebody has made it by NewPodDialer.
	DialPod PodDialer
}

// Limits of the requests to the API server: its own priority and fairness
// (APF) is what protects it, so ours only stop a runaway loop.
const (
	queriesPerSecond = 1000
	queriesBurst     = 2000
)

// Connect makes the clients from a kubeconfig file, or from the pod's service
// account when path is empty. It does not contact the API server.
func Connect(path, userAgent string) (Clients, error) {
	config, err := load(path)
	if err != nil {
		return Clients{}, err
	}
	config.UserAgent = userAgent
	config.QPS, config.Burst = queriesPerSecond, queriesBurst
	return ForConfig(config)
}

// ForConfig makes the clients from a configuration.
func ForConfig(config *rest.Config) (Clients, error) {
	custom, err := versioned.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("client for %s: %w", config.Host, err)
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("client for %s: %w", config.Host, err)
	}
	native := rest.CopyConfig(config)
	native.ContentType = "application/vnd.kubernetes.protobuf"
	native.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	core, err := kubernetes.NewForConfig(native)
	if err != nil {
		return Clients{}, fmt.Errorf("client for %s: %w", config.Host, err)
	}
	return Clients{Kubernetes: core, Baliza: custom, Dynamic: untyped}, nil
}

func load(path string) (*rest.Config, error) {
	if path == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("not in a pod and no --kubeconfig given: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return config, nil
}
