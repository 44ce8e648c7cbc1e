package control

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/config"
	"weft/internal/identity"
	"weft/internal/wire"
	"weft/mesh/control/xds"
)

func TestRegistrationReachesProxies(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Services = map[string]Service{"mysql": {Protocol: "tcp", Endpoints: []Endpoint{{Instance: "mysql-1", Address: "127.0.0.1:3306"}}}}
	m := start(t, cfg)
	gateway := m.subscribe(m.member(identity.RoleProxy, "gateway", "gateway-1"), nil, "payment", "mysql", "nothing")
	gateway.sees("mysql", "mysql-1=healthy:100:default")
	gateway.sees("nothing", "") // an unknown service is answered too
	one := m.register("payment", "payment-1")
	two := m.register("payment", "payment-2")
	gateway.sees("payment", "payment-1=healthy:100:default payment-2=healthy:100:default")

	var registry []shownEndpoint
	m.ask("/registry", &registry)
	if len(registry) != 3 || registry[1].Endpoint != "payment/payment-1" || registry[1].Source != "default" || registry[1].Weight != 100 {
		t.Fatalf("/registry: %+v", registry)
	}
	listed, err := identity.ListEndpoints(t.Context(), cfg.socket())
	if err != nil || len(listed) != 3 || listed[0].GetService() != "mysql" || !listed[0].GetStatic() {
		t.Fatalf("list: %v, %v", listed, err)
	}

	broke := time.Now()
	two.cancel() // as a killed sidecar: the stream breaks
	gateway.sees("payment", "payment-1=healthy:100:default")
	t.Logf("a killed sidecar left every proxy after %v", time.Since(broke))
	one.leave()
	gateway.sees("payment", "") // empty, so that it leaves
}

func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	m := start(t, testConfig(t))
	payment := m.member(identity.RoleProxy, "payment", "payment-2")
	orders := m.member(identity.RoleProxy, "orders", "orders-1")
	own, foreign := inbound(t, payment), inbound(t, orders)
	closed := reserve(t)
	closed.Close()
	tests := map[string]struct {
		change func(*wire.Registration)
		want   string // part of the refusal; empty for none
	}{
		"own address":                    {func(*wire.Registration) {}, ""},
		"address shows another identity": {func(r *wire.Registration) { r.Address = foreign }, "peer is spiffe://weft.local/proxy/orders/orders-1"},
		"nobody listens":                 {func(r *wire.Registration) { r.Address = closed.Addr().String() }, "refused"},
		"control itself":                 {func(r *wire.Registration) { r.Address = m.Addr() }, "peer is spiffe://weft.local/control"},
		"plain HTTP":                     {func(r *wire.Registration) { r.Address = m.OpsAddr() }, "tls:"},
		"another service":                {func(r *wire.Registration) { r.Service = "orders" }, "may register itself only"},
		"another instance":               {func(r *wire.Registration) { r.Instance = "payment-1" }, "may register itself only"},
		"protocol":                       {func(r *wire.Registration) { r.Protocol = "udp" }, "neither http nor tcp"},
		"no address":                     {func(r *wire.Registration) { r.Address = "" }, "missing port"},
		"every address":                  {func(r *wire.Registration) { r.Address = "0.0.0.0:80" }, "of one node"},
		"version too long":               {func(r *wire.Registration) { r.Version = strings.Repeat("v", 200) }, "at most 128"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := m.sidecar(payment, own)
			test.change(s.self)
			lease, err := s.say()
			if err != nil {
				t.Fatal(err)
			}
			if got := lease.GetRefused(); test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Fatalf("refused %q, want one with %q", got, test.want)
			}
			s.cancel()
		})
	}
	for name, source := range map[string]*identity.Source{
		"agent": m.member(identity.RoleAgent, "payment", "payment-2"), "collector": m.member(identity.RoleCollector, "collector", "collector-1"),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := m.sidecar(source, own).say(); status.Code(err) != codes.PermissionDenied {
				t.Fatalf("%v, want PermissionDenied", err)
			}
		})
	}
}

// A sidecar whose listener opens late is refused, tries again with its next heartbeat, and is in.
func TestRegistrationRetries(t *testing.T) {
	t.Parallel()
	m := start(t, testConfig(t))
	source := m.member(identity.RoleProxy, "payment", "payment-2")
	s := m.sidecar(source, "127.0.0.1:1")
	if lease, err := s.say(); err != nil || lease.GetRefused() == "" {
		t.Fatalf("%v, %v, want a refusal", lease, err)
	}
	s.self.Address = inbound(t, source)
	if lease, err := s.say(); err != nil || lease.GetRefused() != "" {
		t.Fatalf("%v, %v, want a lease", lease, err)
	}
}

