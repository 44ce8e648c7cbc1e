package health

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"

	"weft/internal/sample"
)

// world is a fleet in miniature: proxies that call, endpoints that fail as told, lanes that lose reports, and control
// that applies verdicts a moment later. It exists to feed the engine what a real fleet would.
type world struct {
	now       time.Time
	cfg       Config
	engine    *Engine
	rng       *rand.Rand
	members   []sample.Member
	plain     map[sample.Key]bool // endpoints without a sidecar
	proxies   map[string]*proxy
	names     []string
	extra     []string // registered proxies that never report
	flows     []*flow
	calls     []call
	faults    []trouble
	breakers  bool
	shy       bool               // callers avoid what gave no answer, but for one pick in a hundred
	lane      map[string]float64 // duplicate, reorder, lose (ratio), late (seconds)
	applied   map[sample.Key]sample.Verdict
	inFlight  []delivery // verdicts on their way
	later     map[int64][]func()
	ticks     int64
	changes   []sample.Verdict
	held      []sample.Report
	requestID int
}

const tickLength = 250 * time.Millisecond

type proxy struct {
	name     string
	epoch    uint64
	sequence uint64
	muted    bool
	samples  map[cellKey]*sample.Sample
	streak   map[sample.Key]int // of failures, for the local breaker
	openTill map[sample.Key]time.Time
	shuns    map[sample.Key]bool
}

type flow struct {
	proxy   string
	service string
	rate    float64
	credit  float64
}

// call: every request to from makes one to; errors is what from's caller sees when it fails.
type call struct {
	from, to string
	outcome  sample.Outcome
}

type trouble struct {
	pattern string // of endpoints
	from    string // of callers; "" is everyone, and the endpoint's own sidecar sees it too
	outcome sample.Outcome
	ratio   float64
	delay   time.Duration
	silent  bool // the sidecar is dead as well
	vigil   bool // its own sidecar keeps looking, and finds nobody
}

type cellKey struct {
	endpoint sample.Key
	witness  bool
}

type delivery struct {
	at int64
	v  sample.Verdict
}

func newWorld(seed uint64) *world {
	w := &world{
		now: time.Unix(1_700_000_000, 0), cfg: DefaultConfig(), rng: rand.New(rand.NewPCG(seed, 7)), plain: map[sample.Key]bool{},
		proxies: map[string]*proxy{}, lane: map[string]float64{}, applied: map[sample.Key]sample.Verdict{}, later: map[int64][]func(){},
	}
	w.engine = New(w.cfg)
	return w
}

func key(text string) sample.Key {
	service, instance, _ := strings.Cut(text, "/")
	return sample.Key{Service: service, Instance: instance}
}

func (w *world) proxy(name string) *proxy {
	p := w.proxies[name]
	if p == nil {
		p = &proxy{name: name, epoch: uint64(w.now.UnixNano()), samples: map[cellKey]*sample.Sample{}, streak: map[sample.Key]int{}, openTill: map[sample.Key]time.Time{}, shuns: map[sample.Key]bool{}}
		w.proxies[name] = p
		w.names = slices.Sorted(maps.Keys(w.proxies))
	}
	return p
}

func (p *proxy) restart(now time.Time) {
	p.epoch, p.sequence = uint64(now.UnixNano()), 0
	p.samples, p.streak, p.openTill = map[cellKey]*sample.Sample{}, map[sample.Key]int{}, map[sample.Key]time.Time{}
}

func (p *proxy) sample(k sample.Key, witness bool) *sample.Sample {
	id := cellKey{k, witness}
	if p.samples[id] == nil {
		p.samples[id] = &sample.Sample{Endpoint: k, Witness: witness, Latency: sample.Sketch{}}
	}
	return p.samples[id]
}

func (w *world) join(k sample.Key, plain bool) {
	w.members = append(w.members, sample.Member{Key: k, Address: "127.0.0.1:1"})
	w.plain[k] = plain
	if !plain {
		w.proxy(k.String())
	}
}

func (w *world) leave(k sample.Key) {
	w.members = slices.DeleteFunc(w.members, func(m sample.Member) bool { return m.Key == k })
}

func (w *world) restartEngine() {
	left := w.engine.Verdicts()
	w.engine = New(w.cfg)
	w.engine.Restore(w.now, left)
	w.inFlight = nil
}

// step is one tick of everything.
func (w *world) step() []sample.Verdict {
	w.now = w.now.Add(tickLength)
	w.ticks++
	for _, do := range w.later[w.ticks] {
		do()
	}
	delete(w.later, w.ticks)
	for _, f := range w.flows {
		if w.proxies[f.proxy].muted && w.dead(f.proxy) {
			continue
		}
		for f.credit += f.rate * tickLength.Seconds(); f.credit >= 1; f.credit-- {
			w.attempt(w.proxies[f.proxy], f.service)
		}
	}
	for _, t := range w.faults {
		for name, p := range w.proxies {
			if t.vigil && t.matches(key(name)) {
				p.sample(key(name), true).FirstAttempts[sample.ConnectFailure] += 2
			}
		}
	}
	w.report()
	registered := slices.Clone(w.extra)
	for _, name := range w.names {
		if !w.dead(name) {
			registered = append(registered, name)
		}
	}
	w.engine.Members(w.now, w.members, registered)
	changed := w.engine.Tick(w.now)
	for _, v := range changed {
		w.inFlight = append(w.inFlight, delivery{w.ticks + 2, v})
	}
	w.changes = append(w.changes, changed...)
	w.deliver()
	return changed
}

func (w *world) dead(name string) bool {
	for _, t := range w.faults {
		if t.silent && t.matches(key(name)) {
			return true
		}
	}
	return false
}

