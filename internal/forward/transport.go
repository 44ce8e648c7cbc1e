package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weft/internal/endpoints"
)

const (
	poolSweep    = 15 * time.Second
	poolIdle     = 2 * time.Minute // connections to an endpoint that nobody picked for so long are closed
	idleConn     = 60 * time.Second
	maxIdle      = 64   // connections kept per endpoint
	maxOpen      = 1024 // connections per endpoint
	maxHeader    = 64 << 10
	keepAlive    = 15 * time.Second
	pingAfter    = 5 * time.Second // HTTP/2: a silent connection is asked whether it lives
	pingPatience = 5 * time.Second
	// defaultConnect applies to a connection that a transport opens of its own accord.
	defaultConnect = time.Second
)

type connectTimeoutKey struct{}

// poolKey is an endpoint at an address: one that moved gets new connections.
type poolKey struct {
	service, instance, address string
	tls                        bool
}

// pool holds the connections to each endpoint.
type pool struct {
	tls   func(*endpoints.Endpoint) *tls.Config
	mu    sync.RWMutex
	byKey map[poolKey]*connections
}

func (p *pool) get(e *endpoints.Endpoint) *connections {
	key := poolKey{e.Service, e.Instance, e.Address, e.TLS}
	p.mu.RLock()
	c := p.byKey[key]
	p.mu.RUnlock()
	if c == nil {
		p.mu.Lock()
		if c = p.byKey[key]; c == nil {
			c = newConnections(e, p.tls)
			p.byKey[key] = c
		}
		p.mu.Unlock()
	}
	c.used.Store(time.Now().Unix())
	return c
}

func (p *pool) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, c := range p.byKey {
		if now.Sub(time.Unix(c.used.Load(), 0)) > poolIdle {
			c.close()
			delete(p.byKey, key)
		}
	}
}

func (p *pool) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, c := range p.byKey {
		c.close()
		delete(p.byKey, key)
	}
}

// connections are those to one endpoint: HTTP/1.1, and HTTP/2 for what came as HTTP/2.
type connections struct {
	used         atomic.Int64 // Unix seconds
	http1, http2 *http.Transport
	secure       bool
}

func newConnections(e *endpoints.Endpoint, tlsFor func(*endpoints.Endpoint) *tls.Config) *connections {
	d := &dialer{endpoint: e, tlsFor: tlsFor}
	one, two := new(http.Protocols), new(http.Protocols)
	one.SetHTTP1(true)
	if e.TLS {
		two.SetHTTP1(true) // an endpoint without HTTP/2 says so in the handshake
		two.SetHTTP2(true)
	} else {
		two.SetUnencryptedHTTP2(true)
	}
	return &connections{secure: e.TLS, http1: d.transport(one, "http/1.1"), http2: d.transport(two, "h2", "http/1.1")}
}

// transport is the one that speaks what the request came in: upgrades exist in HTTP/1.1 only, and a plain endpoint is
// known to speak HTTP/2 only if gRPC is asked of it.
func (c *connections) transport(r *http.Request) *http.Transport {
	if r.ProtoMajor < 2 || r.Header.Get("Upgrade") != "" {
		return c.http1
	}
	if c.secure || strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		return c.http2
	}
	return c.http1
}

func (c *connections) close() {
	c.http1.CloseIdleConnections()
	c.http2.CloseIdleConnections()
}

// dialer connects to one endpoint, whatever host the URL names.
type dialer struct {
	endpoint *endpoints.Endpoint
	tlsFor   func(*endpoints.Endpoint) *tls.Config
}

func (d *dialer) transport(protocols *http.Protocols, alpn ...string) *http.Transport {
	return &http.Transport{
		Protocols:      protocols,
		DialContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx, nil) },
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx, alpn) },
		// The client's own Accept-Encoding passes; adding one would unpack and pack every body.
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdle,
		MaxConnsPerHost:        maxOpen,
		IdleConnTimeout:        idleConn,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingPatience},
	}
}

// dial connects within the route's connect timeout; with protocols to offer, it also shakes hands.
func (d *dialer) dial(ctx context.Context, alpn []string) (net.Conn, error) {
	timeout, _ := ctx.Value(connectTimeoutKey{}).(time.Duration)
	if timeout <= 0 {
		timeout = defaultConnect
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := connect(ctx, d.endpoint.Address)
	if err != nil {
		return nil, &connectError{err}
	}
	if alpn == nil {
		return conn, nil
	}
	secure, err := d.handshake(ctx, conn, alpn)
	if err != nil {
		_ = conn.Close()
		return nil, &connectError{err}
	}
	return secure, nil
}

func connect(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: keepAlive}
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return dialer.DialContext(ctx, "unix", path)
	}
	return dialer.DialContext(ctx, "tcp", address)
}

func (d *dialer) handshake(ctx context.Context, conn net.Conn, alpn []string) (net.Conn, error) {
	if d.tlsFor == nil {
		return nil, errors.New("a mesh endpoint, but this proxy has no identity")
	}
	cfg := d.tlsFor(d.endpoint).Clone()
	cfg.NextProtos = alpn
	secure := tls.Client(conn, cfg)
	return secure, secure.HandshakeContext(ctx)
}

func cloneURL(u *url.URL, scheme string) *url.URL {
	clone := *u
	clone.Scheme = scheme
	return &clone
}
