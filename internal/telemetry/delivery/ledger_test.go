package delivery

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"
)

// moody is an agent that answers as it pleases, and keeps its own list of what it took.
type moody struct {
	t    *testing.T
	rng  *rand.Rand
	grim float64 // how likely it is not to take a batch

	took     []uint64 // items of requests that it acknowledged
	rejected uint64   // items that it left out of a request it acknowledged
	refused  uint64   // items of requests that it will never take
	lost     int      // requests that it took, but whose answer was lost
}

func (m *moody) send(ctx context.Context, body mem.BufferSlice) (int, error) {
	ids := items(m.t, body.Materialize())
	switch mood := m.rng.Float64() / m.grim; {
	case mood < 0.15: // refuses, and says when to come again
		busy, err := status.New(codes.Unavailable, "full").WithDetails(&errdetails.RetryInfo{
			RetryDelay: durationpb.New(time.Duration(m.rng.IntN(12_000)) * time.Millisecond)})
		if err != nil {
			m.t.Error(err)
		}
		return 0, busy.Err()
	case mood < 0.3:
		return 0, status.Error(codes.Unavailable, "away")
	case mood < 0.45:
		m.refused += uint64(len(ids))
		return 0, status.Error([]codes.Code{codes.InvalidArgument, codes.ResourceExhausted, codes.Internal}[m.rng.IntN(3)], "never")
	case mood < 0.7: // hangs; for all it knows, it may have taken the batch
		m.lost += m.rng.IntN(2)
		select {
		case <-ctx.Done():
		case <-time.After(sendTimeout):
		}
		return 0, status.Error(codes.DeadlineExceeded, "slow")
	case mood < 0.8: // claims to have rejected more than there was
		m.rejected += uint64(len(ids))
		return len(ids) + m.rng.IntN(1000), nil
	case mood < 1:
		n := m.rng.IntN(len(ids) + 1)
		m.rejected += uint64(n)
		m.took = append(m.took, ids[n:]...)
		return n, nil
	}
	time.Sleep(time.Duration(m.rng.IntN(50)) * time.Millisecond)
	m.took = append(m.took, ids...)
	return 0, nil
}

// items reads the numbers that newItem wrote.
func items(t *testing.T, body []byte) []uint64 {
	var ids []uint64
	for len(body) > 0 {
		num, typ, n := protowire.ConsumeTag(body)
		if n < 0 || num != ItemField || typ != protowire.BytesType {
			t.Fatalf("field %d of type %d in a request", num, typ)
		}
		item, m := protowire.ConsumeBytes(body[n:])
		if m < 8 {
			t.Fatal("a torn item")
		}
		ids = append(ids, binary.BigEndian.Uint64(item))
		body = body[n+m:]
	}
	return ids
}

func newItem(id uint64, size int) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, size+8), id)[:size+8]
}

// run is one proxy's life: several producers, an agent with its moods, a look at the ledger now and then, a stop.
type run struct {
	t      *testing.T
	q      *Queue
	agent  *moody
	seed   uint64
	mu     sync.Mutex
	added  uint64
	giants uint64
}

const producers = 3

func (r *run) produce(producer uint64, until time.Time) {
	rng := rand.New(rand.NewPCG(r.seed, producer))
	pace := 1 + rng.IntN(20) // milliseconds, at most
	for n := uint64(0); time.Now().Before(until); n++ {
		size := rng.IntN(2000)
		if rng.IntN(200) == 0 {
			size = maxItemSize + 1
		}
		r.q.Add(newItem(producer<<32|n, size), rng.IntN(10) == 0)
		r.mu.Lock()
		r.added++
		if size > maxItemSize {
			r.giants++
		}
		r.mu.Unlock()
		if rng.IntN(2) == 0 {
			time.Sleep(time.Duration(1+rng.IntN(pace)) * time.Millisecond)
		}
	}
}

// look checks the equation, and that nothing counted is ever taken back.
func (r *run) look(before Ledger) Ledger {
	l := r.q.Ledger()
	if l.Accepted != l.Sent+dropped(l)+l.Queued {
		r.t.Errorf("seed %d: does not balance: %+v", r.seed, l)
	}
	if l.Accepted < before.Accepted || l.Sent < before.Sent || dropped(l) < dropped(before) {
		r.t.Errorf("seed %d: from %+v back to %+v", r.seed, before, l)
	}
	if bytes := r.q.Bytes(); bytes > r.q.limit {
		r.t.Errorf("seed %d: %d bytes queued, %d allowed", r.seed, bytes, r.q.limit)
	}
	return l
}

func dropped(l Ledger) (n uint64) {
	for _, d := range l.Dropped {
		n += d
	}
	return n
}

func (r *run) live() Ledger {
	rng := rand.New(rand.NewPCG(r.seed, 99))
	life := time.Duration(1+rng.IntN(20)) * time.Second
	ctx, stop := context.WithTimeout(context.Background(), life)
	defer stop()
	sending, cancel := context.WithTimeout(context.Background(), life+2*time.Second)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		if err := (&Exporter{Queue: r.q, Send: r.agent.send}).Run(ctx, sending); err != nil {
			r.t.Error(err)
		}
	})
	until := time.Now().Add(life + time.Duration(rng.IntN(8)-4)*time.Second) // some outlive the exporter
	for p := range uint64(producers) {
		all.Go(func() { r.produce(p, until) })
	}
	all.Go(func() {
		var l Ledger
		for sending.Err() == nil {
			l = r.look(l)
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
	})
	all.Wait()
	return r.look(Ledger{})
}

// TestTheLedgerBalances: whatever the agent does, at every moment accepted = sent + dropped + queued, and in the end
// each number is the one on the agent's or the producers' own list. The clock is synctest's.
func TestTheLedgerBalances(t *testing.T) {
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.DiscardHandler))
	var sum Ledger
	lost := 0
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 7))
				r := &run{t: t, seed: seed, q: NewQueue((2 + rng.IntN(40)) * chunkBytes),
					agent: &moody{t: t, rng: rng, grim: []float64{0.01, 0.1, 0.5, 0.9, 1.5}[seed%5]}}
				l := r.live()
				r.compare(l)
				sum.Accepted, sum.Sent = sum.Accepted+l.Accepted, sum.Sent+l.Sent
				for reason, n := range l.Dropped {
					sum.Dropped[reason] += n
				}
				lost += r.agent.lost
			})
		})
	}
	t.Logf("in all: %+v, %d answers lost", sum, lost)
	for reason, n := range sum.Dropped {
		if n == 0 && Reason(reason) != Superseded {
			t.Errorf("no run dropped anything for the reason %s", Reason(reason))
		}
	}
}

// compare holds the ledger at the end against the lists of those around it.
func (r *run) compare(l Ledger) {
	for what, pair := range map[string][2]uint64{
		"accepted": {l.Accepted, r.added}, "sent": {l.Sent, uint64(len(r.agent.took))}, "queued": {l.Queued, 0},
		"rejected": {l.Dropped[Rejected], r.agent.rejected}, "refused": {l.Dropped[Refused], r.agent.refused},
		"oversized": {l.Dropped[Oversized], r.giants},
	} {
		if pair[0] != pair[1] {
			r.t.Errorf("seed %d: %d %s, want %d", r.seed, pair[0], what, pair[1])
		}
	}
	var next [producers]uint64
	for _, id := range r.agent.took {
		producer, n := id>>32, id&(1<<32-1)
		if n < next[producer] {
			r.t.Fatalf("seed %d: item %d of producer %d was acknowledged twice, or out of order", r.seed, n, producer)
		}
		next[producer] = n + 1
	}
}
