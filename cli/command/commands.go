package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/text"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/config/daemon"
)

// commands are those of the root.
func (o *options) commands() []*cobra.Command {
	return []*cobra.Command{
		o.status(), o.explain(),
		o.list("pools", "ipaddresspools", "Pools, how full they are, and what advertises them", func(c *explain.Cluster) (any, func(*text.Printer)) {
			pools := c.Pools()
			return pools, func(p *text.Printer) { p.Pools(pools) }
		}),
		o.list("speakers", "speakers", "Speakers, as they see each other", func(c *explain.Cluster) (any, func(*text.Printer)) {
			speakers := c.Speakers()
			return speakers, func(p *text.Printer) { p.Speakers(speakers) }
		}),
		o.list("addresses", "services", "Addresses, who has them, and who announces them", func(c *explain.Cluster) (any, func(*text.Printer)) {
			addresses := c.Addresses()
			return addresses, func(p *text.Printer) { p.Addresses(addresses) }
		}),
		o.list("peers", "speakers", "BGP sessions of all nodes", func(c *explain.Cluster) (any, func(*text.Printer)) {
			peers := c.Peers()
			return peers, func(p *text.Printer) { p.Peers(peers) }
		}),
		o.history(), o.failover(), o.rebalance(), o.drain(), o.undrain(),
		o.page(), o.check(), o.simulate(), o.validate(), o.migrate(), o.dump(), o.version(),
	}
}

// show prints a value in the format that is asked for.
func (o *options) show(value any, write func(*text.Printer)) error {
	switch o.output {
	case "json":
		encoder := json.NewEncoder(o.env.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	case "yaml":
		out, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = o.env.Out.Write(out)
		return err
	}
	write(o.printer())
	return nil
}

func (o *options) printer() *text.Printer {
	return &text.Printer{Out: o.env.Out, Colour: o.colour(), Wide: o.output == "wide", Now: o.env.Now()}
}

// outcome makes the exit status of a verdict.
func outcome(v explain.Verdict, err error) error {
	switch {
	case err != nil:
		return err
	case v.Unknown:
		return errUnknown
	case !v.Well:
		return errWrong
	}
	return nil
}

func (o *options) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "The whole on one screen, and what to type next", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, objects, err := o.gather(cmd.Context(), o.restriction())
			if err != nil {
				return err
			}
			status := explain.New(objects, o.env.Now()).Status()
			return outcome(status.Overall, o.show(&status, func(p *text.Printer) { p.Status(&status) }))
		},
	}
}

// list makes a command that prints a list, for which a kind must be readable; there is
// nothing wrong about one.
func (o *options) list(name, needs, short string, of func(*explain.Cluster) (any, func(*text.Printer))) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, objects, err := o.gather(cmd.Context(), o.restriction())
			if err != nil {
				return err
			}
			cluster := explain.New(objects, o.env.Now())
			if why := cluster.CannotRead(needs); why != "" {
				return errors.New(why)
			}
			return o.show(of(cluster))
		},
	}
}

func (o *options) explain() *cobra.Command {
	parent := &cobra.Command{
		Use: "explain", Short: "Why a Service, an address or a node is as it is, and what to do about it",
		Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			return errors.New("name what to explain: service, address or node")
		},
	}
	probe := false
	service := &cobra.Command{
		Use: "service NAME", Aliases: []string{"svc"}, Short: "What a Service asks for, what it was given, and who announces it",
		Args: cobra.ExactArgs(1), ValidArgsFunction: o.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error { return o.explainService(cmd.Context(), args[0], probe) },
	}
	address := &cobra.Command{
		Use: "address IP", Aliases: []string{"ip"}, Short: "Who has an address, and which node answers for it",
		Args: cobra.ExactArgs(1), ValidArgsFunction: o.completeAddresses,
		RunE: func(cmd *cobra.Command, args []string) error { return o.explainAddress(cmd.Context(), args[0], probe) },
	}
	node := &cobra.Command{
		Use: "node NAME", Short: "What a node announces, and what not",
		Args: cobra.ExactArgs(1), ValidArgsFunction: o.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error { return o.explainNode(cmd.Context(), args[0]) },
	}
	for _, cmd := range []*cobra.Command{service, address} {
		cmd.Flags().BoolVar(&probe, "probe", false, "have the speaker of another node ask the network who answers")
	}
	parent.AddCommand(service, address, node)
	return parent
}