func TestSubscriptionRefused(t *testing.T) {
	t.Parallel()
	m := start(t, testConfig(t))
	gateway := m.member(identity.RoleProxy, "gateway", "gateway-1")
	tests := map[string]struct {
		source *identity.Source
		change func(*subscriber)
		want   codes.Code
	}{
		"forged node":  {gateway, func(s *subscriber) { s.node = "payment/payment-2" }, codes.PermissionDenied},
		"no node":      {gateway, func(s *subscriber) { s.node = "" }, codes.PermissionDenied},
		"not a proxy":  {m.member(identity.RoleAgent, "agent", "agent-1"), nil, codes.PermissionDenied},
		"too many":     {gateway, func(s *subscriber) { s.names = slices.Repeat([]string{"a"}, 5000) }, codes.InvalidArgument},
		"own node":     {gateway, nil, codes.OK},
		"every a star": {gateway, func(s *subscriber) { s.names = nil }, codes.OK},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := m.subscribe(test.source, test.change, "payment")
			if test.want == codes.OK {
				eventually(t, "an answer", func() bool { return s.responses() > 0 })
				return
			}
			eventually(t, "the stream ends", func() bool { return s.failure() != nil })
			if status.Code(s.failure()) != test.want {
				t.Fatalf("%v, want %v", s.failure(), test.want)
			}
		})
	}
}

func TestNoIdentityNoService(t *testing.T) {
	t.Parallel()
	m := start(t, testConfig(t))
	stranger := start(t, testConfig(t)) // another authority
	outsider := stranger.member(identity.RoleProxy, "payment", "payment-2")
	_, err := wire.NewRegistryClient(m.dial(outsider)).List(t.Context(), &wire.ListRequest{})
	if err == nil {
		t.Fatal("a certificate of another authority was accepted")
	}
	_, err = wire.NewRegistryClient(m.dial(m.member(identity.RoleProxy, "payment", "payment-2"))).List(t.Context(), &wire.ListRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Fatalf("list by a proxy: %v, want PermissionDenied", err)
	}
}

