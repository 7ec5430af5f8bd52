package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// EnvPrefix starts the environment equivalent of every flag: --log-level is
// BALIZA_LOG_LEVEL. A flag on the command line wins over the environment.
const EnvPrefix = "BALIZA_"

// Options are the flags that both processes have.
type Options struct {
	Kubeconfig   string
	AdminAddress string
	LogLevel     string
	LogFormat    string
	version      bool
}

// AddFlags defines the common flags. adminAddress is the default of
// --admin-address, as host:port.
func (o *Options) AddFlags(flags *pflag.FlagSet, adminAddress string) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file; empty means the pod's service account")
	flags.StringVar(&o.AdminAddress, "admin-address", adminAddress, "host:port of /metrics, /healthz and /readyz")
	flags.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&o.LogFormat, "log-format", "json", "json or text")
	flags.BoolVar(&o.version, "version", false, "print the version and exit")
}

// ErrVersion says that --version was given; there is nothing more to do.
var ErrVersion = errors.New("version asked for")

// Parse reads the command line, then the environment for what it left unset.
// It fails on unknown flags, left-over arguments and values of the wrong
// form, and with pflag.ErrHelp or ErrVersion when those were asked for.
func (o *Options) Parse(flags *pflag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if extra := flags.Args(); len(extra) > 0 {
		return fmt.Errorf("unexpected argument %q", extra[0])
	}
	if o.version {
		return ErrVersion
	}
	var failed error
	flags.VisitAll(func(flag *pflag.Flag) {
		name := EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		value, set := os.LookupEnv(name)
		if flag.Changed || !set {
			return
		}
		if err := flags.Set(flag.Name, value); err != nil {
			failed = errors.Join(failed, fmt.Errorf("environment variable %s: %w", name, err))
		}
	})
	return failed
}

// Logger makes the logger that the flags describe, writing to standard error.
func (o *Options) Logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: must be debug, info, warn or error", o.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.LogFormat {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: must be json or text", o.LogFormat)
}
