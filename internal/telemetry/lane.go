package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"weft/internal/sample"
	"weft/internal/wire"
)

const (
	laneInterval = 250 * time.Millisecond
	laneBackoff  = 500 * time.Millisecond
	// laneUnread is how many reports may be without a receipt. More would only grow old in buffers, and a report's age
	// is known from its reading to its sending.
	laneUnread = 4
	// laneSilence without a receipt, while one is owed, breaks the stream.
	laneSilence = 3 * time.Second
)

// Lane streams a proxy's own counts to the agent, the newest report only: a report contains all earlier ones.
type Lane struct {
	dial     func(context.Context) (*grpc.ClientConn, error)
	read     func() sample.Report
	sequence uint64
	sent     atomic.Uint64
	skipped  atomic.Uint64 // readings not made because earlier ones had no receipt yet
	broken   atomic.Uint64 // streams that ended in an error
}

// NewLane starts nothing. dial connects to the agent with the caller's own credentials; read returns everything counted
// since its epoch began. The lane stamps the sequence.
func NewLane(dial func(context.Context) (*grpc.ClientConn, error), read func() sample.Report) *Lane {
	return &Lane{dial: dial, read: read}
}

// Run streams until ctx ends, and opens the stream again when it breaks.
func (l *Lane) Run(ctx context.Context) error {
	var last string
	for ctx.Err() == nil {
		err := l.session(ctx)
		if ctx.Err() != nil {
			break
		}
		l.broken.Add(1)
		if message := fmt.Sprint(err); message != last { // an agent that is away says the same for hours
			slog.Warn("lane to the agent", "error", err)
			last = message
		}
		select {
		case <-ctx.Done():
		case <-time.After(laneBackoff):
		}
	}
	return nil
}

// session is one stream, from dial to error.
func (l *Lane) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stream, err := wire.NewSamplesClient(conn).Report(ctx)
	if err != nil {
		return err
	}
	receipts := make(chan uint64)
	ended := make(chan error, 1)
	go receive(ctx, stream, receipts, ended)
	err = l.stream(ctx, stream, receipts, ended)
	cancel()
	for range receipts { // closed by receive, which is home then
	}
	return err
}

func receive(ctx context.Context, stream wire.Samples_ReportClient, receipts chan<- uint64, ended chan<- error) {
	defer close(receipts)
	for {
		receipt, err := stream.Recv()
		if err != nil {
			ended <- err
			return
		}
		select {
		case receipts <- receipt.GetSequence():
		case <-ctx.Done():
			ended <- ctx.Err()
			return
		}
	}
}

func (l *Lane) stream(ctx context.Context, stream wire.Samples_ReportClient, receipts <-chan uint64, ended <-chan error) error {
	tick := time.NewTicker(laneInterval)
	defer tick.Stop()
	acknowledged, heard := l.sequence, time.Now()
	for {
		if l.sequence-acknowledged < laneUnread {
			if l.sequence == acknowledged {
				heard = time.Now() // nothing is owed
			}
			if err := l.report(stream); errors.Is(err, io.EOF) { // broken: receive knows why
				for range receipts {
				}
				return <-ended
			} else if err != nil {
				return err
			}
		} else {
			l.skipped.Add(1)
			if time.Since(heard) > laneSilence {
				return fmt.Errorf("no receipt for %v", laneSilence)
			}
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case err := <-ended:
				return err
			case sequence, open := <-receipts:
				if !open {
					return <-ended
				}
				acknowledged, heard = max(acknowledged, min(sequence, l.sequence)), time.Now()
			case <-tick.C:
				waiting = false
			}
		}
	}
}

func (l *Lane) report(stream wire.Samples_ReportClient) error {
	report := l.read()
	l.sequence++
	report.Sequence = l.sequence
	if err := stream.Send(report.ToWire()); err != nil {
		return fmt.Errorf("send a report: %w", err)
	}
	l.sent.Add(1)
	return nil
}
