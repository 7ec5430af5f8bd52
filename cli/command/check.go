package command

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/cli/checks"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/text"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/deploy"
)

// mostProbed is how many addresses the network is asked for: each takes a second or two.
const mostProbed = 32

func (o *options) check() *cobra.Command {
	before, probe := false, false
	cmd := &cobra.Command{
		Use: "check", Short: "Whether the cluster is fit for Baliza, and Baliza is well in it, check by check", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if before && probe {
				return fmt.Errorf("--probe asks speakers, and --pre is for a cluster that has none yet")
			}
			report, err := o.gatherChecks(cmd.Context(), before, probe)
			if err != nil {
				return err
			}
			return outcome(report.Overall, o.show(&report, func(p *text.Printer) { p.Checks(&report) }))
		},
	}
	cmd.Flags().BoolVar(&before, "pre", false, "whether the cluster is fit for an installation")
	cmd.Flags().BoolVar(&probe, "probe", false, fmt.Sprintf("have speakers ask the network who answers, for %d addresses at most", mostProbed))
	return cmd
}

// gatherChecks reads everything and has it checked.
func (o *options) gatherChecks(ctx context.Context, before, probe bool) (checks.Report, error) {
	clients, objects, err := o.gather(ctx, "")
	if err != nil {
		return checks.Report{}, err
	}
	cluster := explain.New(objects, o.env.Now())
	namespace := cluster.Namespace()
	if named := *o.flags.Namespace; named != "" && !cluster.Status().Controller.Installed {
		namespace = named
	}
	e, err := kube.ReadEnvironment(ctx, clients, namespace)
	if err != nil {
		return checks.Report{}, err
	}
	in := checks.Input{
		Objects: objects, Cluster: cluster, Namespace: namespace, Client: daemon.Version(), Now: o.env.Now(), Probe: probe,
		Version: e.Version, KubeProxy: e.KubeProxy, DaemonSets: e.DaemonSets, SystemPods: e.SystemPods, NodeLeases: e.NodeLeases,
		CRDs: e.CRDs, CiliumPools: e.CiliumPools, MayNot: e.MayNot,
		Granted: checks.RBAC{
			ClusterRoles: e.ClusterRoles, ClusterRoleBindings: e.ClusterRoleBindings, Roles: e.Roles, RoleBindings: e.RoleBindings,
		},
	}
	for _, one := range e.Unread {
		in.Unread = append(in.Unread, explain.Unread{Kind: one.Kind, Why: one.Why})
	}
	if in.WantedCRDs, err = wantedCRDs(); err != nil {
		return checks.Report{}, err
	}
	if in.Wanted, err = wantedRBAC(); err != nil {
		return checks.Report{}, err
	}
	if before {
		return checks.Before(&in), nil
	}
	if probe {
		var asked []netip.Addr
		for _, a := range cluster.Addresses() {
			if address, err := netip.ParseAddr(a.Address); err == nil && len(a.L2) > 0 && len(asked) < mostProbed {
				asked = append(asked, address)
				in.Probed = append(in.Probed, a.Address)
			}
		}
		o.askWire(ctx, clients, cluster, asked)
	}
	return checks.After(&in), nil
}

// wantedCRDs are the definitions of this version.
func wantedCRDs() ([]*unstructured.Unstructured, error) {
	documents, err := deploy.CRDs()
	if err != nil {
		return nil, err
	}
	all := make([]*unstructured.Unstructured, 0, len(documents))
	for _, document := range documents {
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &crd.Object); err != nil {
			return nil, fmt.Errorf("embedded CRDs: %w", err)
		}
		all = append(all, crd)
	}
	return all, nil
}

// wantedRBAC is what install.yaml of this version has the programs do.
func wantedRBAC() (checks.RBAC, error) {
	var want checks.RBAC
	for document := range strings.SplitSeq(deploy.Install(), "\n---\n") {
		var is struct {
			Kind string `json:"kind"`
		}
		err := yaml.Unmarshal([]byte(document), &is)
		switch is.Kind {
		case "ClusterRole":
			want.ClusterRoles, err = appended(want.ClusterRoles, document, &rbacv1.ClusterRole{})
		case "ClusterRoleBinding":
			want.ClusterRoleBindings, err = appended(want.ClusterRoleBindings, document, &rbacv1.ClusterRoleBinding{})
		case "Role":
			want.Roles, err = appended(want.Roles, document, &rbacv1.Role{})
		case "RoleBinding":
			want.RoleBindings, err = appended(want.RoleBindings, document, &rbacv1.RoleBinding{})
		}
		if err != nil {
			return want, fmt.Errorf("embedded install.yaml: %w", err)
		}
	}
	return want, nil
}

func appended[T any](all []T, document string, into T) ([]T, error) {
	err := yaml.Unmarshal([]byte(document), into)
	return append(all, into), err
}
