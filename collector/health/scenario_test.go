package health

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/internal/sample"
)

// TestScenarios runs testdata/*.txt, the engine's specification. One command a line, # begins a comment:
//
//	worlds N                        the file runs N times, with other randomness
//	members KEY... [plain]          register endpoints; plain ones have no sidecar of their own
//	leave KEY | join KEY            deregister and register again, with a new sidecar process
//	registered NAME...              proxies that control knows but that never report
//	flow PROXY,... SERVICE RATE     each proxy sends RATE first attempts a second, split by weight
//	calls FROM TO error|downstream  every request to FROM makes one to TO; how its failure looks to FROM's caller
//	trust SERVICE LEVEL | percent N | settle D
//	breakers on                     5 failures in a row open a proxy's local breaker for 5 s
//	shy on                          a proxy avoids what gave it no answer, but for one pick in a hundred
//	fault KEY [from PROXY] errors|timeouts|connect|load|aborted|downstream P | delay D | stop | kill
//	heal [KEY]                      undo the faults of KEY, or all
//	mute PROXY... | unmute PROXY... its reports stop and start
//	lane lose|reorder P | duplicate 1 | late S
//	restart PROXY | restart engine  new process, counters at zero; a new engine gets the old one's verdicts
//	run D
//	until KEY STATE within D        ... reach the state in time
//	hold D KEY STATE                ... stay in it all the time
//	expect KEY STATE [weight=N] [test=T] [reporters>=N] [witnesses>=N] [ids>=N] [enforced=B] [reason~WORD]
//	count KEY STATE <= N            changes to the state so far
//
// KEY and PROXY may be patterns. After every tick the runner checks what must always hold (see invariants).
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("want at least 20 scenarios, have %d (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			for worlds := runScenario(t, file, 0); worlds > 1; worlds-- {
				runScenario(t, file, worlds-1)
			}
		})
	}
}

type runner struct {
	*testing.T
	*world
	line   string
	worlds int
}

// runScenario runs a file in one of its random worlds, and returns how many of them it wants.
func runScenario(t *testing.T, file string, world int) int {
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	seed := fnv.New64a()
	fmt.Fprint(seed, file)
	r := &runner{T: t, world: newWorld(seed.Sum64() + uint64(world)), worlds: 1}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if words := strings.Fields(text); len(words) > 0 {
			r.line = fmt.Sprintf("%s:%d: %s", file, n, strings.TrimSpace(text))
			r.do(words[0], words[1:])
		}
	}
	return r.worlds
}

func (r *runner) do(verb string, args []string) {
	switch verb {
	case "worlds":
		r.worlds = r.integer(args[0])
	case "run":
		r.run(r.duration(args[0]), func() bool { return false })
	case "until":
		within := r.duration(args[3])
		started := r.now
		if !r.run(within, func() bool { return r.all(args[0], args[1]) }) {
			r.fail("%s is not %s after %s: %s", args[0], args[1], within, r.describe(args[0]))
		}
		r.Logf("%s: after %s", r.line, r.now.Sub(started))
	case "hold":
		if r.run(r.duration(args[0]), func() bool { return !r.all(args[1], args[2]) }) {
			r.fail("%s left %s: %s", args[1], args[2], r.describe(args[1]))
		}
	case "expect":
		r.expect(args)
	case "count":
		n := 0
		for i, v := range r.changes {
			if matches(args[0], v.Endpoint.String()) && v.State.String() == args[1] && r.entered(i) {
				n++
			}
		}
		if n > r.integer(args[3]) {
			r.fail("%d changes to %s", n, args[1])
		}
	default:
		r.set(verb, args)
	}
}

// entered reports whether change i brought its endpoint into the state, and not only changed its weight.
func (r *runner) entered(i int) bool {
	for j := i - 1; j >= 0; j-- {
		if r.changes[j].Endpoint == r.changes[i].Endpoint {
			return r.changes[j].State != r.changes[i].State
		}
	}
	return r.changes[i].State != sample.Healthy
}

