package queue

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/agent/component/queue/deadletter"
	"weft/agent/component/queue/export"
	"weft/internal/wal"
)

const (
	// linger is how long a small request waits for more while others are under way.
	linger = 10 * time.Millisecond
	// settleEvery bounds how often the cursor is written.
	settleEvery = 250 * time.Millisecond
	// maxAhead bounds the parcels that are done, or under way, behind one that the collector does not take.
	maxAhead = 4096
	// firstPause is before the first repeat; it doubles up to RetryWithin.
	firstPause = 200 * time.Millisecond
)

// sender reads a line's log from the cursor on and gets it to the collector: one goroutine packs parcels, in the order
// of the log, and InFlight others deliver them.
type sender struct {
	*line
	client  *export.Client
	tail    *wal.Tail
	held    *record // read, and too large for the parcel of the moment
	size    amount  // of held
	parcels parcels
	flying  atomic.Int32
	trouble atomic.Uint32 // the code that the log told of last
}

// run sends until ctx ends. What is under way then gets a moment to be answered; the rest stays in the log.
func (l *line) run(ctx context.Context, c *export.Client) {
	s := &sender{line: l, client: c, tail: l.log.Tail(l.sent), parcels: parcels{keep: 2 * l.cfg.RequestBytes}}
	answered, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	ready := make(chan *parcel)
	var couriers, keeper sync.WaitGroup
	for range l.cfg.InFlight {
		couriers.Go(func() {
			for p := range ready {
				s.carry(ctx, answered, p)
			}
		})
	}
	keeper.Go(func() { l.keepSettled(ctx) })
	s.feed(ctx, ready)
	close(ready)
	s.tail.Close()
	patience := time.AfterFunc(l.cfg.Drain, giveUp)
	couriers.Wait()
	patience.Stop()
	keeper.Wait()
	l.settle()
}

func (l *line) keepSettled(ctx context.Context) {
	for wait(ctx, l.moved, 0) {
		l.settle()
		wait(ctx, nil, settleEvery)
	}
}

// feed packs what the log holds, and waits for more.
func (s *sender) feed(ctx context.Context, ready chan<- *parcel) {
	for ctx.Err() == nil {
		changed := s.log.Changed()
		p := s.parcels.get()
		err := s.pack(p)
		if err == io.EOF && !p.empty() && s.flying.Load() > 0 {
			// A request now or a fuller one in a moment: the line is in use, so there is time.
			drain(s.home)
			wait(ctx, s.home, linger)
			err = s.pack(p)
		}
		switch {
		case !p.empty():
			s.handOver(ctx, p, ready)
		case err == io.EOF:
			s.caughtUp()
			wait(ctx, changed, 0)
		case errors.Is(err, wal.ErrClosed):
			return
		case err != nil:
			s.deps.Log.Error("queue: cannot be read, trying again", zap.String("signal", string(s.signal)), zap.Error(err))
			s.tail.Close()
			wait(ctx, nil, s.cfg.RetryWithin)
		}
	}
}

// pack adds to the parcel what follows in the log, until the next record does not fit, which is no error, or io.EOF
// says that there is none for now.
func (s *sender) pack(p *parcel) error {
	for {
		if s.held == nil {
			if err := s.read(); err != nil {
				return err
			}
		}
		if !p.fits(len(s.held.batch), s.cfg.RequestBytes) {
			return nil
		}
		p.add(*s.held, s.size, s.tail.Position())
		s.held = nil
	}
}

// read takes the next record of the log in hand, where it is valid until the next read.
func (s *sender) read() error {
	before := s.line.damagedRanges()
	at, raw, err := s.tail.Next()
	if s.line.damagedRanges() != before {
		s.rotate() // only once it has read all of a file does it know what the file has lost
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.books.passed(s.tail.Position().File)
		return err
	}
	r, err := parseRecord(raw)
	if err != nil {
		s.books.damaged++ // a record of a version to come: zero items
	}
	s.held, s.size = &r, amount{int64(r.items), int64(len(raw))}
	s.books.read(at, s.size)
	s.books.passed(at.File)
	return nil
}

func (l *line) damagedRanges() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books.damaged
}

// handOver gives the parcel to the next courier that is free.
func (s *sender) handOver(ctx context.Context, p *parcel, ready chan<- *parcel) {
	p.mark = &mark{received: p.letters[0].received, next: p.next}
	s.mu.Lock()
	s.ahead = append(s.ahead, p.mark)
	crowd := len(s.ahead)
	s.mu.Unlock()
	for crowd > maxAhead && wait(ctx, s.home, 0) {
		s.mu.Lock()
		crowd = len(s.ahead)
		s.mu.Unlock()
	}
	s.flying.Add(1)
	select {
	case ready <- p:
	case <-ctx.Done():
	}
}

// caughtUp: everything in the log was read. If everything was sent, too, the cursor steps over what cannot be read.
func (s *sender) caughtUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.tail.Position(); len(s.ahead) == 0 && at != s.sent {
		s.sent = at
		tell(s.moved)
	}
}