func (o *options) explainService(ctx context.Context, name string, probe bool) error {
	namespace, name, qualified := strings.Cut(name, "/")
	if !qualified {
		var err error
		if name = namespace; namespace == "" {
			return errors.New("the name of the Service is empty")
		}
		if namespace, err = o.namespace(); err != nil {
			return err
		}
	}
	clients, objects, err := o.gather(ctx, "")
	if err != nil {
		return err
	}
	key := namespace + "/" + name
	cluster := explain.New(objects, o.env.Now())
	switch why := cluster.CannotRead("services"); {
	case why != "":
		return errors.New(why)
	case !cluster.HasService(key):
		return fmt.Errorf("there is no Service %s of type LoadBalancer", key)
	}
	if err := addEndpoints(ctx, clients, cluster, cluster.Sharers(key)); err != nil {
		return err
	}
	if probe {
		o.askWire(ctx, clients, cluster, cluster.AddressesOf(key))
	}
	service, _ := cluster.Service(key)
	return outcome(service.Verdict, o.show(&service, func(p *text.Printer) { p.Service(&service) }))
}

func (o *options) explainAddress(ctx context.Context, arg string, probe bool) error {
	a, err := config.ParseAddress(arg)
	if err != nil {
		return err
	}
	clients, objects, err := o.gather(ctx, "")
	if err != nil {
		return err
	}
	cluster := explain.New(objects, o.env.Now())
	if why := cluster.CannotRead("services", "speakers"); why != "" {
		return errors.New(why) // who has it, and who answers for it
	}
	if err := addEndpoints(ctx, clients, cluster, cluster.Holders(a)); err != nil {
		return err
	}
	if probe {
		o.askWire(ctx, clients, cluster, []netip.Addr{a})
	}
	address := cluster.Address(a)
	return outcome(address.Verdict, o.show(&address, func(p *text.Printer) { p.Address(&address) }))
}

func (o *options) explainNode(ctx context.Context, name string) error {
	_, objects, err := o.gather(ctx, "")
	if err != nil {
		return err
	}
	cluster := explain.New(objects, o.env.Now())
	if why := cluster.CannotRead("speakers"); why != "" {
		return errors.New(why)
	}
	node, found := cluster.Node(name)
	if !found {
		return fmt.Errorf("there is neither a node %s nor a Speaker of its name", name)
	}
	return outcome(node.Verdict, o.show(&node, func(p *text.Printer) { p.Node(&node) }))
}

func (o *options) version() *cobra.Command {
	clientOnly := false
	cmd := &cobra.Command{
		Use: "version", Short: "Versions of this program and of what runs in the cluster", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			versions := explain.Versions{Client: daemon.Version()}
			if !clientOnly {
				_, objects, err := o.gather(cmd.Context(), "")
				if err != nil {
					return err
				}
				versions = explain.New(objects, o.env.Now()).Versions(daemon.Version())
			}
			err := o.show(&versions, func(p *text.Printer) { p.Versions(&versions) })
			return outcome(explain.Verdict{Well: versions.Skew == ""}, err)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "do not ask the cluster")
	return cmd
}

// checkOutput refuses an output format that there is not.
func (o *options) checkOutput(*cobra.Command, []string) error {
	switch o.output {
	case "", "wide", "json", "yaml":
		return nil
	}
	return fmt.Errorf("--output %q: must be json, yaml or wide", o.output)
}
