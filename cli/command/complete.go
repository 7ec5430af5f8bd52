package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/baliza-lb/baliza/cli/explain"
)

// complete makes the names of which one may be meant. What cannot be read cannot be
// completed.
func (o *options) complete(cmd *cobra.Command, args []string, names func(*explain.Cluster) []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_, objects, err := o.gather(cmd.Context(), "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names(explain.New(objects, o.env.Now())), cobra.ShellCompDirectiveNoFileComp
}

func (o *options) completeServices(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.complete(cmd, args, func(c *explain.Cluster) []string {
		present, err := o.namespace()
		if err != nil {
			return nil
		}
		var names []string
		for _, key := range c.ServiceKeys() {
			if namespace, name, _ := strings.Cut(key, "/"); namespace == present {
				names = append(names, name)
			}
		}
		return names
	})
}

func (o *options) completeAddresses(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.complete(cmd, args, func(c *explain.Cluster) []string {
		var names []string
		for _, held := range c.Addresses() {
			names = append(names, held.Address)
		}
		return names
	})
}

func (o *options) completeNodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.complete(cmd, args, func(c *explain.Cluster) []string {
		var names []string
		for _, s := range c.Speakers() {
			names = append(names, s.Node)
		}
		return names
	})
}
