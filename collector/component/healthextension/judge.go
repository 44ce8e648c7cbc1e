package healthextension

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"weft/collector/health"
	"weft/internal/sample"
	"weft/internal/wire"
)

const tick = 250 * time.Millisecond

// judge owns the engine: it gives it time, reports and membership, and hands on what it concludes.
type judge struct {
	log    *zap.Logger
	ledger *ledger
	dirty  chan struct{} // has an element when the ledger is behind
	diary  *diary

	mu        sync.Mutex
	engine    *health.Engine
	listeners []*listener
	waiting   map[chan struct{}]bool // steer streams, rung at every change
	failed    uint64                 // ledger writes
}

type listener struct{ hear func(sample.Verdict) }

func newJudge(cfg *Config, log *zap.Logger) (*judge, error) {
	l, left, err := openLedger(cfg.Data, time.Now())
	if err != nil {
		return nil, err
	}
	j := &judge{log: log, ledger: l, dirty: make(chan struct{}, 1), diary: newDiary(cfg.Instance), engine: health.New(cfg.engine()), waiting: map[chan struct{}]bool{}}
	j.engine.Restore(time.Now(), left)
	if len(left) > 0 {
		log.Info("verdicts of the earlier process taken over", zap.Int("verdicts", len(left)))
	}
	return j, nil
}

// run ticks and keeps the ledger until ctx ends; the ledger is up to date then.
func (j *judge) run(ctx context.Context) {
	var keeping sync.WaitGroup
	keeping.Go(func() { j.keep(ctx) })
	defer keeping.Wait()
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-clock.C:
			j.tick(now)
		}
	}
}

func (j *judge) tick(now time.Time) {
	j.mu.Lock()
	changed := j.engine.Tick(now)
	listeners := slices.Clone(j.listeners)
	if len(changed) > 0 {
		for bell := range j.waiting {
			ring(bell)
		}
	}
	j.mu.Unlock()
	for _, v := range changed {
		j.record(v)
		j.diary.add(v, now)
		for _, l := range listeners {
			l.hear(v)
		}
	}
	if len(changed) > 0 {
		ring(j.dirty)
	}
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// record writes the change to the process's own log, with its evidence.
func (j *judge) record(v sample.Verdict) {
	e := v.Evidence
	j.log.Info("verdict", zap.Stringer("endpoint", v.Endpoint), zap.Stringer("state", v.State), zap.Int("weight", v.Weight),
		zap.String("test", e.Test), zap.String("reason", v.Reason), zap.Uint64("version", v.Version), zap.Bool("enforced", v.Enforced),
		zap.Uint64("attempts", e.Attempts), zap.Uint64("failures", e.Failures), zap.Float64("baseline", e.BaselineErrorRatio),
		zap.Duration("p99", e.P99), zap.Duration("window", e.Window), zap.Strings("reporters", e.Reporters),
		zap.Strings("witnesses", e.Witnesses), zap.Strings("request_ids", e.RequestIDs))
}

// keep writes the ledger when verdicts have changed. A disk that hangs delays no verdict.
func (j *judge) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-j.dirty:
				j.saveOnce()
			default:
			}
			return
		case <-j.dirty:
			j.saveOnce()
		}
	}
}

func (j *judge) saveOnce() {
	if err := j.ledger.save(j.verdicts()); err != nil {
		j.mu.Lock()
		j.failed++
		j.mu.Unlock()
		j.log.Warn("verdicts not kept for a restart", zap.String("file", j.ledger.path), zap.Error(err))
	}
}

func (j *judge) observe(report sample.Report) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.engine.Observe(time.Now(), report)
}

// hear takes control's report: membership when it is whole, acknowledgements always.
func (j *judge) hear(in *wire.ControlReport) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if in.GetFull() {
		members := make([]sample.Member, 0, len(in.GetMembers()))
		for _, m := range in.GetMembers() {
			members = append(members, sample.Member{
				Key: sample.Key{Service: m.GetService(), Instance: m.GetInstance()}, Address: m.GetAddress(),
				Version: m.GetVersion(), Protocol: m.GetProtocol(), Zone: m.GetZone(),
			})
		}
		j.engine.Members(now, members, in.GetProxies())
	}
	for _, a := range in.GetAcks() {
		j.engine.Acked(now, a.GetProxy(), a.GetService(), a.GetVerdictVersion())
	}
}

func (j *judge) verdicts() []sample.Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.engine.Verdicts()
}

func (j *judge) history(key sample.Key) []sample.Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.engine.History(key)
}

// speaks reports whether the engine has settled: until then control's earlier verdicts live to their end.
func (j *judge) speaks() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.engine.Settled(time.Now())
}

func (j *judge) stats() (health.Stats, uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.engine.Stats(), j.failed
}

// join begins to hear.
func (l *listener) join(j *judge) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.listeners = append(j.listeners, l)
}

func (j *judge) unlisten(gone []*listener) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.listeners = slices.DeleteFunc(j.listeners, func(l *listener) bool { return slices.Contains(gone, l) })
}

// wait registers a bell that rings at every change.
func (j *judge) wait() (bell chan struct{}, leave func()) {
	bell = make(chan struct{}, 1)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting[bell] = true
	return bell, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.waiting, bell)
	}
}
