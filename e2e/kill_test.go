package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"weft/bench/check"
	generator "weft/bench/load"
	"weft/bench/process"
)

// environment is a number from the environment, or the default.
func environment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Agent and collector are killed at random moments under load, and the collector shows in the end every span and every
// log record that the agent has acknowledged, once, as it was sent. `make soak` kills more often (WEFT_KILLS), and
// WEFT_SEED repeats a run's moments as far as the machine does.
func TestNothingAcknowledgedIsLostToKills(t *testing.T) {
	kills := int(environment(t, "WEFT_KILLS", 5))
	seed := environment(t, "WEFT_SEED", rand.Uint64())
	t.Logf("%d kills, WEFT_SEED=%d", kills, seed)
	pair := newPair(t)
	sender, err := generator.NewSender(generator.Config{
		Endpoint: pair.agent.OTLP, Spans: 800, Logs: 800, Traces: 8, Connections: 2, InFlight: 4,
	}, generator.NewModel(seed, true))
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { sent <- sender.Run(ctx) }()
	t.Cleanup(func() { cancel(); sender.Finish() })
	pair.killAtRandom(sender, rand.New(rand.NewPCG(seed, 0)), kills)
	sender.Finish()
	select {
	case err := <-sent:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("batches are not acknowledged 2 minutes after the last kill: %v", sender.LastFault())
	}
	for _, signal := range []generator.Signal{generator.Spans, generator.Logs} {
		n := sender.Counts(signal)
		t.Logf("%v: %d acknowledged in %d batches; %d batches refused, %d attempts without an answer", signal, n.Acknowledged, n.Batches, n.Refused, n.Disconnected)
		if n.Failed > 0 || n.Rejected > 0 {
			t.Errorf("%v: %d refused for good, %d left out: %v", signal, n.Failed, n.Rejected, sender.LastFault())
		}
	}
	pair.account(sender)
}

// pair is an agent and the collector it forwards to.
type pair struct {
	t                *testing.T
	agent, collector *process.Process
}

func newPair(t *testing.T) *pair {
	p, folder := &pair{t: t}, t.TempDir()
	collector, err := process.Collector(binary(t, "collector"), folder)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := process.Agent(binary(t, "agent"), folder, collector.OTLP)
	if err != nil {
		t.Fatal(err)
	}
	p.collector, p.agent = p.start(collector), p.start(agent)
	t.Cleanup(func() {
		p.agent.Kill()
		p.collector.Kill()
		if t.Failed() {
			t.Logf("agent:\n%s\ncollector:\n%s", p.agent.Tail(), p.collector.Tail())
		}
	})
	p.ready(p.collector)
	p.ready(p.agent)
	return p
}

func (p *pair) start(program process.Program) *process.Process {
	p.t.Helper()
	run, err := process.Start(program)
	if err != nil {
		p.t.Fatal(err)
	}
	return run
}

func (p *pair) ready(run *process.Process) time.Duration {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	took, err := run.AwaitReady(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return took
}

// killAtRandom kills either, at a moment up to two seconds after new batches were acknowledged, or one time in four
// at once, perhaps while it is still starting after the kill before.
func (p *pair) killAtRandom(sender *generator.Sender, r *rand.Rand, kills int) {
	p.t.Helper()
	var slowest time.Duration
	for n := range kills {
		if n == 0 || r.IntN(4) > 0 {
			slowest = max(slowest, p.ready(p.collector), p.ready(p.agent))
			before := sender.Counts(generator.Spans).Batches
			within(p.t, time.Minute, "new batches are acknowledged", func() error {
				if sender.Counts(generator.Spans).Batches == before {
					return fmt.Errorf("the latest answer other than success: %v", sender.LastFault())
				}
				return nil
			})
		}
		time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second)))) // the random moment
		victim := &p.agent
		if r.IntN(2) == 0 {
			victim = &p.collector
		}
		if !(*victim).Alive() {
			p.t.Fatalf("%s ended by itself: %s", (*victim).Name, (*victim).Tail())
		}
		p.t.Logf("kill %d: %s, after %d batches of spans", n+1, (*victim).Name, sender.Counts(generator.Spans).Batches)
		(*victim).Kill()
		*victim = p.start((*victim).Program)
	}
	p.t.Logf("ready %v after a start, at most", max(slowest, p.ready(p.collector), p.ready(p.agent)))
}

// account compares the sender's list with what the collector shows, once the agent has forwarded all.
func (p *pair) account(sender *generator.Sender) {
	p.t.Helper()
	entries := sender.Ledger.Entries()
	if len(entries) == 0 {
		p.t.Fatal("nothing was acknowledged")
	}
	api := check.NewAPI(p.collector.HTTP)
	defer api.Close()
	checker := check.Checker{API: api, Model: sender.Model, Until: time.Now().Add(2 * time.Minute)}
	result, err := checker.Run(context.Background(), check.Traces(entries))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Log(result)
	if result.Faults() > 0 {
		p.t.Errorf("%d faults; the data was in %s", result.Faults(), filepath.Dir(p.collector.Data))
	}
}
