package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/manifests"
	"github.com/baliza-lb/baliza/cli/text"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// migration is what is to be looked at.
type migration struct {
	from, class string
	files       []string
}

func (o *options) migrate() *cobra.Command {
	parent := &cobra.Command{
		Use: "migrate", Short: "What moving in from another provider would do, and the manifests for it", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("say what to do: check or write") },
	}
	parent.AddCommand(o.migrateCheck(), o.migrateWrite())
	return parent
}

// flags are those of each command below migrate.
func (m *migration) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.from, "from", "metallb", "the provider that serves the Services now: metallb")
	cmd.Flags().StringVar(&m.class, "class", "", "the loadBalancerClass that MetalLB was given (--lb-class), where no Service shows it")
	cmd.Flags().StringSliceVarP(&m.files, "filename", "f", nil,
		"file or folder with its objects and the Services, - for standard input; any number; without, the cluster is read")
}

func (o *options) migrateCheck() *cobra.Command {
	m := migration{}
	cmd := &cobra.Command{
		Use: "check", Short: "What becomes of each field and of each Service's addresses; nothing is changed", Args: cobra.NoArgs,
		Example: "  kubectl baliza migrate check --from metallb\n  kubectl kustomize clusters/prod | kubectl baliza migrate check -f -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cluster, theirs, err := o.migrating(cmd.Context(), &m)
			if err != nil {
				return err
			}
			found := cluster.Migrate(theirs)
			return outcome(found.Verdict(), o.show(&found, func(p *text.Printer) { p.Migration(&found) }))
		},
	}
	m.flags(cmd)
	return cmd
}

func (o *options) migrateWrite() *cobra.Command {
	m, folder := migration{}, ""
	cmd := &cobra.Command{
		Use: "write -o FOLDER", Short: "Baliza's manifests of the other provider's objects, one file for each kind", Args: cobra.NoArgs,
		Example: "  kubectl baliza migrate write --from metallb -o baliza/",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if folder == "" {
				return errors.New("name a folder: -o FOLDER")
			}
			cluster, theirs, err := o.migrating(cmd.Context(), &m)
			if err != nil {
				return err
			}
			if err := o.writeManifests(folder, theirs); err != nil {
				return err
			}
			found := cluster.Migrate(theirs)
			return outcome(found.Verdict(), o.show(&found, func(p *text.Printer) { p.Migration(&found) }))
		},
	}
	m.flags(cmd)
	cmd.Flags().StringVarP(&folder, "output", "o", "", "the folder that the files are written into; it is made if need be")
	return cmd
}

// migrating reads what there is, from files or from the cluster.
func (o *options) migrating(ctx context.Context, m *migration) (cluster *explain.Cluster, theirs *metallb.Objects, err error) {
	if m.from != "metallb" {
		return nil, nil, fmt.Errorf("--from %q: must be metallb", m.from)
	}
	if len(m.files) > 0 {
		cluster, theirs, err = o.migratingFiles(m.files)
	} else {
		cluster, theirs, err = o.migratingCluster(ctx)
	}
	if err == nil && m.class != "" {
		theirs.Class = m.class
	}
	return cluster, theirs, err
}

func (o *options) migratingCluster(ctx context.Context) (*explain.Cluster, *metallb.Objects, error) {
	clients, objects, err := o.gather(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	cluster := explain.New(objects, o.env.Now())
	if why := cluster.CannotRead("services", "namespaces", "nodes"); why != "" {
		return nil, nil, errors.New(why)
	}
	documents, unread, err := kube.ReadMetalLB(ctx, clients)
	switch {
	case err != nil:
		return nil, nil, err
	case len(unread) > 0:
		return nil, nil, errors.New(unread[0].Why)
	}
	theirs := &metallb.Objects{}
	for _, document := range documents {
		theirs.Add(document)
	}
	if theirs.Empty() {
		return nil, nil, errors.New("the cluster has no objects of MetalLB")
	}
	return cluster, theirs, addAllEndpoints(ctx, clients, cluster)
}

// migratingFiles takes what the files have for all that there is.
func (o *options) migratingFiles(files []string) (*explain.Cluster, *metallb.Objects, error) {
	set, err := o.readManifests(files)
	if err != nil {
		return nil, nil, err
	}
	if unread := set.Unread(); len(unread) > 0 {
		return nil, nil, fmt.Errorf("%s: %s %s: %s", unread[0].File, unread[0].Kind, unread[0].Name, unread[0].Message)
	}
	if set.MetalLB().Empty() {
		return nil, nil, errors.New("the files have no objects of MetalLB")
	}
	ours := set.Config()
	return explain.New(explain.Objects{
		Services: set.Services(), Nodes: set.Nodes(), Namespaces: set.Namespaces(),
		Pools: ours.Pools, L2Advertisements: ours.L2Advertisements, BGP: ours.BGP,
	}, o.env.Now()), set.MetalLB(), nil
}

// writeManifests writes what MetalLB's objects become, over what an earlier run wrote.
func (o *options) writeManifests(folder string, theirs *metallb.Objects) error {
	translation := metallb.Translate(theirs)
	files, err := manifests.Write(&translation)
	if err != nil {
		return err
	}
	const mode, folderMode = 0o600, 0o750 // a BGPPeer may have a password in it
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(folder, file.Name), file.Data, mode); err != nil {
			return err
		}
		fmt.Fprintf(o.env.Err, "wrote %s\n", filepath.Join(folder, file.Name))
	}
	return nil
}
