package steer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weft/internal/wire"
	"weft/mesh/control/bell"
)

const (
	firstRedial   = 50 * time.Millisecond
	longestRedial = time.Second
	firstWord     = 2 * time.Minute        // a restarted collector listens before it speaks
	laneSilence   = 5 * time.Second        // then it speaks every second
	reportEvery   = time.Second            // a full report, also when nothing changed
	reportPause   = 100 * time.Millisecond // between two reports, when much changes
)

// Lane keeps one stream to one collector open: reports up, verdicts down.
type Lane struct {
	Changed bell.Bell // to be rung when there is something to report

	address string
	secure  *tls.Config
	ledger  *Ledger
	report  func() *wire.ControlReport
	updates *prometheus.CounterVec
	up      atomic.Bool
}

// NewLane starts nothing. secure demands a collector at the other end; report makes the newest report.
func NewLane(address string, secure *tls.Config, ledger *Ledger, report func() *wire.ControlReport) *Lane {
	return &Lane{
		Changed: bell.New(), address: address, secure: secure, ledger: ledger, report: report,
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_control_verdict_updates_total", Help: "Updates from a collector, by what became of them.",
			ConstLabels: prometheus.Labels{"collector": address},
		}, []string{"result"}),
	}
}

// Collect registers the lane's metrics.
func (l *Lane) Collect(r *prometheus.Registry) {
	r.MustRegister(l.updates, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_control_lane_up", Help: "1 while the collector sends verdicts.",
		ConstLabels: prometheus.Labels{"collector": l.address},
	}, func() float64 {
		if l.up.Load() {
			return 1
		}
		return 0
	}))
}

// Run dials for ever, at most a second apart, and returns when ctx ends.
func (l *Lane) Run(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///"+l.address, grpc.WithNoProxy(),
		grpc.WithTransportCredentials(credentials.NewTLS(l.secure)), grpc.WithConnectParams(redial()))
	if err != nil {
		return fmt.Errorf("collector %s: %w", l.address, err)
	}
	defer conn.Close()
	pause, said := firstRedial, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := l.steer(ctx, conn)
		l.ledger.hangUp(l.address)
		l.up.Store(false)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > laneSilence {
			pause, said = firstRedial, ""
		}
		if said != err.Error() {
			said = err.Error()
			slog.WarnContext(ctx, "no verdicts: lane to collector is down", "collector", l.address, "error", err)
		}
		sleep(ctx, pause)
		pause = min(2*pause, longestRedial)
	}
	return nil
}

func redial() grpc.ConnectParams {
	p := grpc.ConnectParams{MinConnectTimeout: 2 * time.Second}
	p.Backoff.BaseDelay, p.Backoff.Multiplier, p.Backoff.Jitter, p.Backoff.MaxDelay = firstRedial, 2, 0.2, longestRedial
	return p
}

// steer runs one stream to its end, which is always an error.
func (l *Lane) steer(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := wire.NewHealthClient(conn).Steer(ctx, grpc.WaitForReady(false))
	if err != nil {
		return err
	}
	received := make(chan error, 1)
	heard := bell.New()
	go func() { received <- l.receive(stream, heard) }()
	sent := l.send(ctx, stream, heard)
	cancel(sent)
	if err := <-received; !errors.Is(sent, errSilent) { // the receiver knows the status
		return err
	}
	return sent
}

func (l *Lane) receive(stream grpc.BidiStreamingClient[wire.ControlReport, wire.VerdictUpdate], heard bell.Bell) error {
	defer close(heard)
	for {
		update, err := stream.Recv()
		if err != nil {
			return err
		}
		did := l.ledger.apply(time.Now(), l.address, update)
		l.updates.WithLabelValues(string(did)).Inc()
		l.up.Store(true)
		if did == partial || did == excess {
			return fmt.Errorf("update %d.%d not usable: %s", update.GetTerm(), update.GetVersion(), did)
		}
		heard.Ring()
	}
}

var errSilent = errors.New("the collector has been silent for too long")

// send reports on every change and every second until the stream ends or the collector falls silent.
func (l *Lane) send(ctx context.Context, stream grpc.BidiStreamingClient[wire.ControlReport, wire.VerdictUpdate], heard bell.Bell) error {
	every := time.NewTicker(reportEvery)
	defer every.Stop()
	silence := time.NewTimer(firstWord)
	defer silence.Stop()
	for {
		if err := stream.Send(l.report()); err != nil {
			return err
		}
		sleep(ctx, reportPause)
	wait:
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case _, open := <-heard:
				if !open {
					return errors.New("the stream has ended")
				}
				silence.Reset(laneSilence)
			case <-silence.C:
				return errSilent
			case <-l.Changed:
				break wait
			case <-every.C:
				break wait
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
