// Package distro runs an OpenTelemetry Collector distribution: an embedded configuration, overlaid by files, that can
// be reloaded without ever stopping what runs.
//
// It stands on otelcol's configuration and on service, and not on otelcol.Collector, which on SIGHUP stops everything
// before it looks at the new file, and exits when that is bad (docs/decisions/0060).
package distro

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/otelcol"
	"go.uber.org/zap"
)

// Settings is what makes one distribution.
type Settings struct {
	Name     string // of the binary: in logs, usage and the process' own telemetry
	Version  string
	Defaults []byte // YAML that every --config file overlays
	// Factories lists the components. It is called once; what their closures own outlives a reload.
	Factories func(*Process) (otelcol.Factories, error)
}

// Process is what outlives the pipelines: a reload replaces those, and only those.
type Process struct {
	Log *zap.Logger
	// Metrics are the own telemetry of the pipelines that run now.
	Metrics prometheus.Collector
	closers []func() error
}

// OnExit has close called after the last pipeline has stopped, the last one given first.
func (p *Process) OnExit(close func() error) { p.closers = append(p.closers, close) }

func (p *Process) exit() error {
	var errs error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = errors.Join(errs, p.closers[i]())
	}
	return errs
}

// Command is the whole command line of a role's binary:
//
//	NAME [check] [--config FILE]...
//
// It blocks until ctx ends, drains, and returns what stopped it. `check` validates and prints one line instead.
func Command(ctx context.Context, set Settings, args []string) error {
	check, files, err := arguments(set.Name, args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := newDistribution(set)
	if err != nil {
		return err
	}
	if !check {
		return errors.Join(d.run(ctx, files), d.process.exit())
	}
	if err := d.check(ctx, files); err != nil {
		return err
	}
	fmt.Printf("%s: configuration is valid\n", set.Name)
	return nil
}

type fileList []string

func (l *fileList) String() string     { return strings.Join(*l, ",") }
func (l *fileList) Set(f string) error { *l = append(*l, f); return nil }

func arguments(name string, args []string, usage io.Writer) (check bool, files []string, err error) {
	if len(args) > 0 && args[0] == "check" {
		check, args = true, args[1:]
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(usage)
	var list fileList
	flags.Var(&list, "config", "YAML `FILE` that overlays the built-in configuration; repeatable, later ones win")
	if err := flags.Parse(args); err != nil {
		return false, nil, err
	}
	if flags.NArg() > 0 {
		return false, nil, fmt.Errorf("unknown argument %q; usage: %s [check] [--config FILE]", flags.Arg(0), name)
	}
	return check, list, nil
}

// distribution is Settings with the factories made, ready to be started any number of times.
type distribution struct {
	set       Settings
	factories otelcol.Factories
	process   *Process
	telemetry *telemetry
}

func newDistribution(set Settings) (*distribution, error) {
	tel := newTelemetry(set.Name, os.Stderr)
	process := &Process{Log: tel.log, Metrics: tel}
	factories, err := set.Factories(process)
	if err != nil {
		return nil, fmt.Errorf("list components: %w", err)
	}
	factories.Telemetry = tel.factory()
	return &distribution{set: set, factories: factories, process: process, telemetry: tel}, nil
}