func (w *world) deliver() {
	var waiting []delivery
	for _, d := range w.inFlight {
		if d.at > w.ticks {
			waiting = append(waiting, d)
			continue
		}
		if d.v.Enforced {
			w.applied[d.v.Endpoint] = d.v
		}
		for _, name := range w.names {
			w.engine.Acked(w.now, name, d.v.Endpoint.Service, d.v.Version)
		}
	}
	w.inFlight = waiting
}

// attempt sends one request from a proxy to a service and counts how it ends; it returns whether it was well.
func (w *world) attempt(p *proxy, service string) bool {
	k, ok := w.pick(p, service)
	if !ok {
		return false
	}
	outcome, latency, witnessed := w.serve(k, p.name)
	if outcome == sample.Timeout {
		p.shuns[k] = true // it waits, and so do the others in flight
	}
	id := fmt.Sprintf("req-%d", w.requestID)
	w.requestID++
	wait := int64(0)
	if outcome == sample.Timeout {
		wait = int64(time.Second / tickLength)
	}
	end := func() {
		p.count(w, k, outcome, latency, id)
		if own := w.proxies[k.String()]; own != nil && witnessed && !own.muted {
			count(own.sample(k, true), outcome, latency, id)
		}
	}
	if wait == 0 {
		end()
	} else {
		w.later[w.ticks+wait] = append(w.later[w.ticks+wait], end)
	}
	return outcome == sample.OK
}

// pick follows weights, as proxies do; with nothing left it takes anything.
func (w *world) pick(p *proxy, service string) (sample.Key, bool) {
	var keys []sample.Key
	var weights []float64
	var sum float64
	for _, any := range []bool{false, true} {
		for _, m := range w.members {
			if m.Key.Service != service {
				continue
			}
			weight := 100.0
			if v, judged := w.applied[m.Key]; judged {
				weight = float64(v.Weight)
			}
			if w.breakers && w.now.Before(p.openTill[m.Key]) {
				weight = 0
			}
			if w.shy && p.shuns[m.Key] && w.rng.IntN(100) > 0 {
				weight = 0
			}
			if any {
				weight = 100
			}
			keys, weights, sum = append(keys, m.Key), append(weights, weight), sum+weight
		}
		if sum > 0 {
			break
		}
	}
	if sum == 0 {
		return sample.Key{}, false
	}
	at := w.rng.Float64() * sum
	for i, weight := range weights {
		if at -= weight; at < 0 {
			return keys[i], true
		}
	}
	return keys[len(keys)-1], true
}

// serve decides how an endpoint answers a caller, and whether its own sidecar sees the same.
func (w *world) serve(k sample.Key, from string) (sample.Outcome, time.Duration, bool) {
	latency := time.Duration(20e6 * (0.5 + w.rng.ExpFloat64()))
	for _, t := range w.faults {
		if !t.matches(k) || t.from != "" && !matches(t.from, from) || w.rng.Float64() >= t.ratio {
			continue
		}
		latency += t.delay
		if t.outcome != sample.OK {
			return t.outcome, latency, t.from == "" && !t.silent
		}
	}
	if own := w.proxies[k.String()]; own != nil {
		for _, c := range w.calls {
			if c.from == k.Service && !w.attempt(own, c.to) {
				return c.outcome, latency, true
			}
		}
	}
	return sample.OK, latency, true
}

func (t trouble) matches(k sample.Key) bool { return matches(t.pattern, k.String()) }

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

func (p *proxy) count(w *world, k sample.Key, outcome sample.Outcome, latency time.Duration, id string) {
	if w.plain[k] && k.Service == "mysql" {
		id = "" // a TCP route
	}
	s := p.sample(k, false)
	count(s, outcome, latency, id)
	p.shuns[k] = outcome == sample.Timeout || outcome == sample.ConnectFailure
	switch outcome {
	case sample.OK:
		p.streak[k] = 0
	case sample.Error, sample.Timeout, sample.ConnectFailure:
		if p.streak[k]++; p.streak[k] >= 5 {
			p.openTill[k] = w.now.Add(5 * time.Second)
		}
	}
}

func count(s *sample.Sample, outcome sample.Outcome, latency time.Duration, id string) {
	s.FirstAttempts[outcome]++
	if outcome == sample.OK || outcome == sample.Error {
		s.Latency.Add(latency)
	}
	if outcome != sample.OK && id != "" {
		s.FailedIDs = append([]string{id}, s.FailedIDs[:min(len(s.FailedIDs), 3)]...)
	}
}

// report sends what every proxy has counted, through a lane that may misbehave.
func (w *world) report() {
	late := time.Duration(w.lane["late"] * float64(time.Second))
	held := w.held
	w.held = nil
	for _, name := range w.names {
		p := w.proxies[name]
		p.sequence++
		if p.muted || w.dead(name) || w.rng.Float64() < w.lane["lose"] {
			continue
		}
		r := sample.Report{Reporter: name, Epoch: p.epoch, Sequence: p.sequence, Age: late + 50*time.Millisecond}
		for _, s := range p.samples {
			c := *s
			c.Latency, c.FailedIDs = maps.Clone(s.Latency), slices.Clone(s.FailedIDs)
			c.LocallyOpen = w.breakers && !s.Witness && w.now.Before(p.openTill[s.Endpoint])
			r.Samples = append(r.Samples, c)
		}
		if w.lane["reorder"] > 0 && w.rng.Float64() < w.lane["reorder"] {
			r.Age += tickLength
			w.held = append(w.held, r) // comes after the next one
			continue
		}
		w.engine.Observe(w.now, r)
		if w.lane["duplicate"] > 0 {
			w.engine.Observe(w.now, r)
		}
	}
	for _, r := range held {
		w.engine.Observe(w.now, r)
	}
}
