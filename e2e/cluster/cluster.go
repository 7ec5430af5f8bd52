package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/baliza-lb/baliza/api/client/clientset/versioned"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// Namespace that Baliza is installed in.
const Namespace = "baliza-system"

// Cluster is a running lab with Baliza in it.
type Cluster struct {
	*lab.Lab
	// Baliza talks to the API server as administrator.
	Baliza versioned.Interface
}

// Start builds a lab and installs Baliza on it. Close it at the end.
func Start(ctx context.Context, config lab.Config) (*Cluster, error) {
	config.Images = append(config.Images, "controller.tar", "speaker.tar")
	l, err := lab.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Lab: l}
	if c.Baliza, err = versioned.NewForConfig(l.Admin); err == nil {
		err = c.Install(ctx)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return c, nil
}

// Install applies the manifests that users apply, and returns when every
// controller and speaker is ready.
func (c *Cluster) Install(ctx context.Context) error {
	file, err := manifest()
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	if err := c.Apply(ctx, string(raw)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return c.Rollout(ctx)
}

// Rollout waits until the controller and the speakers run as their specs say.
func (c *Cluster) Rollout(ctx context.Context) error {
	for _, workload := range []string{"deployment/baliza-controller", "daemonset/baliza-speaker"} {
		if _, err := c.Kubectl(ctx, "-n", Namespace, "rollout", "status", workload, "--timeout", rolloutCeiling.String()); err != nil {
			return fmt.Errorf("roll-out of %s: %w", workload, err)
		}
	}
	return nil
}

// rolloutCeiling catches a hang; a roll-out takes seconds.
const rolloutCeiling = 2 * time.Minute

// manifest finds deploy/install.yaml above the current folder.
func manifest() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		file := filepath.Join(dir, "deploy", "install.yaml")
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("deploy/install.yaml is in no folder above the current one")
		}
		dir = parent
	}
}
