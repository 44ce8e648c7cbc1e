package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/identity"
	"weft/internal/sample"
	"weft/internal/wire"
)

const (
	verifyTimeout = 2 * time.Second
	longestLabel  = 128
)

// Service is the Registry service.
type Service struct {
	wire.UnimplementedRegistryServer
	registry *Registry
	source   *identity.Source
	list     func(context.Context) (*wire.ListResponse, error)
	stopping context.Context
	refused  prometheus.Counter
	streams  atomic.Uint64
}

// NewService makes the service. source is control's own identity, with which addresses are tried; list answers List;
// streams end with stopping.
func NewService(stopping context.Context, r *Registry, source *identity.Source, list func(context.Context) (*wire.ListResponse, error)) *Service {
	return &Service{
		registry: r, source: source, list: list, stopping: stopping,
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_control_registrations_refused_total", Help: "Registrations and heartbeats refused.",
		}),
	}
}

// Collect registers the service's metrics.
func (s *Service) Collect(r *prometheus.Registry) { r.MustRegister(s.refused) }

// List tells everything control knows.
func (s *Service) List(ctx context.Context, _ *wire.ListRequest) (*wire.ListResponse, error) {
	return s.list(ctx)
}

// Register holds an endpoint while the stream lives. Every message is answered by a Lease, a refused one too, so a
// sidecar whose listener was not open yet simply tries again with its next heartbeat.
func (s *Service) Register(stream grpc.BidiStreamingServer[wire.Registration, wire.Lease]) error {
	id, err := identity.PeerFromContext(stream.Context())
	if err == nil {
		err = identity.Allow(identity.RoleProxy)(id)
	}
	if err != nil {
		s.refused.Inc()
		return status.Error(codes.PermissionDenied, err.Error())
	}
	key := sample.Key{Service: id.Service, Instance: id.Instance}
	holder := &holder{Service: s, id: id, stream: s.streams.Add(1)}
	goodbye := false
	defer func() { s.registry.release(time.Now(), holder.stream, key, goodbye) }()
	messages, failed := receive(stream)
	for {
		select {
		case message := <-messages:
			if err := stream.Send(holder.answer(stream.Context(), message)); err != nil {
				return err
			}
		case err := <-failed:
			goodbye = errors.Is(err, io.EOF)
			if goodbye {
				return nil
			}
			return err
		case <-s.stopping.Done(): // control stops: the lease goes to its successor
			return status.Error(codes.Unavailable, "control stops")
		}
	}
}

// receive reads in a goroutine that ends with the stream, which ends when its handler returns.
func receive(stream grpc.BidiStreamingServer[wire.Registration, wire.Lease]) (<-chan *wire.Registration, <-chan error) {
	messages, failed := make(chan *wire.Registration), make(chan error, 1)
	go func() {
		for {
			message, err := stream.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case messages <- message:
			case <-stream.Context().Done():
				failed <- stream.Context().Err()
				return
			}
		}
	}()
	return messages, failed
}

// holder is one registration stream.
type holder struct {
	*Service
	id     identity.ID
	stream uint64
	asked  string // the address as the sidecar wrote it
	at     string // the address as control reached it
	said   string // the last refusal that was logged
}

func (h *holder) answer(ctx context.Context, in *wire.Registration) *wire.Lease {
	out := &wire.Lease{TtlMs: uint32(h.registry.leaseTTL().Milliseconds())}
	if err := h.register(ctx, in); err != nil {
		out.Refused = err.Error()
		h.refused.Inc()
		if h.said != out.Refused {
			slog.WarnContext(ctx, "registration refused", "proxy", h.id.Reporter(), "address", in.GetAddress(), "error", err)
		}
	}
	h.said = out.Refused
	return out
}

func (h *holder) register(ctx context.Context, in *wire.Registration) error {
	if in.GetService() != h.id.Service || in.GetInstance() != h.id.Instance {
		return fmt.Errorf("%s may register itself only, not %s/%s", h.id.Reporter(), in.GetService(), in.GetInstance())
	}
	if p := in.GetProtocol(); p != "http" && p != "tcp" {
		return fmt.Errorf("protocol %q is neither http nor tcp", p)
	}
	if len(in.GetVersion()) > longestLabel || len(in.GetZone()) > longestLabel {
		return fmt.Errorf("version and zone have at most %d bytes", longestLabel)
	}
	e := Endpoint{
		Key:     sample.Key{Service: h.id.Service, Instance: h.id.Instance},
		Address: h.at, Protocol: in.GetProtocol(), Version: in.GetVersion(), Zone: in.GetZone(),
	}
	if h.at != "" && in.GetAddress() == h.asked {
		if h.registry.beat(time.Now(), h.stream, e) {
			return nil
		}
	}
	at, err := h.verify(ctx, in.GetAddress())
	if err != nil {
		return fmt.Errorf("%s was not reached as %s: %w", in.GetAddress(), h.id.Reporter(), err)
	}
	e.Address = at
	if err := h.registry.hold(time.Now(), h.stream, e); err != nil {
		return err
	}
	h.asked, h.at = in.GetAddress(), at
	slog.InfoContext(ctx, "endpoint registered", "endpoint", e.Key.String(), "address", at, "version", e.Version)
	return nil
}

// verify dials the address and demands exactly the SVID that registers. The address that answered is the one that is
// published, so a name cannot lead elsewhere later.
func (h *holder) verify(ctx context.Context, address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return "", errors.New("proxies need an address of one node, not of all")
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	secure := h.source.ClientTLS(identity.Exactly(identity.RoleProxy, h.id.Service, h.id.Instance))
	conn, err := (&tls.Dialer{Config: secure}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	return conn.RemoteAddr().String(), conn.Close()
}
