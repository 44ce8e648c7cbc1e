package bench

import (
	"context"
	"flag"
	"io"
	"time"

	"weft/bench/load"
	"weft/bench/process"
)

// traffic is the load that a command sends.
type traffic struct {
	load.Config
	seed   uint64
	uuid   bool
	warmUp time.Duration
}

func (t *traffic) flags(set *flag.FlagSet) {
	set.Float64Var(&t.Spans, "spans", 10_000, "spans a second")
	set.Float64Var(&t.Logs, "logs", 10_000, "log records a second")
	set.IntVar(&t.Traces, "traces", 64, "traces in a batch, of 8 spans each")
	set.IntVar(&t.Connections, "connections", 2, "gRPC connections")
	set.BoolVar(&t.Scattered, "scattered", false, "each batch has one span of many traces, as applications send them")
	set.DurationVar(&t.For, "for", 30*time.Second, "how long to send, warm-up included")
	set.DurationVar(&t.warmUp, "warm-up", 5*time.Second, "how long after the start counting begins")
	set.Uint64Var(&t.seed, "seed", 1, "of everything random")
	set.BoolVar(&t.uuid, "uuid", false, "request IDs are UUIDs, not the trace ID in hex")
}

// sender sends the traffic to an endpoint.
func (t *traffic) sender(endpoint string) (*load.Sender, error) {
	cfg := t.Config
	cfg.Endpoint = endpoint
	return load.NewSender(cfg, load.NewModel(t.seed, t.uuid))
}

// ingest starts a collector, with an agent before it where that is asked for, and prints what the load costs each.
func ingest(ctx context.Context, args []string, out io.Writer) error {
	var where place
	var traffic traffic
	set := flag.NewFlagSet("ingest", flag.ContinueOnError)
	where.flags(set)
	traffic.flags(set)
	profileTo := set.String("profile", "", "write a CPU profile of the collector under load to this file")
	parts := set.Bool("parts", false, "print what takes the space on disk, by folder")
	ledger := set.String("ledger", "", "write the list of what was acknowledged to this file, for verify")
	if err := set.Parse(args); err != nil {
		return err
	}
	done, err := where.open()
	if err != nil {
		return err
	}
	defer done()
	program, err := process.Collector(where.binary("collector"), where.folder)
	if err != nil {
		return err
	}
	collector, err := launch(ctx, program)
	if err != nil {
		return err
	}
	defer func() { _ = collector.Stop() }()
	sender, err := traffic.sender(program.OTLP)
	if err != nil {
		return err
	}
	m := meter{process: collector, sender: sender, warmUp: traffic.warmUp}
	if *profileTo != "" {
		m.during = func(ctx context.Context) error {
			return profile(ctx, program.Ops, *profileTo, traffic.For-traffic.warmUp-2*time.Second)
		}
	}
	c, err := m.run(ctx)
	if err != nil {
		return err
	}
	costHeader(out)
	c.row(out)
	c.faults(out)
	if *parts {
		c.space(out)
	}
	if *ledger != "" {
		return sender.Ledger.Save(*ledger, sender.Model)
	}
	return nil
}
