package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/bench/check"
	"weft/bench/load"
	"weft/bench/process"
)

// lookup is the measurement of questions: over a data set of a given size, after a restart, under load.
type lookup struct {
	place
	traffic
	size      uint64  // spans
	share     float64 // log records for each span
	under     float64 // spans a second while asking
	cold      int
	questions int
	ledger    string
	built     bool
	out       io.Writer
	program   process.Program
}

func lookups(ctx context.Context, args []string, out io.Writer) error {
	l := lookup{out: out}
	set := flag.NewFlagSet("lookup", flag.ContinueOnError)
	l.place.flags(set)
	set.Uint64Var(&l.size, "size", 400_000, "spans in the data set")
	set.Float64Var(&l.share, "log-share", 0.25, "log records for each span")
	set.Float64Var(&l.Spans, "rate", 40_000, "spans a second while the data set is built, at most")
	set.Float64Var(&l.under, "under", 20_000, "spans a second through an agent while questions are asked; 0: none")
	set.IntVar(&l.cold, "cold", 100, "questions with a cold page cache")
	set.IntVar(&l.questions, "questions", 500, "questions of each kind after that")
	set.BoolVar(&l.Scattered, "scattered", false, "each batch has one span of many traces, as applications send them")
	set.Uint64Var(&l.seed, "seed", 1, "of everything random")
	set.StringVar(&l.ledger, "ledger", "", "write the list of what was acknowledged to this file, for verify")
	set.BoolVar(&l.built, "built", false, "ask an earlier run's -data and -ledger, and build nothing")
	if err := set.Parse(args); err != nil {
		return err
	}
	if l.built && (l.ledger == "" || l.folder == "") {
		return errors.New("lookup: -built needs the -data and the -ledger of an earlier run with -keep")
	}
	l.uuid = true // otherwise a request ID is a trace ID, and asks nothing new
	done, err := l.open()
	if err != nil {
		return err
	}
	defer done()
	subject, err := l.ours(false)
	if err != nil {
		return err
	}
	l.program = subject.programs[0]
	return l.run(ctx)
}

func (l *lookup) run(ctx context.Context) error {
	model, ledger, err := l.dataSet(ctx)
	if err != nil {
		return err
	}
	collector, took, err := restart(ctx, l.program)
	if err != nil {
		return err
	}
	defer func() { _ = collector.Stop() }()
	fmt.Fprintf(l.out, "ready %.2f s after kill -9 and a new start\n", took.Seconds())
	return l.ask(ctx, collector, model, ledger)
}

// dataSet is what there is to ask for, built now or before.
func (l *lookup) dataSet(ctx context.Context) (*load.Model, *load.Ledger, error) {
	if l.built {
		return load.LoadLedger(l.ledger)
	}
	collector, err := launch(ctx, l.program)
	if err != nil {
		return nil, nil, err
	}
	defer collector.Kill()
	sender, err := l.build(ctx, collector)
	if err != nil {
		return nil, nil, err
	}
	if l.ledger != "" {
		err = sender.Ledger.Save(l.ledger, sender.Model)
	}
	return sender.Model, sender.Ledger, err
}

// build fills the collector and waits until it has sealed what it will.
func (l *lookup) build(ctx context.Context, collector *process.Process) (*load.Sender, error) {
	l.Limit, l.Logs, l.For = max(l.size/load.SpansPerTrace, 1), l.Spans*l.share, 0
	sender, err := l.sender(l.program.OTLP)
	if err != nil {
		return nil, err
	}
	m := meter{processes: []*process.Process{collector}, sender: sender}
	costs, err := m.run(ctx)
	if err != nil {
		return nil, err
	}
	c := costs[0]
	c.name = "building"
	costHeader(l.out)
	c.row(l.out)
	c.faults(l.out)
	c.space(l.out)
	fmt.Fprintln(l.out)
	return sender, nil
}

// ask measures, with load through an agent where that is asked for.
func (l *lookup) ask(ctx context.Context, collector *process.Process, model *load.Model, ledger *load.Ledger) error {
	api := check.NewAPI(l.program.HTTP)
	defer api.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	var found distribution
	if l.under > 0 {
		agent, sender, err := l.load(ctx, &group)
		if err != nil {
			return err
		}
		defer func() { _ = agent.Stop() }()
		group.Go(func() error { found = findable(ctx, api, sender); return nil })
	}
	rows, err := l.rounds(ctx, newQuestioner(api, model, ledger))
	stop()
	_ = group.Wait() // the load ends because it is told to
	if err != nil {
		return err
	}
	if l.under > 0 {
		rows = append(rows, found)
	}
	fmt.Fprintln(l.out)
	distributionHeader(l.out)
	for i := range rows {
		rows[i].row(l.out)
	}
	for _, d := range rows {
		if d.wrong > 0 {
			fmt.Fprintf(l.out, "%s, for example %s\n", d.name, d.example)
		}
	}
	now, most, err := process.Memory(collector.PID)
	fmt.Fprintf(l.out, "\ncollector: %.0f MiB resident, %.0f at most since the restart\n", mebi(float64(now)), mebi(float64(most)))
	return err
}

// settled is how long the load runs before the first question.
const settled = 3 * time.Second

// load starts an agent and sends through it until ctx ends.
func (l *lookup) load(ctx context.Context, group *errgroup.Group) (*process.Process, *load.Sender, error) {
	program, err := process.Agent(l.binary("agent"), l.folder, l.program.OTLP)
	if err != nil {
		return nil, nil, err
	}
	agent, err := launch(ctx, program)
	if err != nil {
		return nil, nil, err
	}
	other := l.traffic
	other.Spans, other.Logs, other.Limit = l.under, l.under*l.share, 0
	other.seed = uint64(time.Now().UnixNano()) // over data that was kept, an earlier run's traces would be found at once
	sender, err := other.sender(program.OTLP)
	if err != nil {
		agent.Kill()
		return nil, nil, err
	}
	group.Go(func() error { return sender.Run(ctx) })
	select {
	case <-ctx.Done():
	case <-time.After(settled):
	}
	group.Go(func() error { // how much of the load there was, by the time it ends
		from, before := time.Now(), sender.Counts(load.Spans)
		<-ctx.Done()
		n := sender.Counts(load.Spans)
		fmt.Fprintf(l.out, "while asking: %.0f spans/s acknowledged by the agent, %d batches refused\n",
			float64(n.Acknowledged-before.Acknowledged)/time.Since(from).Seconds(), n.Refused)
		return nil
	})
	return agent, sender, nil
}

// rounds asks first with a cold page cache, then the rest.
func (l *lookup) rounds(ctx context.Context, q *questioner) ([]distribution, error) {
	kept, size, err := process.DropCache(l.program.Data)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(l.out, "page cache dropped: %.0f of %.0f MiB stayed in memory\n", mebi(float64(kept)), mebi(float64(size)))
	known := kinds[:2]
	cold, err := q.ask(ctx, max(l.cold/len(known), 1), "cold, ", known...)
	if err != nil {
		return nil, err
	}
	warm, err := q.ask(ctx, l.questions, "", kinds...)
	return append(cold, warm...), err
}
