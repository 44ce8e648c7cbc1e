package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config is what to send and where.
type Config struct {
	Endpoint    string        // host:port of OTLP/gRPC, or http://host:port of OTLP/HTTP
	Spans, Logs float64       // a second; 0 sends none
	Traces      int           // of one batch; default 64, so 512 items
	Scattered   bool          // batches as applications send them: one span of each of 8 × Traces traces
	Connections int           // default 2
	InFlight    int           // batches at once on each connection and signal; default 4
	First       uint64        // the number of the first trace
	For         time.Duration // how long to make batches; 0: until Finish, or Limit
	Limit       uint64        // traces in all, of the signal with the higher rate, and of the other in proportion; 0: no limit
}

func (c Config) withDefaults() Config {
	c.Traces = cmp.Or(c.Traces, 64)
	c.Connections = cmp.Or(c.Connections, 2)
	c.InFlight = cmp.Or(c.InFlight, 4)
	return c
}

// Counts are what became of one signal's items so far.
type Counts struct {
	Acknowledged, Bytes int64
	Batches             int64
	Refused             int64         // batches that were asked to come again
	Disconnected        int64         // attempts that had no answer: what became of them is not known until they are sent again
	Rejected            int64         // items left out by partial_success
	Failed              int64         // items of batches that were refused for good
	Behind              time.Duration // the longest that a batch started after its time
}

// lane is one signal's state; its fields are counted by many workers.
type lane struct {
	signal   Signal
	rate     float64 // items a second
	interval time.Duration
	limit    uint64 // traces; 0: none
	next     atomic.Uint64
	behind   atomic.Int64

	acknowledged, bytes, batches, refused, disconnected, rejected, failed atomic.Int64
}

// Sender sends batches on time, whether or not the answers come on time (an open loop), as far as InFlight allows.
type Sender struct {
	Model  *Model
	Ledger *Ledger
	cfg    Config
	conns  []wire
	lanes  []*lane
	finish chan struct{}
	once   sync.Once
	faults atomic.Pointer[error] // the latest refusal
}

// NewSender connects lazily: an endpoint that is down now may come.
func NewSender(cfg Config, m *Model) (*Sender, error) {
	s := &Sender{Model: m, Ledger: newLedger(), cfg: cfg.withDefaults(), finish: make(chan struct{})}
	if s.cfg.Traces*SpansPerTrace > 1<<16-1 {
		return nil, fmt.Errorf("a batch of %d traces is too large", s.cfg.Traces)
	}
	for _, l := range []*lane{
		{signal: Spans, rate: cfg.Spans}, {signal: Logs, rate: cfg.Logs},
	} {
		if l.rate > 0 {
			l.interval = time.Duration(float64(s.cfg.Traces*SpansPerTrace) / l.rate * float64(time.Second))
			l.limit = uint64(float64(cfg.Limit) * min(1, l.rate/max(cfg.Spans, cfg.Logs)))
			s.lanes = append(s.lanes, l)
		}
	}
	for range s.cfg.Connections {
		conn, err := dial(s.cfg.Endpoint)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.conns = append(s.conns, conn)
	}
	return s, nil
}

func (s *Sender) close() error {
	var errs []error
	for _, conn := range s.conns {
		errs = append(errs, conn.close())
	}
	return errors.Join(errs...)
}

// Finish lets Run end when every batch that was begun is acknowledged.
func (s *Sender) Finish() { s.once.Do(func() { close(s.finish) }) }

// Run sends until the configured end, and then until every batch that was begun is acknowledged. When ctx ends first,
// what is not acknowledged by then is in no list.
func (s *Sender) Run(ctx context.Context) error {
	defer func() { _ = s.close() }()
	start := time.Now()
	if s.cfg.For > 0 {
		timer := time.AfterFunc(s.cfg.For, s.Finish)
		defer timer.Stop()
	}
	var group errgroup.Group
	for _, l := range s.lanes {
		for n := range s.cfg.Connections * s.cfg.InFlight {
			group.Go(func() error { return s.work(ctx, l, s.conns[n%len(s.conns)], start) })
		}
	}
	return group.Wait()
}

// Counts are the counts of a signal so far.
func (s *Sender) Counts(signal Signal) Counts {
	for _, l := range s.lanes {
		if l.signal == signal {
			return Counts{
				l.acknowledged.Load(), l.bytes.Load(), l.batches.Load(), l.refused.Load(), l.disconnected.Load(), l.rejected.Load(), l.failed.Load(),
				time.Duration(l.behind.Load()),
			}
		}
	}
	return Counts{}
}

// LastFault is the latest answer that was not an acknowledgement; nil when there was none.
func (s *Sender) LastFault() error {
	if err := s.faults.Load(); err != nil {
		return *err
	}
	return nil
}

// batch is the nth of a lane. Scattered, eight batches in a row share their traces, and so the moment their times are
// drawn from.
func (s *Sender) batch(l *lane, n uint64, start time.Time) Batch {
	if !s.cfg.Scattered {
		return Batch{
			Signal: l.signal, To: SpansPerTrace, Traces: uint16(s.cfg.Traces), First: s.cfg.First + n*uint64(s.cfg.Traces),
			Base: start.Add(time.Duration(n) * l.interval).UnixNano(),
		}
	}
	traces, place := s.cfg.Traces*SpansPerTrace, n%SpansPerTrace
	return Batch{
		Signal: l.signal, From: uint8(place), To: uint8(place) + 1, Traces: uint16(traces),
		First: s.cfg.First + n/SpansPerTrace*uint64(traces), Base: start.Add(time.Duration(n-place) * l.interval).UnixNano(),
	}
}

// work takes the lane's next batch, waits for its time, and sends it until it is acknowledged.
func (s *Sender) work(ctx context.Context, l *lane, conn wire, start time.Time) error {
	encoder, timer := s.Model.NewEncoder(), time.NewTimer(0)
	defer timer.Stop()
	var buffer []byte
	for {
		n := l.next.Add(1) - 1
		b := s.batch(l, n, start)
		if l.limit > 0 && b.First+uint64(b.Traces) > s.cfg.First+l.limit {
			return nil
		}
		due := start.Add(time.Duration(n) * l.interval)
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.finish:
			return nil
		case <-timer.C:
		}
		select {
		case <-s.finish: // a lane that is behind never waits for its timer
			return nil
		default:
		}
		late := int64(time.Since(due))
		for seen := l.behind.Load(); late > seen && !l.behind.CompareAndSwap(seen, late); seen = l.behind.Load() {
		}
		buffer = encoder.Append(buffer[:0], b)
		if err := s.deliver(ctx, l, conn, b, buffer); err != nil {
			return err
		}
	}
}
