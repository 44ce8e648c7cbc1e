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
	t.flagsOfAll(set)
}

// flagsOfAll are the flags of commands that have rates of their own, too.
func (t *traffic) flagsOfAll(set *flag.FlagSet) {
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

// subject is what one measurement is of: programs in the order they start; the load goes to the last.
type subject struct {
	programs []process.Program
	profile  string // a file for a CPU profile of the first; empty: none
	ledger   string // a file for the list of what was acknowledged; empty: none
}

// ours is the collector, with an agent before it where that is asked for.
func (p *place) ours(agent bool) (subject, error) {
	collector, err := process.Collector(p.binary("collector"), p.folder)
	if p.config != "" {
		collector.Args = []string{"--config", p.config}
	}
	if err != nil || !agent {
		return subject{programs: []process.Program{collector}}, err
	}
	before, err := process.Agent(p.binary("agent"), p.folder, collector.OTLP)
	return subject{programs: []process.Program{collector, before}}, err
}

// measure starts the subject, sends it the traffic, asks for some of it, and stops the subject.
func (s *subject) measure(ctx context.Context, t *traffic) ([]cost, error) {
	m := meter{warmUp: t.warmUp}
	defer func() {
		for i := len(m.processes) - 1; i >= 0; i-- {
			_ = m.processes[i].Stop()
		}
	}()
	for _, program := range s.programs {
		run, err := launch(ctx, program)
		if err != nil {
			return nil, err
		}
		m.processes = append(m.processes, run)
	}
	first, last := s.programs[0], s.programs[len(s.programs)-1]
	var err error
	if m.sender, err = t.sender(last.OTLP); err != nil {
		return nil, err
	}
	if s.profile != "" {
		m.during = func(ctx context.Context) error {
			return profile(ctx, first.Ops, s.profile, t.For-t.warmUp-2*time.Second)
		}
	}
	costs, err := m.run(ctx)
	if err != nil {
		return nil, err
	}
	if first.Lookup != "" {
		costs[0].lookup = traceLookups(ctx, first.Lookup, m.sender)
	}
	if s.ledger != "" {
		err = m.sender.Ledger.Save(s.ledger, m.sender.Model)
	}
	return costs, err
}

// ingest prints what the load costs our collector, and our agent where that is asked for.
func ingest(ctx context.Context, args []string, out io.Writer) error {
	var where place
	var traffic traffic
	set := flag.NewFlagSet("ingest", flag.ContinueOnError)
	where.flags(set)
	traffic.flags(set)
	agent := set.Bool("agent", false, "send through an agent, and measure it too")
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
	subject, err := where.ours(*agent)
	if err != nil {
		return err
	}
	subject.profile, subject.ledger = *profileTo, *ledger
	costs, err := subject.measure(ctx, &traffic)
	if err != nil {
		return err
	}
	costHeader(out)
	for i := range costs {
		costs[i].row(out)
	}
	for i := range costs {
		costs[i].faults(out)
		if *parts {
			costs[i].space(out)
		}
	}
	return nil
}
