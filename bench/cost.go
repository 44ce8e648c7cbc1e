package bench

import (
	"cmp"
	"context"
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
}

// each is µs of d for each of n items.
func each(d time.Duration, n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(d.Nanoseconds())/1e3/float64(n))
}

// meter measures one process under one sender.
type meter struct {
	process *process.Process
	sender  *load.Sender
	warmUp  time.Duration
	during  func(context.Context) error // runs beside the load once it is warm; may be nil
}

type look struct {
	at          time.Time
	cpu, own    time.Duration
	spans, logs int64
}

func (m *meter) look() (look, error) {
	cpu, err := process.CPU(m.process.PID)
	return look{
		time.Now(), cpu, process.OwnCPU(), m.sender.Counts(load.Spans).Acknowledged, m.sender.Counts(load.Logs).Acknowledged,
	}, err
}

// run sends the load and returns what it cost.
func (m *meter) run(ctx context.Context) (cost, error) {
	before, err := m.look()
	if err != nil {
		return cost{}, err
	}
	var warm, end look
	var samples []process.Sample
	watched, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer stopWatching()
		err := m.sender.Run(ctx)
		if err == nil {
			end, err = m.look()
		}
		return err
	})
	group.Go(func() error {
		select {
		case <-watched.Done():
			return nil
		case <-time.After(m.warmUp):
		}
		var err error
		if warm, err = m.look(); err != nil {
			return err
		}
		if m.during != nil {
			group.Go(func() error { return m.during(watched) })
		}
		process.Watch(watched, m.process.PID, func(s process.Sample) { samples = append(samples, s) })
		return nil
	})
	if err := group.Wait(); err != nil {
		return cost{}, err
	}
	c := cost{
		name: m.process.Name, window: end.at.Sub(warm.at), spans: end.spans - warm.spans, logs: end.logs - warm.logs, cpu: end.cpu - warm.cpu,
		own: end.own - warm.own, items: end.spans + end.logs, slope: process.Slope(samples), fault: m.sender.LastFault(),
		counts: [2]load.Counts{m.sender.Counts(load.Spans), m.sender.Counts(load.Logs)},
	}
	return c, m.settle(&c, before, end)
}

const (
	calm     = 3 * time.Second
	calmCost = 60 * time.Millisecond // of CPU in that time is not work that is left: an idle collector spends as much
	patience = 2 * time.Minute
)

// settle waits until the process has done what the load left to do, such as sealing, and enters what that cost.
func (m *meter) settle(c *cost, before, end look) error {
	for {
		from, err := process.CPU(m.process.PID)
		if err != nil {
			return err
		}
		time.Sleep(calm)
		to, err := process.CPU(m.process.PID)
		if err != nil {
			return err
		}
		c.whole, c.quiet = to-before.cpu, time.Since(end.at)
		if to-from <= calmCost || c.quiet > patience {
			break
		}
	}
	var err error
	if _, c.peak, err = process.Memory(m.process.PID); err != nil {
		return err
	}
	c.disk, c.parts, err = process.Disk(m.process.Data)
	return err
}

func costHeader(out io.Writer) {
	fmt.Fprintln(out, "| | spans/s | log records/s | CPU µs per item | with what came after | of one core | resident, most | a minute | on disk per item | batches refused | disconnected | generator, µs per item |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|---|")
}

func (c *cost) row(out io.Writer) {
	seconds := c.window.Seconds()
	var perItem float64
	if c.items > 0 {
		perItem = float64(c.disk) / float64(c.items)
	}
	fmt.Fprintf(out, "| %s | %.0f | %.0f | %s | %s | %.0f %% | %.0f MiB | %+.1f MiB | %.1f B | %d | %d | %s |\n", c.name, float64(c.spans)/seconds,
		float64(c.logs)/seconds, each(c.cpu, c.spans+c.logs), each(c.whole, c.items), 100*c.cpu.Seconds()/seconds, mebi(float64(c.peak)), mebi(c.slope), perItem,
		c.counts[0].Refused+c.counts[1].Refused, c.counts[0].Disconnected+c.counts[1].Disconnected, each(c.own, c.spans+c.logs))
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