// carry delivers a parcel, however long that takes; when the agent stops before, its records stay in the log.
func (s *sender) carry(ctx, answered context.Context, p *parcel) {
	delivered := s.deliver(ctx, answered, p, p.letters)
	s.flying.Add(-1)
	if delivered {
		s.finish(p)
	}
	tell(s.home)
	s.parcels.put(p)
}

// finish moves the line's cursor over what is done from its beginning on.
func (s *sender) finish(p *parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mark.done = true
	s.books.queued.bytes -= p.amount.bytes
	done := 0
	for done < len(s.ahead) && s.ahead[done].done {
		s.sent = s.ahead[done].next
		done++
	}
	if done > 0 {
		s.ahead = append(s.ahead[:0], s.ahead[done:]...)
		tell(s.moved)
	}
}

// deliver sends letters of a parcel until the collector has answered for each of them. It is false when ctx ended before.
// A request under way is awaited until answered ends.
func (s *sender) deliver(ctx, answered context.Context, p *parcel, letters []letter) bool {
	for pause := firstPause; ; pause = min(2*pause, s.cfg.RetryWithin) {
		if !s.connect(ctx) {
			return false
		}
		got, err := s.client.Export(answered, s.signal, p.body(letters))
		s.report(err)
		switch {
		case err == nil:
			s.book(letters, got)
			return true
		case export.Final(err) && len(letters) > 1: // one of them is at fault, and the others are not to suffer
			half := len(letters) / 2
			return s.deliver(ctx, answered, p, letters[:half]) && s.deliver(ctx, answered, p, letters[half:])
		case export.Final(err):
			if s.bury(p, letters[0], err) {
				return true
			}
		}
		rest := max(export.Patience(err), time.Duration((0.8+0.4*rand.Float64())*float64(min(pause, s.cfg.RetryWithin))))
		wait(ctx, nil, rest)
		if ctx.Err() != nil {
			return false
		}
	}
}

// connect waits for the collector, and tells the log if that takes more than a moment.
func (s *sender) connect(ctx context.Context) bool {
	if s.client.Connected() {
		return true
	}
	moment, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if s.client.Ready(moment) != nil && ctx.Err() == nil {
		s.report(status.Error(codes.Unavailable, "no connection to "+s.cfg.Collector.Endpoint))
	}
	return s.client.Ready(ctx) == nil
}

// book accounts for letters that the collector has taken, but for the items that it rejected.
func (s *sender) book(letters []letter, got export.Answer) {
	items := count(letters)
	rejected := min(got.Rejected, items)
	s.mu.Lock()
	s.books.sent += items - rejected
	s.books.drop(dropRejected, rejected)
	s.books.queued.items -= items
	s.books.lag = max(0, s.deps.Now().Sub(letters[0].received))
	s.mu.Unlock()
	if rejected > 0 {
		s.deps.Log.Warn("collector rejected items of a request", zap.String("signal", string(s.signal)), zap.Int64("items", rejected), zap.String("reason", got.Message))
	}
}

// bury makes a dead letter of one that the collector will never take.
func (s *sender) bury(p *parcel, l letter, why error) bool {
	reason := status.Convert(why).Message()
	kept, err := s.dead.Add(deadletter.Letter{Signal: s.signal, Items: l.items, Received: l.received, Batch: p.data[l.from:l.to], Reason: reason})
	if err != nil {
		s.deps.Log.Error("queue: dead letter not kept yet, trying again", zap.String("signal", string(s.signal)), zap.Error(err))
		return false
	}
	s.mu.Lock()
	s.books.drop(dropDeadLetter, int64(l.items))
	s.books.queued.items -= int64(l.items)
	s.mu.Unlock()
	s.deps.Log.Error("collector will never take a batch", zap.String("signal", string(s.signal)), zap.Int("items", l.items),
		zap.Bool("kept as dead letter", kept), zap.String("reason", reason))
	return true
}

// report tells the log of trouble when it begins, changes and ends, and not of every repeat.
func (s *sender) report(err error) {
	code := status.Code(err)
	if export.Final(err) || s.trouble.Swap(uint32(code)) == uint32(code) {
		return
	}
	if code == codes.OK {
		s.deps.Log.Info("collector takes what is queued", zap.String("signal", string(s.signal)))
		return
	}
	s.deps.Log.Warn("collector does not take what is queued, trying again", zap.String("signal", string(s.signal)), zap.Error(err))
}

// wait returns on a word from ch or after the pause, where 0 is for ever; it is false when ctx ended.
func wait(ctx context.Context, ch <-chan struct{}, pause time.Duration) bool {
	var expired <-chan time.Time
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-ch:
	case <-expired:
	case <-ctx.Done():
		return false
	}
	return true
}

// tell leaves a word in a channel with room for one.
func tell(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func drain(ch <-chan struct{}) {
	select {
	case <-ch:
	default:
	}
}
