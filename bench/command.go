package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"weft/bench/process"
)

const usage = `usage: weft-bench <command> [flags]; each explains its flags with -h

  ingest   CPU, memory and disk per span and log record
  compare  the same, of each signal, and of what Weft is compared with: one table
  lookup   how long a question takes, over a data set of any size, after a restart, under load
  recover  how soon a collector is ready that was killed with much in its log
  verify   whether everything that was acknowledged is there, once, as it was sent`

// Command runs the subcommand that args name, and prints its tables to out.
func Command(ctx context.Context, args []string, out io.Writer) error {
	commands := map[string]func(context.Context, []string, io.Writer) error{"ingest": ingest, "compare": compare, "lookup": lookups, "recover": recovery, "verify": verify}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New(usage)
	}
	err := commands[args[0]](ctx, args[1:], out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

// place is where the binaries are and the data goes.
type place struct {
	binaries, folder string
	config           string // of the collector; empty: its own
	keep             bool
}

func (p *place) flags(set *flag.FlagSet) {
	set.StringVar(&p.binaries, "bin", "bin", "the folder with collector and agent")
	set.StringVar(&p.folder, "data", "", "where data goes; default a temporary folder")
	set.StringVar(&p.config, "config", "", "a file that overlays the collector's built-in configuration")
	set.BoolVar(&p.keep, "keep", false, "leave the data when done")
}

// open makes the folder, and returns what removes it.
func (p *place) open() (done func(), err error) {
	if p.folder == "" {
		if p.folder, err = os.MkdirTemp("", "weft-bench-"); err != nil {
			return nil, err
		}
	} else if err = os.MkdirAll(p.folder, 0o700); err != nil {
		return nil, err
	}
	if p.folder, err = filepath.Abs(p.folder); err != nil {
		return nil, err
	}
	if p.keep {
		return func() {}, nil
	}
	return func() { _ = os.RemoveAll(p.folder) }, nil
}

func (p *place) binary(name string) string { return filepath.Join(p.binaries, name) }

// starting bounds how long a program may take until it is ready; replaying a large log takes a while.
const starting = 3 * time.Minute

func launch(ctx context.Context, p process.Program) (*process.Process, error) {
	run, err := process.Start(p)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	if _, err := run.AwaitReady(ctx); err != nil {
		run.Kill()
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return run, nil
}
