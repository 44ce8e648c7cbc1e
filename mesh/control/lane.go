package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weft/internal/wire"
)

const (
	firstRedial   = 50 * time.Millisecond
	longestRedial = time.Second
	laneSilence   = 5 * time.Second        // a collector speaks every second
	reportEvery   = time.Second            // a full report, also when nothing changed
	reportPause   = 100 * time.Millisecond // between two reports, when much changes
)

// lane keeps one stream to one collector open: reports up, verdicts down.
type lane struct {
	address string
	secure  *tls.Config
	ledger  *ledger
	report  func() *wire.ControlReport
	changed chan struct{} // something worth a report; at most one signal
	metrics *metrics
}

// Run dials for ever, at most a second apart, and returns when ctx ends.
func (l *lane) Run(ctx context.Context) error {
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
		l.metrics.laneUp.WithLabelValues(l.address).Set(0)
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
func (l *lane) steer(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := wire.NewHealthClient(conn).Steer(ctx, grpc.WaitForReady(false))
	if err != nil {
		return err
	}
	received := make(chan error, 1)
	heard := make(chan struct{}, 1)
	go func() { received <- l.receive(stream, heard) }()
	sent := l.send(ctx, stream, heard)
	cancel(sent)
	if err := <-received; !errors.Is(sent, errSilent) { // the receiver knows the status
		return err
	}
	return sent
}

func (l *lane) receive(stream grpc.BidiStreamingClient[wire.ControlReport, wire.VerdictUpdate], heard chan struct{}) error {
	defer close(heard)
	for {
		update, err := stream.Recv()
		if err != nil {
			return err
		}
		did := l.ledger.apply(time.Now(), l.address, update)
		l.metrics.updates.WithLabelValues(string(did)).Inc()
		l.metrics.laneUp.WithLabelValues(l.address).Set(1)
		if did == partial || did == excess {
			return fmt.Errorf("update %d.%d not usable: %s", update.GetTerm(), update.GetVersion(), did)
		}
		notify(heard)
	}
}

var errSilent = errors.New("the collector has been silent for too long")

// send reports on every change and every second until the stream ends or the collector falls silent.
func (l *lane) send(ctx context.Context, stream grpc.BidiStreamingClient[wire.ControlReport, wire.VerdictUpdate], heard <-chan struct{}) error {
	every := time.NewTicker(reportEvery)
	defer every.Stop()
	silence := time.NewTimer(laneSilence)
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
			case <-l.changed:
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

// membership is the whole membership, who should be reporting, and what each proxy has acknowledged of the term in force.
func membership(r *registry, t *tracker, term uint64) *wire.ControlReport {
	out := &wire.ControlReport{Full: true, Proxies: r.holders()}
	for _, e := range r.endpoints() {
		out.Members = append(out.Members, &wire.Member{
			Service: e.Key.Service, Instance: e.Key.Instance, Address: e.Address, Version: e.Version,
			Protocol: e.Protocol, Zone: e.Zone,
		})
	}
	for _, p := range t.proxies() {
		out.Proxies = append(out.Proxies, p.Proxy)
		for _, service := range sortedKeys(p.applied) {
			if a := p.applied[service]; a.Term == term && a.Version > 0 {
				out.Acks = append(out.Acks, &wire.ProxyAck{Proxy: p.Proxy, Service: service, VerdictVersion: a.Version})
			}
		}
	}
	slices.Sort(out.Proxies)
	out.Proxies = slices.Compact(out.Proxies)
	return out
}
