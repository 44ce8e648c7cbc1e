package healthextension

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"weft/internal/identity"
	"weft/internal/sample"
	"weft/internal/wire"
)

const (
	heartbeat = time.Second
	ttl       = 10 * time.Second
)

// lane serves the mesh: reports from agents and proxies, verdicts to control.
type lane struct {
	wire.UnimplementedSamplesServer
	wire.UnimplementedHealthServer
	judge    *judge
	source   *identity.Source
	listener net.Listener
	server   *grpc.Server
	controls atomic.Int64 // steer streams open
	refused  atomic.Uint64
}

// openLane opens the port, so that one in use is an error at once; handshakes succeed when the certificate is there.
func openLane(address string, source *identity.Source, j *judge) (*lane, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("lane: %w", err)
	}
	l := &lane{judge: j, source: source, listener: listener}
	l.server = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(source.ServerTLS(identity.Allow(identity.RoleProxy, identity.RoleAgent, identity.RoleControl)))),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		// Peers may ask as often as we do, also between streams.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	wire.RegisterSamplesServer(l.server, l)
	wire.RegisterHealthServer(l.server, l)
	return l, nil
}

func (l *lane) addr() string { return l.listener.Addr().String() }

// run serves until ctx ends.
func (l *lane) run(ctx context.Context) {
	var home sync.WaitGroup
	home.Go(func() { _ = l.source.Run(ctx) })
	home.Go(func() {
		<-ctx.Done()
		l.server.Stop()
	})
	if err := l.server.Serve(l.listener); err != nil && ctx.Err() == nil {
		l.judge.log.Error("lane stopped", zap.Error(err))
	}
	home.Wait()
}

// Report takes a stream of reports. A proxy speaks for itself, whatever it writes; an agent for the proxies whose
// certificates it has checked.
func (l *lane) Report(stream grpc.BidiStreamingServer[wire.SampleReport, wire.SampleReceipt]) error {
	peer, err := l.peer(stream.Context(), identity.RoleProxy, identity.RoleAgent)
	if err != nil {
		return err
	}
	for {
		in, err := stream.Recv()
		if err != nil {
			return nil // the peer has left, or we stop
		}
		if peer.Role == identity.RoleProxy {
			in.Reporter = peer.Reporter()
		}
		if strings.Count(in.GetReporter(), "/") != 1 {
			l.refused.Add(1)
			return status.Errorf(codes.InvalidArgument, "reporter %q: want service/instance", in.GetReporter())
		}
		l.judge.observe(sample.ReportFromWire(in))
		if err := stream.Send(&wire.SampleReceipt{Sequence: in.GetSequence()}); err != nil {
			return nil
		}
	}
}

func (l *lane) peer(ctx context.Context, roles ...identity.Role) (identity.ID, error) {
	peer, err := identity.PeerFromContext(ctx)
	if err == nil {
		err = identity.Allow(roles...)(peer)
	}
	if err != nil {
		l.refused.Add(1)
		return peer, status.Error(codes.PermissionDenied, err.Error())
	}
	return peer, nil
}

// Steer tells control the verdicts: the whole set, then changes, and a heartbeat every second. Nothing is said before
// the engine has settled.
func (l *lane) Steer(stream grpc.BidiStreamingServer[wire.ControlReport, wire.VerdictUpdate]) error {
	peer, err := l.peer(stream.Context(), identity.RoleControl)
	if err != nil {
		return err
	}
	log := l.judge.log.With(zap.String("control", peer.Reporter()))
	log.Info("control takes verdicts", zap.Int64("streams", l.controls.Add(1)))
	defer l.controls.Add(-1)
	ctx, cancel := context.WithCancel(stream.Context())
	var telling sync.WaitGroup
	telling.Go(func() {
		if err := l.tell(ctx, stream); err != nil {
			log.Warn("control's stream is lost", zap.Error(err))
		}
	})
	defer telling.Wait()
	defer cancel()
	for {
		in, err := stream.Recv()
		if err != nil {
			log.Info("control has left")
			return nil
		}
		l.judge.hear(in)
	}
}

// tell sends until ctx ends or control cannot be reached, which also ends the stream's receiving side.
func (l *lane) tell(ctx context.Context, stream grpc.BidiStreamingServer[wire.ControlReport, wire.VerdictUpdate]) error {
	bell, leave := l.judge.wait()
	defer leave()
	every := time.NewTicker(heartbeat)
	defer every.Stop()
	told := telling{term: l.judge.ledger.term, sent: map[sample.Key]uint64{}}
	for {
		if l.judge.speaks() {
			if err := stream.Send(told.update(l.judge.verdicts())); err != nil && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-bell:
		case <-every.C:
		}
	}
}

// telling is what one stream has been told.
type telling struct {
	term    uint64
	version uint64
	begun   bool
	sent    map[sample.Key]uint64
}

// update is the whole set at first, then what has changed since; a heartbeat when nothing has. An endpoint that was
// never judged differently from healthy is left out: no verdict is a verdict on it.
func (t *telling) update(all []sample.Verdict) *wire.VerdictUpdate {
	out := &wire.VerdictUpdate{Term: t.term, Full: !t.begun, TtlMs: uint32(ttl.Milliseconds())}
	standing := make(map[sample.Key]bool, len(all))
	for _, v := range all {
		if v.Version == 0 {
			continue
		}
		standing[v.Endpoint] = true
		t.version = max(t.version, v.Version)
		if !t.begun || t.sent[v.Endpoint] != v.Version {
			t.sent[v.Endpoint] = v.Version
			out.Verdicts = append(out.Verdicts, v.ToWire())
		}
	}
	for key := range t.sent {
		if !standing[key] {
			delete(t.sent, key)
			out.Removed = append(out.Removed, key.String())
		}
	}
	t.begun = true
	out.Version = t.version
	return out
}