// set changes the world.
func (r *runner) set(verb string, args []string) {
	switch verb {
	case "members":
		plain := args[len(args)-1] == "plain"
		for _, name := range args {
			if name != "plain" {
				r.join(key(name), plain)
			}
		}
	case "leave":
		r.leave(key(args[0]))
	case "join":
		r.join(key(args[0]), r.plain[key(args[0])])
		if p := r.proxies[args[0]]; p != nil {
			p.restart(r.now)
		}
	case "registered":
		r.extra = append(r.extra, args...)
	case "flow":
		for _, name := range strings.Split(args[0], ",") {
			r.proxy(name)
			r.flows = slices.DeleteFunc(r.flows, func(f *flow) bool { return f.proxy == name && f.service == args[1] })
			r.flows = append(r.flows, &flow{proxy: name, service: args[1], rate: r.number(args[2])})
		}
	case "calls":
		r.calls = append(r.calls, call{args[0], args[1], r.outcome(args[2])})
	case "fault":
		r.fault(args)
	case "heal":
		r.faults = slices.DeleteFunc(r.faults, func(t trouble) bool { return len(args) == 0 || t.pattern == args[0] })
	case "mute", "unmute":
		for _, pattern := range args {
			for name, p := range r.proxies {
				if matches(pattern, name) {
					p.muted = verb == "mute"
				}
			}
		}
	case "lane":
		r.lane[args[0]] = r.number(args[1])
	case "breakers":
		r.breakers = args[0] == "on"
	case "shy":
		r.shy = args[0] == "on"
	case "restart":
		if args[0] == "engine" {
			r.restartEngine()
		} else {
			r.proxies[args[0]].restart(r.now)
		}
	default:
		r.configure(verb, args)
	}
}

func (r *runner) configure(verb string, args []string) {
	switch verb {
	case "trust":
		if r.cfg.Trust == nil {
			r.cfg.Trust = map[string]Trust{}
		}
		r.cfg.Trust[args[0]] = Trust(args[1])
	case "percent":
		r.cfg.Percent = r.integer(args[0])
	case "settle":
		r.cfg.Settle = r.duration(args[0])
	default:
		r.fail("unknown command")
	}
	r.engine = New(r.cfg)
}

func (r *runner) fault(args []string) {
	t := trouble{pattern: args[0], ratio: 1}
	args = args[1:]
	if args[0] == "from" {
		t.from, args = args[1], args[2:]
	}
	switch args[0] {
	case "delay":
		t.delay = r.duration(args[1])
	case "stop": // SIGSTOP: connections are taken, answers never come
		t.outcome = sample.Timeout
	case "refuse": // the application is dead, and its sidecar looks after it
		t.outcome, t.vigil = sample.ConnectFailure, true
	case "kill": // endpoint and sidecar
		t.outcome, t.silent = sample.ConnectFailure, true
	default:
		t.outcome = r.outcome(args[0])
		t.ratio = r.number(args[1])
	}
	r.faults = append(r.faults, t)
}

func (r *runner) outcome(word string) sample.Outcome {
	of := map[string]sample.Outcome{
		"errors": sample.Error, "error": sample.Error, "timeouts": sample.Timeout, "connect": sample.ConnectFailure,
		"load": sample.Load, "aborted": sample.Aborted, "downstream": sample.Downstream,
	}
	o, known := of[word]
	if !known {
		r.fail("unknown outcome %s", word)
	}
	return o
}

// run steps the world for d or until done, and reports whether it was.
func (r *runner) run(d time.Duration, done func() bool) bool {
	for end := r.now.Add(d); r.now.Before(end); {
		changed := r.step()
		for _, v := range changed {
			r.Logf("%7.2fs %-20s %-9s %3d %-15s %s", r.now.Sub(time.Unix(1_700_000_000, 0)).Seconds(), v.Endpoint, v.State, v.Weight, v.Evidence.Test, v.Reason)
		}
		if err := invariants(r.engine, changed); err != nil {
			r.fail("%v", err)
		}
		if done() {
			return true
		}
	}
	return false
}

