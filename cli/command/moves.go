package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/config"
)

const (
	// lookEvery is how often it is looked whether something is done: speakers report
	// about once a second.
	lookEvery   = 500 * time.Millisecond
	moveTimeout = time.Minute
	// wave is how many addresses move at once, unless a flag says otherwise.
	wave = 50
	// undoTimeout is how long an annotation is tried to be taken off after an
	// interruption.
	undoTimeout  = 5 * time.Second
	fieldManager = "kubectl-baliza"
)

// moving are the flags of the commands that move addresses.
type moving struct {
	*options
	clients kube.Clients
	timeout time.Duration
}

func (m *moving) command(use, short string, args cobra.PositionalArgs, run func(context.Context, []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), args) },
	}
	cmd.Flags().DurationVar(&m.timeout, "timeout", moveTimeout, "how long to wait until it is done")
	return cmd
}

func (o *options) failover() *cobra.Command {
	m, to := &moving{options: o}, ""
	cmd := m.command("failover ADDRESS",
		"Moves an address, and the others of its Service, to another node, as planned, and waits until they are there", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			a, err := config.ParseAddress(args[0])
			if err != nil {
				return err
			}
			cluster, err := m.look(ctx, "services", "speakers")
			if err != nil {
				return err
			}
			var services []string
			for _, key := range cluster.Holders(a) {
				services = append(services, cluster.Sharers(key)...)
			}
			if err := addEndpoints(ctx, m.clients, cluster, services); err != nil {
				return err
			}
			moves, err := cluster.MoveTo(a, to)
			if err != nil {
				return err
			}
			return m.perform(ctx, moves)
		})
	cmd.ValidArgsFunction = o.completeAddresses
	cmd.Flags().StringVar(&to, "to", "", "the node; without it the one with the fewest addresses of those that can have it")
	return cmd
}

func (o *options) rebalance() *cobra.Command {
	m, dryRun, atOnce := &moving{options: o}, false, 0
	cmd := m.command("rebalance", "Moves addresses, as planned, until the nodes have as many as each other", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if atOnce < 1 {
				return fmt.Errorf("--wave %d: must be at least 1", atOnce)
			}
			cluster, err := m.look(ctx, "services", "speakers", "nodes")
			if err != nil {
				return err
			}
			if err := addAllEndpoints(ctx, m.clients, cluster); err != nil {
				return err
			}
			moves := cluster.Rebalance()
			if dryRun {
				for _, move := range moves {
					fmt.Fprintf(o.env.Out, "%s  %s -> %s\n", move.Address, move.From, move.To)
				}
			}
			fmt.Fprintf(o.env.Out, "%d addresses to move\n", len(moves))
			for some := range slices.Chunk(moves, atOnce) {
				if dryRun {
					break
				}
				if err := m.perform(ctx, some); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would move")
	cmd.Flags().IntVar(&atOnce, "wave", wave, "how many addresses move at once")
	return cmd
}

func (o *options) drain() *cobra.Command {
	m := &moving{options: o}
	cmd := m.command("drain NODE", "Takes a node out of load balancing, and waits until others have its addresses; pods stay", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			cluster, err := m.look(ctx, "nodes", "speakers")
			switch {
			case err != nil:
				return err
			case cluster.IgnoresExclude():
				return errors.New("this installation does not look at the label " + v1beta1.LabelExcludeNode + " (ignoreExcludeLabel)")
			}
			if err := m.label(ctx, cluster, args[0], "true"); err != nil {
				return err
			}
			return m.untilIdle(ctx, args[0])
		})
	cmd.ValidArgsFunction = o.completeNodes
	return cmd
}

func (o *options) undrain() *cobra.Command {
	m := &moving{options: o}
	cmd := m.command("undrain NODE",
		"Puts a node back into load balancing: it gets addresses as others lose some, or by rebalance", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			cluster, err := m.look(ctx, "nodes")
			if err != nil {
				return err
			}
			return m.label(ctx, cluster, args[0], nil)
		})
	cmd.ValidArgsFunction = o.completeNodes
	return cmd
}

// look reads the cluster; the kinds must be readable.
func (m *moving) look(ctx context.Context, needs ...string) (*explain.Cluster, error) {
	clients, objects, err := m.gather(ctx, "")
	if err != nil {
		return nil, err
	}
	m.clients = clients
	cluster := explain.New(objects, m.env.Now())
	if why := cluster.CannotRead(needs...); why != "" {
		return nil, errors.New(why)
	}
	return cluster, nil
}

