package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/config/daemon"
)

// Exit statuses, for scripts.
const (
	// StatusWell says that all is well.
	StatusWell = 0
	// StatusWrong says that something is wrong; the output says what.
	StatusWrong = 1
	// StatusUnknown says that it could not be found out: the command line is wrong,
	// or the API server does not answer.
	StatusUnknown = 2
)

// errWrong says that the output has something that is wrong.
var errWrong = errors.New("something is wrong")

// errUnknown says that the output says why it could not be found out.
var errUnknown = errors.New("not known")

// Env is what the program gets from where it runs.
type Env struct {
	Args     []string
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Now      func() time.Time
	// Connect makes the clients; nil is by the flags and the kubeconfig.
	Connect func(*genericclioptions.ConfigFlags) (kube.Clients, error)
}

// Main runs the program and returns its exit status.
func Main(ctx context.Context, env Env) int {
	root := newRoot(&env)
	root.SetArgs(env.Args)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return StatusWell
	case errors.Is(err, errWrong):
		return StatusWrong
	case errors.Is(err, errUnknown):
		return StatusUnknown
	default:
		fmt.Fprintf(env.Err, "error: %v\n", err)
		return StatusUnknown
	}
}

// options are the flags of all commands.
type options struct {
	env           *Env
	flags         *genericclioptions.ConfigFlags
	allNamespaces bool
	output        string
}

func newRoot(env *Env) *cobra.Command {
	o := &options{env: env, flags: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use:   "kubectl-baliza",
		Short: "Says whether load balancing works, why it does not, and who answers",
		Long: "kubectl baliza says whether load balancing works, why it does not, and who answers for an address.\n" +
			"It reads objects of the API, and asks speakers where that is wanted; " +
			"failover, rebalance, drain and undrain write, and nothing else does.\n" +
			"Exit status: 0 all is well, 1 something is wrong, 2 it could not be found out.",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl baliza"},
		SilenceErrors: true, SilenceUsage: true,
		Version: daemon.Version(),
	}
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	o.flags.AddFlags(root.PersistentFlags())
	root.PersistentFlags().BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "all namespaces, as it is where none is named")
	root.PersistentFlags().StringVarP(&o.output, "output", "o", "", "json, yaml or wide")
	root.PersistentPreRunE = o.checkOutput
	root.AddCommand(o.commands()...)
	return root
}

// connect makes the clients.
func (o *options) connect() (kube.Clients, error) {
	if o.env.Connect != nil {
		return o.env.Connect(o.flags)
	}
	config, err := o.flags.ToRESTConfig()
	if err != nil {
		return kube.Clients{}, fmt.Errorf("kubeconfig: %w", err)
	}
	const queriesPerSecond, burst = 50, 100
	config.UserAgent, config.QPS, config.Burst = "kubectl-baliza/"+daemon.Version(), queriesPerSecond, burst
	clients, err := kube.ForConfig(config)
	if err == nil {
		clients.DialPod = kube.NewPodDialer(config, clients.Kubernetes)
	}
	return clients, err
}

// colour reports whether what is printed is for a terminal that shows it.
func (o *options) colour() bool {
	file, ok := o.env.Out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && o.env.Getenv("NO_COLOR") == "" && o.env.Getenv("TERM") != "dumb"
}
