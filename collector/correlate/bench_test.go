package correlate

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

// traffic makes the spans and logs of the shop's requests as several reporters bring them: each span of a request in a
// batch of another reporter, which lags some tenth of a second behind the one before. Every request is a new trace.
type traffic struct {
	templates []facts.Span
	requests  uint64
	spans     []facts.Span
	logs      []facts.Log
	texts     []byte
}

const (
	perBatch = 125 // requests
	lag      = 625 // requests that begin while the next reporter waits
)

func newTraffic() *traffic {
	return &traffic{templates: facts.Spans(shop(1, "")), requests: 10 * lag, texts: make([]byte, 0, 40*perBatch*8)}
}

func mixed(n uint64) uint64 { // splitmix64
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

func traceOf(request uint64) (id signal.TraceID) {
	binary.BigEndian.PutUint64(id[:], mixed(2*request))
	binary.BigEndian.PutUint64(id[8:], mixed(2*request+1))
	return id
}

func spanOfRequest(request uint64, k int) (id signal.SpanID) {
	binary.BigEndian.PutUint64(id[:], mixed(request<<8|uint64(k)<<1|1))
	return id
}

var operations = [...]string{"/api/home", "/api/cart", "/api/checkout", "/api/products/{id}", "/api/search", "/api/orders/{id}", "/api/login", "/api/stock"}

// requestID is the request's trace ID in hex, as a view into memory that the next batch is written to.
func (t *traffic) requestID(request uint64) string {
	id := traceOf(request)
	begin := len(t.texts)
	t.texts = hex.AppendEncode(t.texts, id[:])
	return view(t.texts[begin:])
}

// next is a batch of 1000 spans, and 1000 log records of the same requests.
func (t *traffic) next(now time.Time) ([]facts.Span, []facts.Log) {
	t.spans, t.logs, t.texts = t.spans[:0], t.logs[:0], t.texts[:0]
	for k := range t.templates {
		for i := range uint64(perBatch) {
			request := t.requests + i - uint64(k)*lag
			s := t.templates[k]
			s.Trace, s.ID = traceOf(request), spanOfRequest(request, k)
			if !s.Parent.IsZero() {
				s.Parent = spanOfRequest(request, k-1)
			}
			if s.Proxy != facts.NoProxy {
				s.RequestID = t.requestID(request)
			}
			s.Name = operations[request%uint64(len(operations))]
			if s.Route != "" {
				s.Route = s.Name
			}
			s.Start = now.Add(-time.Duration(k) * 100 * time.Millisecond).UnixNano()
			s.End = s.Start + int64(mixed(request)%50_000_000)
			t.spans = append(t.spans, s)
			l := facts.Log{Trace: s.Trace, Span: s.ID, Time: s.Start, Service: s.Service, Instance: s.Instance}
			if k%2 == 1 {
				l.RequestID = t.requestID(request)
			}
			t.logs = append(t.logs, l)
		}
	}
	t.requests += perBatch
	return t.spans, t.logs
}

// spent is the processor time of this process so far: wall time says little on a machine that others use too.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure reports the processor time of one of the thousand items that each round of do takes in, the collection of its
// garbage included.
func measure(b *testing.B, prepare, do func()) {
	b.ReportAllocs()
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		prepare()
		began := spent()
		b.StartTimer()
		do()
		took += spent() - began
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N*1000), "cpu-ns/item")
}

// BenchmarkCorrelate is the price of a span and of a log record at 50,000 spans and 50,000 log records a second, when
// all that is bounded is full. The yardstick is the full decode of as many spans.
func BenchmarkCorrelate(b *testing.B) {
	batch := facts1000()
	b.Run("yardstick", func(b *testing.B) {
		measure(b, func() {}, func() { _, _ = new(ptrace.ProtoUnmarshaler).UnmarshalTraces(batch) })
	})
	c, now, t := New(DefaultConfig()), epoch, newTraffic()
	var spans []facts.Span
	var logs []facts.Log
	next := func() {
		now = now.Add(20 * time.Millisecond)
		spans, logs = t.next(now)
	}
	for range 4500 { // ninety seconds
		next()
		c.Spans(now, spans)
		c.Logs(now, logs)
	}
	b.Run("spans", func(b *testing.B) { measure(b, next, func() { c.Spans(now, spans) }) })
	b.Run("logs", func(b *testing.B) {
		measure(b, func() { next(); c.Spans(now, spans) }, func() { c.Logs(now, logs) })
	})
	b.Run("list the newest", func(b *testing.B) {
		for b.Loop() {
			c.List(Filter{Limit: 50})
		}
	})
	b.Run("list what none matches", func(b *testing.B) {
		for b.Loop() {
			c.List(Filter{Limit: 50, Service: "nobody"})
		}
	})
	b.Run("red", func(b *testing.B) {
		for b.Loop() {
			c.RED(now)
		}
	})
	b.Logf("%d MiB of heap, %+v", heap()>>20, c.Stats())
}

func replace(in, old, with []byte) {
	if _, after, found := bytes.Cut(in, old); found {
		copy(in[len(in)-len(after)-len(old):], with)
	}
}

// BenchmarkReplay is the price of a span at a restart: the walk of its batch, its facts and what the correlator does.
func BenchmarkReplay(b *testing.B) {
	batch, n, now := facts1000(), uint64(0), epoch
	renew := func() { // other spans of other traces in the same bytes
		now = now.Add(20 * time.Millisecond)
		_ = otlp.Spans(batch, func(s *otlp.Span) error {
			n++
			trace, span := traceOf(n/8), spanOfRequest(n, 1)
			replace(s.Raw, s.TraceID[:], trace[:])
			replace(s.Raw, s.SpanID[:], span[:])
			return nil
		})
	}
	c := New(DefaultConfig())
	var spans []facts.Span
	replay := func() {
		spans = spans[:0]
		_ = otlp.Spans(batch, func(s *otlp.Span) error {
			spans = append(spans, facts.Span{})
			facts.ReadWire(s, &spans[len(spans)-1])
			return nil
		})
		c.Replay(now, spans, nil)
	}
	for range 2000 {
		renew()
		replay()
	}
	measure(b, renew, replay)
	if s := c.Stats(); s.Duplicates != 0 || s.Exchanges < 90_000 {
		b.Errorf("%+v", s)
	}
}

// facts1000 is a batch of 1000 spans of 480 bytes.
func facts1000() []byte {
	batch := ptrace.NewTraces()
	rs := batch.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(semconv.ServiceName, "orders")
	list := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range uint64(1000) {
		s := list.AppendEmpty()
		s.SetTraceID([16]byte(traceOf(i)))
		s.SetSpanID([8]byte(spanOfRequest(i, 1)))
		s.SetParentSpanID([8]byte(spanOfRequest(i, 2)))
		s.SetName("GET /orders/{id}")
		s.SetKind(ptrace.SpanKindClient)
		for _, key := range []string{semconv.WeftProxy, semconv.HTTPRequestMethod, semconv.HTTPRoute, semconv.URLPath, semconv.RequestIDAttribute,
			semconv.WeftService, semconv.WeftEndpoint, semconv.ServerAddress, semconv.UserAgent} {
			s.Attributes().PutStr(key, "some sixteen byte")
		}
		s.Attributes().PutInt(semconv.HTTPResponseStatusCode, 200)
	}
	raw, _ := new(ptrace.ProtoMarshaler).MarshalTraces(batch)
	return raw
}
