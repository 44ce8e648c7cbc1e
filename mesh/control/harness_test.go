package control

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"go.uber.org/goleak"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weft/internal/identity"
	"weft/internal/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

const patience = 20 * time.Second

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// meshUnderTest is a running control and what is needed to join it.
type meshUnderTest struct {
	*Control
	t    *testing.T
	cfg  *Config
	stop func()
}

func testConfig(t *testing.T) *Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-control-") // short: a socket lives in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := DefaultConfig()
	cfg.Listen, cfg.Ops, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", dir
	return cfg
}

func start(t *testing.T, cfg *Config) *meshUnderTest {
	t.Helper()
	return startAt(t, cfg, "")
}

// startAt follows the file at path.
func startAt(t *testing.T, cfg *Config, path string) *meshUnderTest {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.path = path
	stop := background(t, c.Run)
	m := &meshUnderTest{Control: c, t: t, cfg: cfg, stop: stop}
	eventually(t, "control is ready", func() bool { return c.ready() == nil })
	return m
}

// background runs f until the returned function is called, or the test ends.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("background: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func id(role identity.Role, service, instance string) identity.ID {
	return identity.ID{TrustDomain: identity.TrustDomain, Role: role, Service: service, Instance: instance}
}

// member obtains an identity over the socket.
func (m *meshUnderTest) member(role identity.Role, service, instance string) *identity.Source {
	m.t.Helper()
	s := identity.NewSource(identity.Config{Socket: m.cfg.socket()}, id(role, service, instance))
	background(m.t, s.Run)
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		m.t.Fatal(err)
	}
	return s
}

// dial connects to control with an identity.
func (m *meshUnderTest) dial(s *identity.Source) *grpc.ClientConn {
	m.t.Helper()
	secure := credentials.NewTLS(s.ClientTLS(identity.Allow(identity.RoleControl)))
	conn, err := grpc.NewClient("passthrough:///"+m.Addr(), grpc.WithTransportCredentials(secure))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { conn.Close() })
	return conn
}

// inbound is a sidecar's listener: it shows the identity of s.
func inbound(t *testing.T, s *identity.Source) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", s.ServerTLS(nil))
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				conn.SetDeadline(time.Now().Add(patience))
				_ = conn.(*tls.Conn).Handshake()
				conn.Close()
			})
		}
	})
	t.Cleanup(func() { listener.Close(); open.Wait() })
	return listener.Addr().String()
}

// sidecar holds a registration by heartbeats.
type sidecar struct {
	t       *testing.T
	stream  grpc.BidiStreamingClient[wire.Registration, wire.Lease]
	cancel  context.CancelFunc
	self    *wire.Registration
	orderly chan struct{} // closed by leave
}

