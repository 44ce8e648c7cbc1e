// Package weft is the person's command: one table of what can be said, and one function for each line of it.
package weft

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"weft/weft/up/plan"
)

// invocation is one call of the command.
type invocation struct {
	args   []string
	flags  *flag.FlagSet
	stdout io.Writer
	// data is the folder of the weft up that is meant.
	data string
	json bool
	// collector is the base URL of the collector to ask; empty asks the weft up of data where it is.
	collector string
}

type command struct {
	name, args, help string
	run              func(context.Context, *invocation) error
}

func commands() []command {
	return []command{
		{"up", "[flags]", "run everything on this machine, with the demo shop", runUp},
		{"status", "[--json]", "the parts of the running weft up, and their addresses", runStatus},
		{"request", "ID", "what happened to a request: by request ID, trace ID or the client's own ID", runRequest},
		{"health", "", "the services and how they are", runHealth},
		{"why", "ENDPOINT", "the verdicts on an endpoint, with their evidence", runWhy},
		{"check", "FILE", "validate a role's configuration without starting it", runCheck},
		{"store", "check | repair | stats | erase ID", "look after what a stopped collector has stored", runStore},
		{"demo", "break PART --errors 30% | --delay 2s | --kill, or demo heal", "make the demo shop fail, and mend it", runDemo},
		{"stop", "PART", "stop one part of the running weft up, until it is started again", runStop},
		{"start", "PART", "start a stopped part", runStart},
		{"join-token", "SERVICE/INSTANCE", "a one-time token with which a sidecar on another machine gets its identity", runJoinToken},
		{"help", "", "this text", nil},
	}
}

// errUsage is an error in how the command was called, which exits with 2 and needs no more words.
var errUsage = errors.New("usage")

// Run runs one command and returns the exit code: 0, 1 for a failure that one line on stderr names, 2 for wrong usage.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		printHelp(stdout)
		return 0
	}
	for _, c := range commands() {
		if c.name == args[0] && c.run != nil {
			return execute(ctx, c, newInvocation(c, args[1:], stdout, stderr), stderr)
		}
	}
	fmt.Fprintf(stderr, "weft: no command %q; weft help lists them\n", args[0])
	return 2
}

func newInvocation(c command, args []string, stdout, stderr io.Writer) *invocation {
	in := &invocation{args: args, stdout: stdout, flags: flag.NewFlagSet("weft "+c.name, flag.ContinueOnError)}
	in.flags.SetOutput(stderr)
	in.flags.Usage = func() {
		fmt.Fprintf(stderr, "weft %s %s\n  %s\n", c.name, c.args, c.help)
		in.flags.PrintDefaults()
	}
	in.flags.StringVar(&in.data, "data", plan.DefaultOptions().Data, "the data folder of weft up")
	return in
}

func execute(ctx context.Context, c command, in *invocation, stderr io.Writer) int {
	err := c.run(ctx, in)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 130
	}
	fmt.Fprintf(stderr, "weft %s: %v\n", c.name, err)
	return 1
}

// parse reads flags wherever they stand among the arguments, and wants between least and most other words.
func (in *invocation) parse(least, most int) error {
	var words []string
	rest := in.args
	for {
		if err := in.flags.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return errUsage
		}
		if in.flags.NArg() == 0 {
			break
		}
		words, rest = append(words, in.flags.Arg(0)), in.flags.Args()[1:]
	}
	if len(words) < least || len(words) > most {
		in.flags.Usage()
		return errUsage
	}
	in.args = words
	return nil
}

// given are the names of the flags that were said.
func (in *invocation) given() []string {
	var names []string
	in.flags.Visit(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

// question adds the flags of a command that asks the collector.
func (in *invocation) question() {
	in.flags.BoolVar(&in.json, "json", false, "print the answer as JSON")
	in.flags.StringVar(&in.collector, "collector", os.Getenv("WEFT_COLLECTOR"), "base URL of the collector; otherwise that of the running weft up")
}

// base is the collector's URL.
func (in *invocation) base(ctx context.Context) (string, error) {
	if in.collector != "" {
		return strings.TrimSuffix(in.collector, "/"), nil
	}
	address, err := addressOf(ctx, in.data, "collector", "http")
	return "http://" + address, err
}

func printHelp(out io.Writer) {
	fmt.Fprint(out, "weft runs Weft on this machine and answers questions about it.\n\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(table, "  weft %s\t%s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	}
	table.Flush()
	fmt.Fprint(out, "\nweft COMMAND -h shows a command's flags.\n")
}
