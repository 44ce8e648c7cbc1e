package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"weft/bench/load"
	"weft/bench/process"
)

// recovery measures how soon a collector is ready again that was killed with much in its log that is not sealed.
func recovery(ctx context.Context, args []string, out io.Writer) error {
	var where place
	var traffic traffic
	set := flag.NewFlagSet("recover", flag.ContinueOnError)
	where.flags(set)
	traffic.flags(set)
	size := set.Int64("mib", 1024, "kill -9 when the data takes so many MiB; to keep it from being sealed before, use -config")
	if err := set.Parse(args); err != nil {
		return err
	}
	done, err := where.open()
	if err != nil {
		return err
	}
	defer done()
	subject, err := where.ours(false)
	if err != nil {
		return err
	}
	program := subject.programs[0]
	collector, err := launch(ctx, program)
	if err != nil {
		return err
	}
	traffic.For = 0
	sender, err := traffic.sender(program.OTLP)
	if err != nil {
		collector.Kill()
		return err
	}
	err = fill(ctx, sender, program.Data, *size<<20)
	collector.Kill()
	if err != nil {
		return err
	}
	total, _, err := process.Disk(program.Data)
	if err != nil {
		return err
	}
	sealed, err := process.Sealed(program.Data)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d spans and %d log records acknowledged; %.0f MiB of data, %.0f MiB of it sealed\n", sender.Counts(load.Spans).Acknowledged,
		sender.Counts(load.Logs).Acknowledged, mebi(float64(total)), mebi(float64(sealed)))
	collector, took, err := restart(ctx, program)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "ready %.2f s after kill -9 and a new start\n", took.Seconds())
	return collector.Stop()
}

// fill sends until the data takes size bytes, and then until all that was begun is acknowledged.
func fill(ctx context.Context, sender *load.Sender, folder string, size int64) error {
	sent := make(chan error, 1)
	go func() { sent <- sender.Run(ctx) }() // received below, on every way out
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		total, _, err := process.Disk(folder)
		if err != nil || total >= size {
			sender.Finish()
			return errors.Join(err, <-sent)
		}
		select {
		case err := <-sent:
			return err
		case <-ticker.C:
		}
	}
}

// restart starts a program again over the data that it left, and says how long it took to be ready.
func restart(ctx context.Context, p process.Program) (*process.Process, time.Duration, error) {
	run, err := process.Start(p)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	took, err := run.AwaitReady(ctx)
	if err != nil {
		run.Kill()
	}
	return run, took, err
}
