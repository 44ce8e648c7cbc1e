package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"weft/internal/endpoints"
	"weft/internal/identity"
	"weft/internal/wire"
)

const (
	heartbeat   = time.Second
	firstTry    = 200 * time.Millisecond // between looks at an application that does not accept connections yet
	reconnect   = 300 * time.Millisecond
	silentAfter = 10 * time.Second
)

// clientTLS is for a connection to exactly this endpoint.
func (s *Sidecar) clientTLS(e *endpoints.Endpoint) *tls.Config {
	return s.source.ClientTLS(identity.Exactly(identity.RoleProxy, e.Service, e.Instance))
}

// dial connects to a part of Weft that must prove its role.
func (s *Sidecar) dial(address string, role identity.Role) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithNoProxy(),
		grpc.WithTransportCredentials(credentials.NewTLS(s.source.ClientTLS(identity.Allow(role)))),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: silentAfter, Timeout: silentAfter / 2, PermitWithoutStream: false}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}))
}

// register publishes the endpoint as soon as the application accepts connections, and holds its lease until leave ends;
// then it says goodbye and waits until every proxy has heard. An application that dies later stays registered: what its
// callers meet is evidence, and its absence is not.
func (s *Sidecar) register(ctx, leave context.Context) error {
	if s.conn == nil {
		<-either(ctx, leave)
		return nil
	}
	held, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(leave, cancel)()
	if s.source.WaitReady(held) != nil || !s.awaitApplication(held) {
		return nil
	}
	said := ""
	for held.Err() == nil {
		err := s.hold(ctx, held)
		if held.Err() != nil {
			break
		}
		if err != nil && err.Error() != said { // once per cause: the retries go on for ever
			said = err.Error()
			slog.WarnContext(ctx, "registration", "error", err)
		}
		sleep(held, reconnect)
	}
	if s.registered.Load() {
		sleep(ctx, leaving)
	}
	return nil
}

// hold is one registration stream. Its last act is an orderly end, which control takes as a goodbye.
func (s *Sidecar) hold(ctx, held context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := wire.NewRegistryClient(s.conn).Register(ctx)
	if err != nil {
		return err
	}
	cfg := s.config.Load()
	message := &wire.Registration{
		Service: cfg.Service, Instance: cfg.Instance, Address: s.listeners.inbound.Addr().String(),
		Protocol: cfg.Inbound.Protocol, Version: cfg.Version, Zone: cfg.Zone,
	}
	ended := make(chan error, 1)
	go func() { ended <- s.hear(stream) }()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		if err := stream.Send(message); err != nil {
			cancel()
			return errors.Join(<-ended, ignoreEOF(err))
		}
		select {
		case <-beat.C:
		case err := <-ended:
			return err
		case <-held.Done():
			_ = stream.CloseSend() // never fails in a way that matters: the stream is ended either way
			sleep(ctx, reconnect)
			cancel()
			<-ended
			return nil
		}
	}
}

// hear reads leases: what control accepted, or why not.
func (s *Sidecar) hear(stream wire.Registry_RegisterClient) error {
	said := ""
	for {
		lease, err := stream.Recv()
		if err != nil {
			s.registered.Store(false)
			return err
		}
		refused := lease.GetRefused()
		s.registered.Store(refused == "")
		if refused != said && refused != "" {
			slog.Warn("control refuses the registration", "error", refused)
		}
		said = refused
	}
}

// ignoreEOF drops what Send returns when the real error comes from Recv.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// awaitApplication is false when ctx ended first.
func (s *Sidecar) awaitApplication(ctx context.Context) bool {
	for ctx.Err() == nil {
		if s.listens(ctx) {
			return true
		}
		sleep(ctx, firstTry)
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// either is closed when one of the contexts ends.
func either(a, b context.Context) <-chan struct{} {
	done, cancel := context.WithCancel(a)
	context.AfterFunc(b, cancel)
	return done.Done()
}