func (r *runner) verdictsOf(pattern string) []sample.Verdict {
	var of []sample.Verdict
	for _, v := range r.engine.Verdicts() {
		if matches(pattern, v.Endpoint.String()) {
			of = append(of, v)
		}
	}
	return of
}

func (r *runner) all(pattern, state string) bool {
	of := r.verdictsOf(pattern)
	if state == "gone" {
		return len(of) == 0
	}
	for _, v := range of {
		if v.State.String() != state {
			return false
		}
	}
	return len(of) > 0
}

func (r *runner) describe(pattern string) string {
	var b strings.Builder
	for _, v := range r.verdictsOf(pattern) {
		fmt.Fprintf(&b, "\n  %s %s %d %+v: %s", v.Endpoint, v.State, v.Weight, v.Evidence, v.Reason)
	}
	return b.String()
}

func (r *runner) expect(args []string) {
	if !r.all(args[0], args[1]) {
		r.fail("want %s: %s", args[1], r.describe(args[0]))
	}
	for _, v := range r.verdictsOf(args[0]) {
		for _, want := range args[2:] {
			if !r.has(v, want) {
				r.fail("want %s: %s", want, r.describe(args[0]))
			}
		}
	}
}

func (r *runner) has(v sample.Verdict, want string) bool {
	name, value, _ := strings.Cut(want, "=")
	switch name {
	case "weight":
		return v.Weight == r.integer(value)
	case "test":
		return slices.Contains(strings.Split(value, "|"), v.Evidence.Test)
	case "reporters>":
		return len(v.Evidence.Reporters) >= r.integer(value)
	case "witnesses>":
		return len(v.Evidence.Witnesses) >= r.integer(value)
	case "ids>":
		return len(v.Evidence.RequestIDs) >= r.integer(value)
	case "enforced":
		return strconv.FormatBool(v.Enforced) == value
	}
	_, word, ok := strings.Cut(want, "~")
	if !ok {
		r.fail("unknown expectation %s", want)
	}
	return strings.Contains(v.Reason, word)
}

// invariants are what no input may break.
func invariants(e *Engine, changed []sample.Verdict) error {
	for i, v := range changed {
		if i > 0 && v.Version <= changed[i-1].Version {
			return fmt.Errorf("version %d after %d", v.Version, changed[i-1].Version)
		}
		if v.State != sample.Healthy && v.Reason == "" {
			return fmt.Errorf("%s is %s without a reason", v.Endpoint, v.State)
		}
	}
	for _, group := range e.services() {
		service := group.endpoints
		n, ejected := 0, 0
		for _, ep := range service {
			if ep.weight < 0 || ep.weight > 100 || (ep.weight == 0) != (ep.state == sample.Ejected) {
				return fmt.Errorf("%s is %s with weight %d", ep.Key, ep.state, ep.weight)
			}
			if ep.registered {
				n++
				if ep.state == sample.Ejected {
					ejected++
				}
			}
		}
		if e.Settled(e.now) && ejected > e.cfg.ejectable(n) {
			return fmt.Errorf("%d of %d endpoints of %s are ejected, %d may be", ejected, n, service[0].Key.Service, e.cfg.ejectable(n))
		}
	}
	return nil
}

func (r *runner) fail(format string, args ...any) {
	r.Helper()
	r.Fatalf("%s: %s", r.line, fmt.Sprintf(format, args...))
}

func (r *runner) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		r.fail("%v", err)
	}
	return d
}

func (r *runner) number(text string) float64 {
	scale := 1.0
	if digits, found := strings.CutSuffix(text, "%"); found {
		text, scale = digits, 0.01
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.fail("%v", err)
	}
	return n * scale
}

func (r *runner) integer(text string) int { return int(r.number(text)) }