func (m *meshUnderTest) sidecar(s *identity.Source, address string) *sidecar {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := wire.NewRegistryClient(m.dial(s)).Register(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	out := &sidecar{t: m.t, stream: stream, cancel: cancel, self: &wire.Registration{
		Service: s.ID().Service, Instance: s.ID().Instance, Address: address, Protocol: "http", Version: "1",
	}, orderly: make(chan struct{})}
	m.t.Cleanup(cancel)
	return out
}

// say sends the registration once and returns the answer.
func (s *sidecar) say() (*wire.Lease, error) {
	if err := s.stream.Send(s.self); err != nil {
		return nil, err
	}
	return s.stream.Recv()
}

// leave ends the heartbeats and the stream, as one that stops in order.
func (s *sidecar) leave() { close(s.orderly) }

// beat says it every 200 ms until the stream ends, or the sidecar leaves.
func (s *sidecar) beat() {
	s.t.Helper()
	if lease, err := s.say(); err != nil || lease.GetRefused() != "" {
		s.t.Fatalf("registration: %v, %v", lease, err)
	}
	done := make(chan struct{})
	s.t.Cleanup(func() { s.cancel(); <-done })
	go func() {
		defer close(done)
		for {
			select {
			case <-s.stream.Context().Done():
				return
			case <-s.orderly:
				_ = s.stream.CloseSend()
				return
			case <-time.After(200 * time.Millisecond):
			}
			if _, err := s.say(); err != nil {
				return
			}
		}
	}()
}

// register makes a sidecar with an identity, a listener and a lease.
func (m *meshUnderTest) register(service, instance string) *sidecar {
	m.t.Helper()
	source := m.member(identity.RoleProxy, service, instance)
	s := m.sidecar(source, inbound(m.t, source))
	s.beat()
	return s
}

// subscriber is a small ADS client.
type subscriber struct {
	t       *testing.T
	stream  discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node    string
	names   []string
	refuse  bool // NACK what comes
	silent  bool // no ACK, no NACK
	version string

	mu   sync.Mutex
	seen map[string]*endpointv3.ClusterLoadAssignment
	all  int // responses
	err  error
}

func (m *meshUnderTest) subscribe(s *identity.Source, change func(*subscriber), names ...string) *subscriber {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(m.dial(s)).StreamAggregatedResources(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	out := &subscriber{t: m.t, stream: stream, node: s.ID().Reporter(), names: names, seen: map[string]*endpointv3.ClusterLoadAssignment{}}
	if change != nil {
		change(out)
	}
	_ = out.request("", nil) // on a stream that was refused, Recv says why
	done := make(chan struct{})
	go func() { defer close(done); out.receive() }()
	m.t.Cleanup(func() { cancel(); <-done })
	return out
}

func (s *subscriber) request(nonce string, refusal *rpcstatus.Status) error {
	return s.stream.Send(&discovery.DiscoveryRequest{
		Node: &core.Node{Id: s.node}, TypeUrl: resource.EndpointType, ResourceNames: s.names,
		VersionInfo: s.version, ResponseNonce: nonce, ErrorDetail: refusal,
	})
}

func (s *subscriber) receive() {
	for {
		response, err := s.stream.Recv()
		if err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			return
		}
		s.mu.Lock()
		s.all++
		for _, packed := range response.GetResources() {
			var assignment endpointv3.ClusterLoadAssignment
			if err := packed.UnmarshalTo(&assignment); err != nil {
				s.t.Errorf("response: %v", err)
			}
			s.seen[assignment.GetClusterName()] = &assignment
		}
		s.mu.Unlock()
		switch {
		case s.silent:
		case s.refuse:
			_ = s.request(response.GetNonce(), &rpcstatus.Status{Message: "cannot use this"})
		default:
			s.version = response.GetVersionInfo()
			_ = s.request(response.GetNonce(), nil)
		}
	}
}

// service is "instance=state:weight:source …" as this proxy sees it; "?" before anything was said of it.
func (s *subscriber) service(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	assignment, known := s.seen[name]
	if !known {
		return "?"
	}
	var words []string
	for _, locality := range assignment.GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			f := e.GetMetadata().GetFilterMetadata()["weft"].AsMap()
			weight, _ := json.Marshal(f["weight"])
			words = append(words, f["instance"].(string)+"="+f["state"].(string)+":"+string(weight)+":"+f["source"].(string))
		}
	}
	return strings.Join(words, " ")
}

func (s *subscriber) responses() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

func (s *subscriber) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *subscriber) sees(name, want string) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for s.service(name) != want {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: proxy sees %q, want %q (%v)", name, s.service(name), want, s.failure())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// collector is a lane that says what the test wants.
type collector struct {
	wire.UnimplementedHealthServer
	say chan *wire.VerdictUpdate

	mu     sync.Mutex
	report *wire.ControlReport
	lanes  int
}

// collectorAt serves a collector whose identity is source's, once there is one.
func collectorAt(t *testing.T, listener net.Listener, source *identity.Source) (*collector, func()) {
	t.Helper()
	c := &collector{say: make(chan *wire.VerdictUpdate)}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(source.ServerTLS(identity.Allow(identity.RoleControl)))))
	wire.RegisterHealthServer(server, c)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	stop := sync.OnceFunc(func() { server.Stop(); <-done })
	t.Cleanup(stop)
	return c, stop
}

func (c *collector) Steer(stream grpc.BidiStreamingServer[wire.ControlReport, wire.VerdictUpdate]) error {
	c.mu.Lock()
	c.lanes++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.lanes--
		c.mu.Unlock()
	}()
	go func() {
		for {
			report, err := stream.Recv()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.report = report
			c.mu.Unlock()
		}
	}()
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case update := <-c.say:
			if err := stream.Send(update); err != nil {
				return err
			}
		}
	}
}

func (c *collector) reported() *wire.ControlReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}

func (c *collector) up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lanes > 0
}

// heartbeat repeats the last update until stopped, as a collector does.
func (c *collector) heartbeat(t *testing.T, last *wire.VerdictUpdate) (stop func()) {
	return background(t, func(ctx context.Context) error {
		for {
			beat := &wire.VerdictUpdate{Term: last.GetTerm(), Version: last.GetVersion(), TtlMs: last.GetTtlMs()}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
			select {
			case <-ctx.Done():
				return nil
			case c.say <- beat:
			}
		}
	})
}

func verdict(service, instance string, state wire.State, weight uint32, version uint64) *wire.Verdict {
	return &wire.Verdict{Service: service, Instance: instance, State: state, Weight: weight, Version: version, Enforced: true, SinceUnixNano: version}
}

func reserve(t *testing.T) net.Listener { return reserveAt(t, "127.0.0.1:0") }

func reserveAt(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// ask reads JSON from the ops port.
func (m *meshUnderTest) ask(path string, into any) {
	m.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + m.OpsAddr() + path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		m.t.Fatalf("%s: %v", path, err)
	}
}

func writeConfig(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "control.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