// perform asks for moves, waits until they are done and takes the wishes back: the
// addresses stay where they are then. One that was interrupted leaves no wish.
func (m *moving) perform(ctx context.Context, moves []explain.Move) (err error) {
	began := m.env.Now()
	var named []string // Services
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		for _, service := range named {
			err = errors.Join(err, m.prefer(undo, service, nil))
		}
	}()
	for _, move := range moves {
		fmt.Fprintf(m.env.Out, "%s  %s -> %s\n", move.Address, move.From, move.To)
		if slices.Contains(named, move.Service) {
			continue
		}
		named = append(named, move.Service) // also where it is not known whether the write was taken
		if err := m.prefer(ctx, move.Service, move.To); err != nil {
			return err
		}
	}
	left := moves
	done := func(cluster *explain.Cluster) bool {
		left = slices.DeleteFunc(slices.Clone(left), func(move explain.Move) bool { return cluster.Arrived(&move) })
		return len(left) == 0
	}
	if err := m.wait(ctx, done); err != nil {
		for _, move := range left {
			fmt.Fprintf(m.env.Out, "%s has not arrived on %s: see kubectl baliza explain address %s\n", move.Address, move.To, move.Address)
		}
		return err
	}
	fmt.Fprintf(m.env.Out, "%d moved in %s\n", len(moves), m.env.Now().Sub(began).Round(lookEvery))
	return nil
}

// untilIdle waits until a node announces nothing.
func (m *moving) untilIdle(ctx context.Context, node string) error {
	said := ""
	err := m.wait(ctx, func(cluster *explain.Cluster) bool {
		s, _ := cluster.SpeakerOf(node)
		now := fmt.Sprintf("%s answers for %d addresses and announces %d by BGP\n", node, s.Held, s.Routes)
		if now != said {
			fmt.Fprint(m.env.Out, now)
			said = now
		}
		return !s.Alive || s.Held == 0 && s.Routes == 0
	})
	if err != nil {
		fmt.Fprintf(m.env.Out, "%s stays out of load balancing; what it still announces no other node can: see kubectl baliza explain node %s\n",
			node, node)
	}
	return err
}

// wait reads the Speakers again and again, and nothing else, until something is so.
func (m *moving) wait(ctx context.Context, done func(*explain.Cluster) bool) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		speakers, err := kube.ReadSpeakers(ctx, m.clients)
		switch {
		case ctx.Err() != nil:
			return errWrong
		case err != nil:
			return fmt.Errorf("reading speakers: %w", err)
		case done(explain.New(explain.Objects{Speakers: speakers}, m.env.Now())):
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// prefer sets the annotation of a Service that names a node, or takes it off.
func (m *moving) prefer(ctx context.Context, service string, node any) error {
	namespace, name, _ := strings.Cut(service, "/")
	body, err := patch("annotations", v1beta1.AnnotationPreferredNode, node)
	if err == nil {
		by := metav1.PatchOptions{FieldManager: fieldManager}
		_, err = m.clients.Kubernetes.CoreV1().Services(namespace).Patch(ctx, name, types.MergePatchType, body, by)
	}
	if err != nil {
		return fmt.Errorf("annotation %s of Service %s: %w", v1beta1.AnnotationPreferredNode, service, err)
	}
	return nil
}

// label sets the label of a node that takes it out of load balancing, or takes it off.
func (m *moving) label(ctx context.Context, cluster *explain.Cluster, node string, value any) error {
	if _, known := cluster.SpeakerOf(node); !known {
		return fmt.Errorf("there is no node %s", node)
	}
	body, err := patch("labels", v1beta1.LabelExcludeNode, value)
	if err == nil {
		_, err = m.clients.Kubernetes.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	}
	if err != nil {
		return fmt.Errorf("label %s of node %s: %w", v1beta1.LabelExcludeNode, node, err)
	}
	return nil
}

// patch is a JSON merge patch (RFC 7396) of one key of the metadata; nil takes it off.
func patch(of, key string, value any) ([]byte, error) {
	return json.Marshal(map[string]any{"metadata": map[string]any{of: map[string]any{key: value}}})
}
