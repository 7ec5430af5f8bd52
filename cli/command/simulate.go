package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/text"
)

func (o *options) simulate() *cobra.Command {
	var files []string
	change, exitCode := explain.Change{}, false
	cmd := &cobra.Command{
		Use: "simulate", Short: "What a change of objects, or the loss of nodes, would do; nothing is changed", Args: cobra.NoArgs,
		Example: "  kubectl baliza simulate -f manifests/ --exit-code\n  kubectl baliza simulate --drain n1 --without n2",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(files)+len(change.Drained)+len(change.Without) == 0 {
				return errors.New("name a change: -f FILE, --drain NODE or --without NODE")
			}
			return o.runSimulation(cmd.Context(), files, &change, exitCode)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVarP(&files, "filename", "f", nil, "file or folder with objects that are applied, - for standard input; any number")
	flags.BoolVar(&change.Prune, "prune", false, "the files have all of Baliza's objects: the others are deleted")
	flags.StringSliceVar(&change.Drained, "drain", nil, "a node that is taken out of load balancing; any number")
	flags.StringSliceVar(&change.Without, "without", nil, "a node that dies; any number")
	flags.BoolVar(&exitCode, "exit-code", false, "exit with status 1 if anything would change")
	return cmd
}

func (o *options) runSimulation(ctx context.Context, files []string, change *explain.Change, exitCode bool) error {
	set, err := o.readManifests(files)
	if err != nil {
		return err
	}
	if unread := set.Unread(); len(unread) > 0 {
		return fmt.Errorf("%s: %s %s: %s", unread[0].File, unread[0].Kind, unread[0].Name, unread[0].Message)
	}
	change.Objects, change.Services = set.Config(), set.Services()
	cluster, err := o.gatherAll(ctx, "services", "namespaces", "nodes", "speakers", "ipaddresspools", "l2advertisements",
		"bgpadvertisements", "bgppeers", "bfdprofiles", "communities")
	if err != nil {
		return err
	}
	simulation, err := cluster.Simulate(change)
	if err != nil {
		return err
	}
	err = o.show(&simulation, func(p *text.Printer) { p.Simulation(&simulation) })
	return outcome(explain.Verdict{Well: !exitCode || simulation.Changes() == 0}, err)
}
