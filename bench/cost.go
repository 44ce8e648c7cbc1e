package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/bench/load"
	"weft/bench/process"
)

// cost is what a process spent on a load.
type cost struct {
	name        string
	window      time.Duration // after the warm-up, until the load ended
	spans, logs int64         // acknowledged in the window
	cpu         time.Duration // spent in the window
	own         time.Duration // spent by the generator in the window
	whole       time.Duration // spent from before the load until all was quiet after it
	items       int64         // acknowledged in all
	peak        int64         // resident bytes
	slope       float64       // resident bytes a minute in the window
	disk        int64
	parts       map[string]int64
	counts      [2]load.Counts // by signal, in all
	quiet       time.Duration  // from the end of the load until it was quiet
	fault       error
	lookup      string
}

// each is µs of d for each of n items.
func each(d time.Duration, n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(d.Nanoseconds())/1e3/float64(n))
}

// meter measures processes under one sender.
type meter struct {
	processes []*process.Process
	sender    *load.Sender
	warmUp    time.Duration
	during    func(context.Context) error // runs beside the load once it is warm; may be nil
}

type look struct {
	at          time.Time
	cpu         []time.Duration // by process
	own         time.Duration
	spans, logs int64
}

func (m *meter) look() (look, error) {
	l := look{
		at: time.Now(), own: process.OwnCPU(), spans: m.sender.Counts(load.Spans).Acknowledged, logs: m.sender.Counts(load.Logs).Acknowledged,
	}
	for _, p := range m.processes {
		cpu, err := process.CPU(p.PID)
		if err != nil {
			return l, fmt.Errorf("%s: %w", p.Name, err)
		}
		l.cpu = append(l.cpu, cpu)
	}
	return l, nil
}

// run sends the load and returns what it cost each process.
func (m *meter) run(ctx context.Context) ([]cost, error) {
	before, err := m.look()
	if err != nil {
		return nil, err
	}
	var warm, end look
	samples := make([][]process.Sample, len(m.processes))
	group, ctx := errgroup.WithContext(ctx)
	loaded, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() (err error) {
		defer stop()
		if err = m.sender.Run(ctx); err == nil {
			end, err = m.look()
		}
		return err
	})
	group.Go(func() (err error) {
		select {
		case <-loaded.Done():
			return nil
		case <-time.After(m.warmUp):
		}
		if warm, err = m.look(); err != nil {
			return err
		}
		for i, p := range m.processes {
			group.Go(func() error {
				process.Watch(loaded, p.PID, func(s process.Sample) { samples[i] = append(samples[i], s) })
				return nil
			})
		}
		if m.during != nil {
			return m.during(loaded)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if warm.cpu == nil {
		return nil, fmt.Errorf("the load ended within the warm-up of %v", m.warmUp)
	}
	costs := make([]cost, len(m.processes))
	for i, p := range m.processes {
		costs[i] = cost{
			name: p.Name, window: end.at.Sub(warm.at), spans: end.spans - warm.spans, logs: end.logs - warm.logs, cpu: end.cpu[i] - warm.cpu[i],
			own: end.own - warm.own, items: end.spans + end.logs, slope: process.Slope(samples[i]), fault: m.sender.LastFault(),
			counts: [2]load.Counts{m.sender.Counts(load.Spans), m.sender.Counts(load.Logs)},
		}
	}
	return costs, m.settle(costs, before, end)
}

const (
	calm     = 3 * time.Second
	calmCost = 60 * time.Millisecond // of CPU in that time is not work that is left: an idle collector spends as much
	patience = 2 * time.Minute
)

// settle waits until the processes have done what the load left to do, such as sealing, and enters what that cost.
func (m *meter) settle(costs []cost, before, end look) error {
	last := end
	for quiet := false; !quiet; {
		time.Sleep(calm)
		now, err := m.look()
		if err != nil {
			return err
		}
		quiet = true
		for i := range m.processes {
			quiet = quiet && now.cpu[i]-last.cpu[i] <= calmCost
			costs[i].whole, costs[i].quiet = now.cpu[i]-before.cpu[i], now.at.Sub(end.at)
		}
		quiet = quiet || now.at.Sub(end.at) > patience
		last = now
	}
	for i, p := range m.processes {
		var err1, err2 error
		_, costs[i].peak, err1 = process.Memory(p.PID)
		costs[i].disk, costs[i].parts, err2 = process.Disk(p.Data)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
	}
	return nil
}

func costHeader(out io.Writer) {
	fmt.Fprintln(out, "| | spans/s | log records/s | CPU µs per item | with what came after | of one core | resident, most | a minute | on disk per item | batches refused | without answer | generator, µs per item | a trace by its ID, p50 / p99 |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")
}

func (c *cost) row(out io.Writer) {
	seconds := c.window.Seconds()
	var perItem float64
	if c.items > 0 {
		perItem = float64(c.disk) / float64(c.items)
	}
	fmt.Fprintf(out, "| %s | %.0f | %.0f | %s | %s | %.0f %% | %.0f MiB | %+.1f MiB | %.1f B | %d | %d | %s | %s |\n", c.name, float64(c.spans)/seconds,
		float64(c.logs)/seconds, each(c.cpu, c.spans+c.logs), each(c.whole, c.items), 100*c.cpu.Seconds()/seconds, mebi(float64(c.peak)), mebi(c.slope), perItem,
		c.counts[0].Refused+c.counts[1].Refused, c.counts[0].Disconnected+c.counts[1].Disconnected, each(c.own, c.spans+c.logs), cmp.Or(c.lookup, "-"))
}

// faults says what a table has no column for, where there is something to say.
func (c *cost) faults(out io.Writer) {
	for i, n := range c.counts {
		if n.Failed > 0 || n.Rejected > 0 || n.Behind > time.Second {
			fmt.Fprintf(out, "%s, %v: %d refused for good, %d left out, up to %.1f s behind\n", c.name, load.Signal(i), n.Failed, n.Rejected, n.Behind.Seconds())
		}
	}
	if c.fault != nil {
		fmt.Fprintf(out, "%s: the latest answer other than success: %v\n", c.name, c.fault)
	}
	if c.quiet > patience {
		fmt.Fprintf(out, "%s: was not quiet %v after the load\n", c.name, patience)
	}
}

// space says what takes the disk, the largest folders first.
func (c *cost) space(out io.Writer) {
	folders := slices.SortedFunc(maps.Keys(c.parts), func(a, b string) int { return cmp.Compare(c.parts[b], c.parts[a]) })
	for _, name := range folders {
		if size := c.parts[name]; size >= 1<<20 {
			fmt.Fprintf(out, "%s: %.1f MiB on disk\n", name, mebi(float64(size)))
		}
	}
}

func mebi(bytes float64) float64 { return bytes / (1 << 20) }
