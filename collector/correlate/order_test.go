package correlate

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/internal/semconv"
)

// anySpan draws from few enough traces, services and IDs that they meet, and few enough that no bound is reached.
func anySpan(t *rapid.T, n int) signal.Span {
	kind := signal.Kind(rapid.IntRange(0, 5).Draw(t, "kind"))
	service := rapid.SampledFrom([]string{"gateway", "orders", "payment", ""}).Draw(t, "service")
	attrs := signal.Attributes{}
	if proxy := rapid.SampledFrom([]string{"", "gateway", "sidecar"}).Draw(t, "proxy"); proxy != "" {
		attrs[semconv.WeftProxy] = proxy
		attrs[semconv.WeftService] = "payment"
	}
	if id := rapid.SampledFrom([]string{"", "r1", "r2", traceID(1).String(), traceID(7).String()}).Draw(t, "request"); id != "" {
		attrs[semconv.RequestIDAttribute] = id
	}
	attrs[semconv.HTTPResponseStatusCode] = int64(rapid.SampledFrom([]int{0, 200, 404, 503}).Draw(t, "status"))
	attrs[semconv.HTTPResendCount] = int64(rapid.IntRange(0, 2).Draw(t, "resend"))
	attrs[semconv.WeftTraceRepaired] = rapid.Bool().Draw(t, "repaired")
	parent := rapid.IntRange(-1, n).Draw(t, "parent")
	s := spanOf(byte(rapid.IntRange(1, 4).Draw(t, "trace")), n, parent, service, kind, attrs)
	s.Start += int64(rapid.IntRange(0, 3).Draw(t, "skew")) * 1e6
	return s
}

func exchangesText(c *Correlator) string {
	text, err := json.MarshalIndent(c.List(Filter{}), "", " ")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// TestOrderDoesNotMatter: in any order, in any batches, doubled and late, the same signals are the same exchanges.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spans []signal.Span
		for n := range rapid.IntRange(1, 15).Draw(t, "spans") {
			spans = append(spans, anySpan(t, n))
		}
		var logs []signal.Log
		for range rapid.IntRange(0, 5).Draw(t, "logs") {
			logs = append(logs, logOf(byte(rapid.IntRange(0, 4).Draw(t, "trace")), rapid.SampledFrom([]string{"orders", "audit"}).Draw(t, "service"),
				rapid.SampledFrom([]string{"", "r1", "r3", traceID(2).String()}).Draw(t, "request")))
		}
		straight := New(DefaultConfig())
		straight.Spans(epoch, facts.Spans(spans))
		straight.Logs(epoch, facts.Logs(logs))

		shuffled := New(DefaultConfig())
		now := epoch
		order := rapid.Permutation(slices.Concat(spans, spans[:rapid.IntRange(0, len(spans)).Draw(t, "doubled")])).Draw(t, "order")
		late := rapid.Permutation(logs).Draw(t, "log order")
		for _, s := range order {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "later")) * time.Second)
			shuffled.Spans(now, []facts.Span{facts.Read(&s)})
			if len(late) > 0 && rapid.Bool().Draw(t, "log now") {
				shuffled.Logs(now, facts.Logs(late[:1]))
				late = late[1:]
			}
		}
		shuffled.Logs(now, facts.Logs(late))
		if a, b := exchangesText(straight), exchangesText(shuffled); a != b {
			t.Fatalf("straight\n%s\nshuffled\n%s", a, b)
		}
		if s := shuffled.Stats(); int(s.Exchanges) != shuffled.walk() {
			t.Fatalf("counts %d groups, links %d", s.Exchanges, shuffled.walk())
		}
	})
}

// walk counts the groups by their links, and checks every index on the way.
func (c *Correlator) walk() int {
	n, weight := 0, 0
	for g := c.join.head; g != nil; g = g.next {
		for _, t := range g.traces {
			if t.group != g || c.join.byTrace[t.id] != t {
				panic(fmt.Sprintf("trace %s is not in its group", t.id))
			}
		}
		for _, id := range g.ids {
			if c.join.byID[id] != g {
				panic("request ID " + id + " leads elsewhere")
			}
		}
		n++
		weight += g.weight
		for _, t := range g.traces {
			weight += t.weight
		}
	}
	if weight != c.join.weight {
		panic(fmt.Sprintf("groups weigh %d, counted %d", weight, c.join.weight))
	}
	return n
}

// FuzzSpans feeds spans made of arbitrary bytes: nothing may panic or grow past its bound.
func FuzzSpans(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"), "r", "payment")
	f.Add([]byte{}, "", "")
	f.Fuzz(func(t *testing.T, raw []byte, requestID, service string) {
		cfg := Config{Exchanges: 3, Seen: 10, Pending: 3, SpanNames: 2, ServiceCalls: 3, Calls: 4, ServiceEdges: 2, Edges: 3, Services: 2}
		c := New(cfg)
		now := epoch
		var all []signal.Span
		for ; len(raw) >= 8; raw = raw[8:] {
			s := signal.Span{
				TraceID: signal.TraceID{raw[0] % 5}, SpanID: signal.SpanID{raw[1] % 9}, ParentID: signal.SpanID{raw[2] % 9},
				Kind: signal.Kind(raw[3]), Status: signal.Status(raw[4]), Service: service[:min(len(service), int(raw[5]))], Name: service,
				Start: int64(raw[6])<<55 - int64(raw[7]), End: int64(raw[7])<<55 + int64(raw[6]),
				RequestID: requestID[:min(len(requestID), int(raw[5]))], ClientRequestID: requestID,
				Attributes: signal.Attributes{semconv.WeftProxy: []string{"", "gateway", "sidecar"}[raw[5]%3], semconv.WeftService: service,
					semconv.HTTPResponseStatusCode: int64(int8(raw[6])) * 99, semconv.HTTPResendCount: int64(int8(raw[7]))},
			}
			all = append(all, s)
			now = now.Add(time.Duration(raw[7]) * time.Second)
			c.Spans(now, facts.Spans([]signal.Span{s}))
			c.Logs(now, facts.Logs([]signal.Log{{TraceID: s.TraceID, RequestID: s.RequestID, Service: service}}))
		}
		if n := c.walk(); n > cfg.Exchanges {
			t.Fatalf("%d exchanges of %d", n, cfg.Exchanges)
		}
		c.List(Filter{Service: service})
		c.Find(requestID)
		c.Flush(now)
		c.RED(now)
		if w, ok := Assemble(requestID, all, nil); ok {
			for _, e := range w.Requests {
				w.Only(e.RootSpan)
			}
		}
	})
}

func BenchmarkList(b *testing.B) {
	c := New(DefaultConfig())
	for i := range 20_000 {
		spans := shop(1, fmt.Sprintf("r%d", i))
		for k := range spans {
			s := &spans[k]
			s.TraceID[1], s.TraceID[2] = byte(i), byte(i>>8)
			s.Start += int64(i) * 1e6
		}
		c.Spans(epoch.Add(time.Duration(i)*time.Millisecond), facts.Spans(spans))
	}
	b.Run("newest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.List(Filter{Limit: 50})
		}
	})
	b.Run("none of 20000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.List(Filter{Limit: 50, Service: "nobody"})
		}
	})
}
