package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weft/internal/balance"
	"weft/internal/endpoints"
	"weft/internal/sample"
	"weft/internal/telemetry"
)

// tcpBuffer is what one direction of a connection holds: a service may keep many idle ones open.
const tcpBuffer = 8 << 10

// ServeTCP carries an accepted connection to an endpoint of the route's service until both sides have ended, or ctx
// has. It closes client. Connecting counts as one attempt, a later reset by the endpoint as another: a connection may
// live for days, and health must not wait for its end.
func (f *Forwarder) ServeTCP(ctx context.Context, client net.Conn, route *Route) {
	t := &tunnel{forwarder: f, route: route, client: client, call: &Call{TraceID: telemetry.NewTraceID()}}
	if err := t.open(ctx); err != nil {
		abort(client) // not an orderly end: the service must not take it for an answer
		return
	}
	defer context.AfterFunc(ctx, t.close)()
	var both sync.WaitGroup
	both.Go(func() { t.carry(t.endpoint, t.client) })
	both.Go(func() { t.carry(t.client, t.endpoint) })
	both.Wait()
	t.close()
	f.config.Load().Balance.Done(time.Now(), t.pick.Endpoint.Live, t.outcome(), t.connected)
}

// tunnel is one carried connection.
type tunnel struct {
	forwarder *Forwarder
	route     *Route
	call      *Call
	client    net.Conn
	endpoint  net.Conn
	pick      balance.Pick
	connected time.Duration // how long connecting took

	asked, heard atomic.Int64 // Unix nanoseconds of the last bytes to and from the endpoint

	mu            sync.Mutex
	endpointBroke bool
	closed        bool
}

// unansweredFor is how long a service must have waited in vain, when it closes a connection, for that to be a timeout
// of the endpoint. Closing at once after the last word is how many protocols say goodbye.
const unansweredFor = 500 * time.Millisecond

// open connects to an endpoint, or to another one: nothing was sent yet, so trying again is always right.
func (t *tunnel) open(ctx context.Context) error {
	f, cfg := t.forwarder, t.forwarder.config.Load()
	service, ok := f.deps.Table.Await(ctx, t.route.Service)
	if !ok {
		return errNoService
	}
	f.budget(t.route.Service).earn(cfg.Retry.BudgetPercent)
	var tried []*endpoints.Endpoint
	for n := 0; ; n++ {
		pick, err := f.pick(cfg, t.route, service, tried)
		if err != nil {
			return err
		}
		start := time.Now()
		t.endpoint, err = t.connect(ctx, pick.Endpoint)
		t.pick, t.connected = pick, time.Since(start)
		if err == nil {
			t.record(n, start, sample.OK, nil)
			return nil
		}
		outcome := sample.ConnectFailure
		if ctx.Err() != nil {
			outcome = sample.Aborted
		}
		cfg.Balance.Done(time.Now(), pick.Endpoint.Live, outcome, t.connected)
		t.record(n, start, outcome, err)
		tried = append(tried, pick.Endpoint)
		if n >= cfg.Retry.Attempts || !f.budget(t.route.Service).spend(cfg.Retry.BudgetPercent) {
			return err
		}
	}
}

func (t *tunnel) connect(ctx context.Context, e *endpoints.Endpoint) (net.Conn, error) {
	d := &dialer{endpoint: e, tlsFor: t.forwarder.deps.TLS}
	ctx = context.WithValue(ctx, connectTimeoutKey{}, t.route.ConnectTimeout)
	if e.TLS {
		return d.dial(ctx, []string{"weft-tcp"})
	}
	return d.dial(ctx, nil)
}

// record counts one attempt and tells of it.
func (t *tunnel) record(n int, start time.Time, outcome sample.Outcome, err error) {
	f, e, now := t.forwarder, t.pick.Endpoint, time.Now()
	var latency time.Duration
	if outcome == sample.OK {
		latency = t.connected
	}
	e.Live.Counter.Observe(n, outcome, latency, "")
	t.call.Attempts, t.call.Endpoint, t.call.Outcome, t.call.Cause = n+1, e, outcome, ""
	if outcome == sample.Error || outcome == sample.Timeout || outcome == sample.ConnectFailure {
		t.call.Cause = e.Key().String()
		if f.deps.Failed != nil {
			f.deps.Failed(t.call)
		}
	}
	f.deps.Recorder.Record(&Attempt{
		Call: t.call, Route: t.route, Pick: t.pick, Number: n, Protocol: endpoints.TCP, SpanID: telemetry.NewSpanID(),
		Start: start, End: now, Outcome: outcome, Err: err,
	})
}

// carry copies one direction. An orderly end is passed on as one; a reset ends both directions.
func (t *tunnel) carry(to, from net.Conn) {
	buffer := make([]byte, tcpBuffer)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			t.note(from)
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				t.broke(to, writeErr)
				return
			}
		}
		if err == io.EOF {
			if from == t.client {
				t.left()
			}
			if half, ok := to.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				return
			}
			t.close()
			return
		}
		if err != nil {
			t.broke(from, err)
			return
		}
	}
}

func (t *tunnel) note(from net.Conn) {
	if now := time.Now().UnixNano(); from == t.client {
		t.asked.Store(now)
	} else {
		t.heard.Store(now)
	}
}

// left is called when the service closes: if it had been waiting for an answer, the endpoint is why.
func (t *tunnel) left() {
	asked := t.asked.Load()
	if asked > t.heard.Load() && time.Since(time.Unix(0, asked)) >= unansweredFor && t.blame() {
		t.record(0, time.Unix(0, asked), sample.Timeout, errResponseTimeout)
	}
}

// blame marks the tunnel as failed by its endpoint, once.
func (t *tunnel) blame() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := !t.closed && !t.endpointBroke
	t.endpointBroke = t.endpointBroke || first
	return first
}

// broke ends the tunnel because side failed. Only the endpoint's own reset counts against it.
func (t *tunnel) broke(side net.Conn, err error) {
	reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ETIMEDOUT)
	switch {
	case side == t.client:
		t.left()
	case reset && t.blame():
		t.record(0, time.Now(), sample.Error, err)
		abort(t.client)
	}
	t.close()
}

func (t *tunnel) outcome() sample.Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.endpointBroke {
		return sample.Error
	}
	return sample.OK
}

func (t *tunnel) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	_ = t.client.Close()
	_ = t.endpoint.Close()
}

// abort closes a connection so that its peer sees a failure, not an end.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