// Renewal over mTLS is for the own identity only.
func TestRenewalIsForOneself(t *testing.T) {
	t.Parallel()
	m := start(t, testConfig(t))
	payment := m.member(identity.RoleProxy, "payment", "payment-2")
	var csr []byte
	spy := identity.NewLocalSource(payment.ID(), func(_ context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
		csr = in.GetCsr()
		return nil, context.Canceled
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = spy.Run(ctx)
	stop := background(t, spy.Run)
	eventually(t, "a request", func() bool { return spy.Err() != nil })
	stop()
	client := wire.NewIdentityClient(m.dial(payment))
	if _, err := client.Issue(t.Context(), &wire.IssueRequest{Csr: csr, SpiffeId: payment.ID().URI()}); err != nil {
		t.Fatalf("own identity: %v", err)
	}
	other := id(identity.RoleProxy, "payment", "payment-1").URI()
	if _, err := client.Issue(t.Context(), &wire.IssueRequest{Csr: csr, SpiffeId: other}); status.Code(err) != codes.PermissionDenied {
		t.Fatalf("another identity: %v, want PermissionDenied", err)
	}
}

func TestJoinToken(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.SVIDTTL = 10 * time.Second
	m, impostor := start(t, cfg), start(t, testConfig(t))
	agent := id(identity.RoleAgent, "agent", "agent-1")
	token, err := identity.CreateJoinToken(t.Context(), cfg.socket(), agent, 0)
	if err != nil {
		t.Fatal(err)
	}
	join := func(control, token string, who identity.ID) (*identity.Source, func()) {
		s := identity.NewSource(identity.Config{Control: control, JoinToken: token}, who)
		return s, background(t, s.Run)
	}
	refused := func(name string, s *identity.Source, stop func(), want string) {
		t.Helper()
		eventually(t, name+" is answered", func() bool { return s.Err() != nil })
		if err := s.Err(); !strings.Contains(err.Error(), want) {
			t.Fatalf("%s: %v, want %q", name, err, want)
		}
		stop()
	}
	s, stop := join(impostor.Addr(), token.String(), agent)
	refused("an impostor of control", s, stop, "control's root is not the one that the join token names")
	s, stop = join(m.Addr(), token.String(), id(identity.RoleAgent, "agent", "agent-2"))
	refused("another identity", s, stop, "PermissionDenied")

	s, _ = join(m.Addr(), token.String(), agent)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	thief, stop := join(m.Addr(), token.String(), agent)
	refused("a second use", thief, stop, "PermissionDenied")
	first := s.NotAfter()
	eventually(t, "renewed over mTLS, without the token", func() bool { return s.NotAfter().After(first) })
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	dir := testConfig(t).Data
	const base = "listen: 127.0.0.1:0\nops: 127.0.0.1:0\ndata: "
	open := base + dir + "\nservices:\n  cart: {endpoints: [{instance: cart-1, address: '127.0.0.1:9'}]}\n  bank: {endpoints: [{instance: bank-1, address: '127.0.0.1:9'}]}\n"
	path := writeConfig(t, dir, open+"policies: [{from: [web], to: [cart]}]\n")
	cfg := DefaultConfig()
	if err := config.Load(path, cfg); err != nil {
		t.Fatal(err)
	}
	m := startAt(t, cfg, path)
	web := m.subscribe(m.member(identity.RoleProxy, "web", "web-1"), nil, "cart", "bank")
	job := m.subscribe(m.member(identity.RoleProxy, "job", "job-1"), nil, "cart", "bank")
	web.sees("cart", "cart-1=healthy:100:default")
	web.sees("bank", "")
	job.sees("cart", "")

	writeConfig(t, dir, open+"policies: [{from: [web], to: [bank]}, {from: [job], to: ['*']}]\n")
	m.reload()
	web.sees("cart", "") // taken away, not only no longer told
	web.sees("bank", "bank-1=healthy:100:default")
	job.sees("cart", "cart-1=healthy:100:default")

	writeConfig(t, dir, open+"policies: nonsense\n")
	m.reload()
	writeConfig(t, dir, strings.Replace(open, "ops: 127.0.0.1:0", "ops: 127.0.0.1:1", 1))
	m.reload()
	if got := m.config.Load().mayCall("web", "cart"); got {
		t.Fatal("a bad file changed the policy")
	}
}

func TestRestartKeepsEndpoints(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.RestartGrace = 3 * time.Second
	m := start(t, cfg)
	gatewaySource := m.member(identity.RoleProxy, "gateway", "gateway-1")
	m.register("payment", "payment-1")
	m.register("payment", "payment-2")
	gateway := m.subscribe(gatewaySource, nil, "payment")
	gateway.sees("payment", "payment-1=healthy:100:default payment-2=healthy:100:default")
	m.stop()

	raw, err := os.ReadFile(filepath.Join(cfg.Data, "registry.json"))
	if err != nil || !strings.Contains(string(raw), "payment-2") {
		t.Fatalf("registry.json: %v\n%s", err, raw)
	}
	again := start(t, cfg)
	if gatewaySource.Err() != nil {
		t.Fatal(gatewaySource.Err())
	}
	gateway = again.subscribe(gatewaySource, nil, "payment") // the certificate of before is still good
	gateway.sees("payment", "payment-1=healthy:100:default payment-2=healthy:100:default")
	if gateway.responses() != 1 {
		t.Fatalf("%d responses: proxies were told less in between", gateway.responses())
	}
	again.register("payment", "payment-2") // only one comes back
	gateway.sees("payment", "payment-2=healthy:100:default")
}

// A proxy that cannot renew its certificate loses its lease with it, although its process and connection live.
func TestLeaseEndsWithCertificate(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.SVIDTTL = 10 * time.Second
	m := start(t, cfg)
	watcher := m.member(identity.RoleProxy, "gateway", "gateway-1")
	source := identity.NewSource(identity.Config{Socket: cfg.socket()}, id(identity.RoleProxy, "payment", "payment-2"))
	stopRenewing := background(t, source.Run)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := source.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	stopRenewing()
	address := inbound(t, source)
	conn, self := m.dial(source), &wire.Registration{Service: "payment", Instance: "payment-2", Address: address, Protocol: "http"}
	var reconnects atomic.Int64
	background(t, func(ctx context.Context) error {
		for ; ctx.Err() == nil; reconnects.Add(1) { // a sidecar that comes back whenever its stream ends
			stream, err := wire.NewRegistryClient(conn).Register(ctx)
			for err == nil {
				if err = stream.Send(self); err == nil {
					_, err = stream.Recv()
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		return nil
	})
	holds := func() bool { return len(m.registry.Endpoints()) == 1 }
	eventually(t, "registered", holds)
	for time.Until(source.NotAfter()) > time.Second {
		if !holds() {
			t.Fatalf("gone %v before the certificate ended", time.Until(source.NotAfter()))
		}
		time.Sleep(10 * time.Millisecond)
	}
	eventually(t, "gone with the certificate", func() bool { return !holds() })
	if reconnects.Load() == 0 {
		t.Fatal("the connection outlived its certificate")
	}
	m.subscribe(watcher, nil, "payment").sees("payment", "") // who renews is still served
}

func TestProxiesAreListed(t *testing.T) {
	t.Parallel()
	m := start(t, testConfig(t))
	nack := func(s *subscriber) { s.refuse = true }
	m.subscribe(m.member(identity.RoleProxy, "gateway", "gateway-1"), nack, "payment")
	m.subscribe(m.member(identity.RoleProxy, "orders", "orders-1"), nil, "payment")
	eventually(t, "the NACK is known", func() bool {
		var proxies []xds.Proxy
		m.ask("/proxies", &proxies)
		return len(proxies) == 2 && proxies[0].Proxy == "gateway/gateway-1" && proxies[0].Nacks > 0 &&
			proxies[0].LastNack == "cannot use this" && len(proxies[0].Acked) == 0 && proxies[1].Acked["payment"] == ""
	})
}

func TestOnlyOneControlPerSocket(t *testing.T) {
	t.Parallel()
	m := start(t, testConfig(t))
	if _, err := New(m.cfg); err == nil || !strings.Contains(err.Error(), "another control serves") {
		t.Fatalf("error %v, want one that names the other control", err)
	}
	info, err := os.Stat(m.cfg.socket())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket: %v, %v, want mode 0600", info, err)
	}
}
