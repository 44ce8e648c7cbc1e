package samplelane

import (
	"context"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"weft/internal/identity"
	"weft/internal/wire"
)

// dropDisconnected is a report that was taken when the collector's stream broke.
const dropDisconnected = "disconnected"

// maxPause bounds the time between two attempts to reach the collector's lane.
const maxPause = time.Second

// relay keeps one stream to the collector until ctx ends. Nothing is queued meanwhile: the inbox holds the newest.
func (l *lane) relay(ctx context.Context) {
	conn, err := grpc.NewClient(l.cfg.Collector,
		grpc.WithTransportCredentials(credentials.NewTLS(l.source.ClientTLS(identity.Allow(identity.RoleCollector)))),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxPause}}))
	if err != nil {
		l.log.Error("collector's lane cannot be dialled", zap.String("collector", l.cfg.Collector), zap.Error(err))
		return
	}
	defer func() { _ = conn.Close() }()
	for ctx.Err() == nil {
		err := l.stream(ctx, wire.NewSamplesClient(conn))
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("collector's lane lost, dialling again", zap.String("collector", l.cfg.Collector), zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(maxPause / 2):
		}
	}
}

// stream sends what the inbox holds, as it comes, and returns why it could not go on.
func (l *lane) stream(ctx context.Context, client wire.SamplesClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Report(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	// Receipts only tell that the stream lives; reading them is also how its end is noticed.
	broken := make(chan error, 1)
	l.home.Go(func() {
		for {
			if _, err := stream.Recv(); err != nil {
				broken <- err
				return
			}
		}
	})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case <-l.inbox.more:
			if err := l.send(stream); err != nil {
				return err
			}
		}
	}
}

func (l *lane) send(stream grpc.BidiStreamingClient[wire.SampleReport, wire.SampleReceipt]) error {
	reports := l.inbox.take(time.Now())
	for i, report := range reports {
		if err := stream.Send(report); err != nil {
			for range reports[i:] {
				l.inbox.drop(dropDisconnected)
			}
			return err
		}
		l.relayed.Add(stream.Context(), 1)
	}
	return nil
}
