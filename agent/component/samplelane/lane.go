package samplelane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"weft/internal/identity"
	"weft/internal/wire"
)

// lane serves wire.Samples to proxies and relays what they report.
type lane struct {
	wire.UnimplementedSamplesServer
	cfg    *Config
	source *identity.Source
	log    *zap.Logger
	inbox  *inbox

	received, relayed metric.Int64Counter

	addr   string
	cancel context.CancelFunc
	server *grpc.Server
	home   sync.WaitGroup
}

func newLane(cfg *Config, source *identity.Source, set component.TelemetrySettings) (*lane, error) {
	l := &lane{cfg: cfg, source: source, log: set.Logger}
	meter := set.MeterProvider.Meter("weft/samplelane")
	var errs [3]error
	var dropped metric.Int64Counter
	l.received, errs[0] = meter.Int64Counter("weft_lane_reports_received", metric.WithDescription("Reports taken from proxies."))
	l.relayed, errs[1] = meter.Int64Counter("weft_lane_reports_relayed", metric.WithDescription("Reports sent to the collector."))
	dropped, errs[2] = meter.Int64Counter("weft_lane_reports_dropped", metric.WithDescription("Reports not sent, by reason."))
	reasons := map[string]metric.MeasurementOption{}
	for _, reason := range []string{dropSuperseded, dropStale, dropReordered, dropOverflow, dropDisconnected} {
		reasons[reason] = metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", reason)))
	}
	l.inbox = newInbox(func(reason string) { dropped.Add(context.Background(), 1, reasons[reason]) })
	return l, errors.Join(errs[:]...)
}

// Start opens the port, so that one in use is an error at once; handshakes succeed as soon as the agent has a
// certificate.
func (l *lane) Start(context.Context, component.Host) error {
	listener, err := net.Listen("tcp", l.cfg.Endpoint)
	if err != nil {
		return fmt.Errorf("sample lane: %w", err)
	}
	l.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.server = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(l.source.ServerTLS(identity.Allow(identity.RoleProxy)))),
		// A proxy that vanished without a word frees its stream.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
	)
	wire.RegisterSamplesServer(l.server, l)
	l.home.Go(func() { _ = l.source.Run(ctx) })
	l.home.Go(func() {
		if err := l.server.Serve(listener); err != nil {
			l.log.Error("sample lane stopped", zap.Error(err))
		}
	})
	if l.cfg.Collector != "" {
		l.home.Go(func() { l.relay(ctx) })
	}
	l.log.Info("sample lane open", zap.String("address", l.addr), zap.String("collector", l.cfg.Collector))
	return nil
}

// Shutdown closes the port at once: the newest counts come again, to whoever serves next.
func (l *lane) Shutdown(context.Context) error {
	if l.cancel == nil {
		return nil
	}
	l.cancel()
	l.server.Stop()
	l.home.Wait()
	return nil
}

// Readiness says why proxies cannot be served yet.
func (l *lane) Readiness() error {
	if l.source.NotAfter().IsZero() {
		return fmt.Errorf("no certificate yet: %w", cmp.Or(l.source.Err(), errors.New("control has not answered")))
	}
	return nil
}

// Report takes one proxy's stream. What the proxy calls itself is overwritten by what its certificate says.
func (l *lane) Report(stream grpc.BidiStreamingServer[wire.SampleReport, wire.SampleReceipt]) error {
	peer, err := identity.PeerFromContext(stream.Context())
	if err != nil {
		return err
	}
	for {
		report, err := stream.Recv()
		if err != nil {
			return nil // the proxy has left, or we stop
		}
		report.Reporter = peer.Reporter()
		l.received.Add(stream.Context(), 1)
		l.inbox.put(time.Now(), report)
		if err := stream.Send(&wire.SampleReceipt{Sequence: report.GetSequence()}); err != nil {
			return nil
		}
	}
}
