package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"weft/bench/check"
	"weft/bench/load"
)

// verify starts a collector over data that was kept, and compares what it shows with the sender's list.
func verify(ctx context.Context, args []string, out io.Writer) error {
	var where place
	set := flag.NewFlagSet("verify", flag.ContinueOnError)
	where.flags(set)
	list := set.String("ledger", "", "the sender's list, written by ingest or lookup")
	sample := set.Int("sample", 0, "traces to compare, picked at random; 0: all")
	if err := set.Parse(args); err != nil {
		return err
	}
	if where.folder == "" || *list == "" {
		return errors.New("verify: needs -data of an earlier run with -keep, and its -ledger")
	}
	where.keep = true
	if _, err := where.open(); err != nil {
		return err
	}
	model, ledger, err := load.LoadLedger(*list)
	if err != nil {
		return err
	}
	traces := check.Traces(ledger.Entries())
	if *sample > 0 && *sample < len(traces) {
		r := rand.New(rand.NewPCG(model.Seed, 2))
		r.Shuffle(len(traces), func(i, j int) { traces[i], traces[j] = traces[j], traces[i] })
		traces = traces[:*sample]
	}
	subject, err := where.ours(false)
	if err != nil {
		return err
	}
	program := subject.programs[0]
	collector, err := launch(ctx, program)
	if err != nil {
		return err
	}
	defer func() { _ = collector.Stop() }()
	api := check.NewAPI(program.HTTP)
	defer api.Close()
	checker := check.Checker{API: api, Model: model, Until: time.Now()}
	result, err := checker.Run(ctx, traces)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, result)
	if result.Faults() > 0 {
		return errors.New("verify: the collector does not show what it acknowledged")
	}
	return nil
}
