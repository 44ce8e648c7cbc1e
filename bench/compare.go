package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/bench/load"
	"weft/bench/process"
)

// compare prints one table: ours and its peers under the same load, one after the other.
func compare(ctx context.Context, args []string, out io.Writer) error {
	var where place
	var traffic traffic
	set := flag.NewFlagSet("compare", flag.ContinueOnError)
	where.flags(set)
	traffic.flagsOfAll(set)
	rate := set.Float64("rate", 10_000, "items of each signal a second")
	peers := map[string]*string{}
	for _, p := range process.Peers {
		peers[p.Name] = set.String(p.Name, "", "the binary of "+p.What+"; without it there is no row")
	}
	if err := set.Parse(args); err != nil {
		return err
	}
	done, err := where.open()
	if err != nil {
		return err
	}
	defer done()
	c := comparison{where, traffic, *rate, out}
	costHeader(out)
	if err := c.ours(ctx); err != nil {
		return err
	}
	var missing []string
	for _, p := range process.Peers {
		if *peers[p.Name] == "" {
			missing = append(missing, "-"+p.Name)
			continue
		}
		if err := c.peer(ctx, p, *peers[p.Name]); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(out, "\nskipped, as no path was given: %s\n", strings.Join(missing, ", "))
	}
	return nil
}

type comparison struct {
	place
	traffic
	rate float64
	out  io.Writer
}

// ours measures each signal alone, then both at half the rate through an agent.
func (c *comparison) ours(ctx context.Context) error {
	for _, run := range []struct {
		name        string
		spans, logs float64
		agent       bool
	}{{"spans", c.rate, 0, false}, {"log records", 0, c.rate, false}, {"both, through the agent", c.rate / 2, c.rate / 2, true}} {
		where := c.place
		where.folder = filepath.Join(c.folder, strings.ReplaceAll(run.name, " ", "-"))
		subject, err := where.ours(run.agent)
		if err != nil {
			return err
		}
		if err := c.rows(ctx, subject, run.name, run.spans, run.logs); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) peer(ctx context.Context, p process.Peer, path string) error {
	for _, run := range []struct {
		name        string
		takes       bool
		spans, logs float64
	}{{"spans", p.Spans, c.rate, 0}, {"log records", p.Logs, 0, c.rate}} {
		if !run.takes {
			continue
		}
		program, err := p.Lay(path, filepath.Join(c.folder, p.Name+"-"+run.name))
		if err != nil {
			return err
		}
		if err := c.rows(ctx, subject{programs: []process.Program{program}}, run.name, run.spans, run.logs); err != nil {
			return err
		}
	}
	return nil
}

// rows measures, and prints what there is to say before the next measurement begins.
func (c *comparison) rows(ctx context.Context, s subject, name string, spans, logs float64) error {
	t := c.traffic
	t.Spans, t.Logs = spans, logs
	costs, err := s.measure(ctx, &t)
	if err != nil {
		return err
	}
	for i := range costs {
		costs[i].name += ": " + name
		costs[i].row(c.out)
	}
	for i := range costs {
		costs[i].faults(c.out)
	}
	return nil
}

const lookupsEach = 200

// traceLookups asks for acknowledged traces by ID, one after the other, and says p50 and p99 in ms as the asker sees
// them, and how many were not found.
func traceLookups(ctx context.Context, url string, sender *load.Sender) string {
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	entries, r := sender.Ledger.Entries(), rand.New(rand.NewPCG(sender.Model.Seed, 3))
	var took []time.Duration
	lost := 0
	for range min(lookupsEach, len(entries)*load.SpansPerTrace) {
		a := entries[r.IntN(len(entries))]
		id, _ := sender.Model.IDs(a.First + r.Uint64N(uint64(a.Traces)))
		start := time.Now()
		found, err := knows(ctx, client, fmt.Sprintf(url, id), id)
		if err != nil || !found {
			lost++
			continue
		}
		took = append(took, time.Since(start))
	}
	if len(took) == 0 {
		return fmt.Sprintf("%d not found", lost)
	}
	slices.Sort(took)
	text := fmt.Sprintf("%.1f / %.1f ms", float64(at(took, 0.5).Microseconds())/1e3, float64(at(took, 0.99).Microseconds())/1e3)
	if lost > 0 {
		text += fmt.Sprintf(", %d not found", lost)
	}
	return text
}

// knows says whether an answer is about a trace: all but Tempo's, which has IDs in base64, name it in hex. Loki answers
// 200 when it found nothing.
func knows(ctx context.Context, client *http.Client, url, id string) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	found := answer.StatusCode == http.StatusOK && (strings.Contains(string(body), id) || strings.Contains(string(body), `"batches"`))
	return found, err
}
