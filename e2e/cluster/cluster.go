package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// Start builds a lab and installs Baliza on it, with the chart's defaults. Close
// it at the end.
func Start(ctx context.Context, config lab.Config) (*Cluster, error) {
	c, err := StartEmpty(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := c.Install(ctx, ""); err != nil {
		err = errors.Join(err, c.DumpLogs(os.Getenv("LAB_ARTIFACTS")))
		c.Close()
		return nil, err
	}
	return c, nil
}

// StartEmpty builds a lab whose nodes have Baliza's images, and nothing more.
func StartEmpty(ctx context.Context, config lab.Config) (*Cluster, error) {
	config.Images = append(config.Images, "controller.tar", "speaker.tar")
	l, err := lab.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	client, err := versioned.NewForConfig(l.Admin)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &Cluster{Lab: l, Baliza: client}, nil
}

// Install does what the README says, "helm install --wait" with the chart of
// this repository, and returns when every controller and speaker is ready. The
// values are YAML, and may be empty.
func (c *Cluster) Install(ctx context.Context, values string) error {
	chart, err := Chart()
	if err != nil {
		return err
	}
	dir, err := c.Dir("helm")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		return err
	}
	// Names take no longer to be resolved than the rest takes to be ready, and
	// without them the rest would be waited for until the ceiling.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	dns := make(chan error, 1)
	go func() {
		err := c.WaitDNS(ctx)
		if err != nil {
			stop()
		}
		dns <- err
	}()
	_, err = c.Helm(ctx, "helm", "install", "baliza", chart, "--namespace", Namespace, "--create-namespace",
		"--wait", "--timeout", rolloutCeiling.String(), "--values", file)
	if err != nil {
		stop()
	}
	return errors.Join(err, <-dns)
}

// Set changes values of the release by "helm upgrade --wait", each as "speaker.x=y".
func (c *Cluster) Set(ctx context.Context, values ...string) error {
	chart, err := Chart()
	if err != nil {
		return err
	}
	_, err = c.Helm(ctx, "helm", "upgrade", "baliza", chart, "--namespace", Namespace, "--reuse-values",
		"--set", strings.Join(values, ","), "--wait", "--timeout", rolloutCeiling.String())
	if err != nil {
		return err
	}
	return c.Rollout(ctx)
}

// Helm runs one of the Helm programs that make built, "helm" (4) or "helm3", as
// administrator, and returns all that it said.
func (c *Cluster) Helm(ctx context.Context, program string, args ...string) (string, error) {
	bin, err := filepath.Abs(filepath.Join(lab.BinDir(), program))
	if err != nil {
		return "", err
	}
	out, err := c.Exec(ctx, "cp", append([]string{"sh", "-c", `exec "$@" 2>&1`, "sh", bin}, args...)...)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return out, err
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

// Chart finds the folder of the chart above the current one.
func Chart() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		chart := filepath.Join(dir, "deploy", "helm", "baliza")
		if _, err := os.Stat(chart); err == nil {
			return chart, nil
		}
	}
	return "", errors.New("deploy/helm/baliza is in no folder above the current one")
}
