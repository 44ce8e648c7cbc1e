package correlate

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/internal/semconv"
)

// dropped is the shop's request when storefront does not pass traceparent on, but does pass x-request-id: its
// onward call begins trace 2.
func dropped(requestID string) []signal.Span {
	first := shop(1, requestID)[:4]
	call := app(2, 4, -1, "storefront", signal.KindClient)
	return append(first, call,
		outbound(2, 5, 4, "storefront", "orders", requestID), inbound(2, 6, 5, "orders", requestID), app(2, 7, 6, "orders", signal.KindServer))
}

func repaired() []signal.Span {
	spans := append(shop(1, "r")[:4:4], shop(1, "r")[5:]...)
	spans[4].Attributes[semconv.WeftTraceRepaired] = true
	spans[4].ParentID = spanID(2)
	return spans
}

func describe(e Exchange) string {
	var traces []string
	for _, id := range e.TraceIDs {
		traces = append(traces, fmt.Sprint(id[15]))
	}
	return fmt.Sprintf("%s traces=%s %s %s %d by %s touched=%s error=%v attempts=%d dropped=%s",
		e.RequestID, strings.Join(traces, "+"), e.Method, e.Route, e.Status, e.Service, strings.Join(e.Services, "+"), e.Error, e.Attempts, strings.Join(e.DroppedBy, "+"))
}

var scenarios = []struct {
	name  string
	spans []signal.Span
	logs  []signal.Log
	want  []string
}{
	{"one request", shop(1, "r"), []signal.Log{logOf(1, "catalog", "")},
		[]string{"r traces=1 GET /api/home 200 by gateway touched=catalog+gateway+orders+storefront error=false attempts=1 dropped="}},
	{"a log by request ID alone", shop(1, "r"), []signal.Log{logOf(0, "billing", "r")},
		[]string{"r traces=1 GET /api/home 200 by gateway touched=billing+gateway+orders+storefront error=false attempts=1 dropped="}},
	{"the request ID is the trace ID", shop(1, traceID(1).String()), []signal.Log{logOf(0, "billing", traceID(1).String())},
		[]string{traceID(1).String() + " traces=1 GET /api/home 200 by gateway touched=billing+gateway+orders+storefront error=false attempts=1 dropped="}},
	{"traceparent dropped, request ID kept", dropped("r"), nil,
		[]string{"r traces=1+2 GET /api/home 200 by gateway touched=gateway+orders+storefront error=false attempts=1 dropped=storefront"}},
	{"traceparent dropped, request ID is the first trace's", dropped(traceID(1).String()), nil,
		[]string{traceID(1).String() + " traces=1+2 GET /api/home 200 by gateway touched=gateway+orders+storefront error=false attempts=1 dropped=storefront"}},
	{"a sidecar repaired the trace", repaired(), nil,
		[]string{"r traces=1 GET /api/home 200 by gateway touched=gateway+orders+storefront error=false attempts=1 dropped=storefront"}},
	{"a service ignores what its sidecar hands it", append(shop(1, "r")[:3:3], spanOf(2, 3, -1, "storefront", signal.KindServer, signal.Attributes{semconv.RequestIDAttribute: "r"})), nil,
		[]string{"r traces=1+2 GET /api/home 200 by gateway touched=gateway+storefront error=false attempts=1 dropped=storefront"}},
	{"two gateway requests in one trace", append(shop(1, "a"), gatewayServer(1, 50, "b", "/api/cart", 404)), nil,
		[]string{"b traces=1 GET /api/cart 404 by gateway touched=gateway+orders+storefront error=false attempts=1 dropped=",
			"a traces=1 GET /api/home 200 by gateway touched=gateway+orders+storefront error=false attempts=1 dropped="}},
	{"a client that repeats its request ID drops nothing", append(shop(1, "r"), gatewayServer(2, 60, "r", "/api/home", 500)), nil,
		[]string{"r traces=2 GET /api/home 500 by gateway touched=gateway error=true attempts=1 dropped=",
			"r traces=1 GET /api/home 200 by gateway touched=gateway+orders+storefront error=false attempts=1 dropped="}},
	{"no proxy at all", []signal.Span{app(1, 0, -1, "web", signal.KindServer), app(1, 1, 0, "web", signal.KindClient), app(1, 2, 1, "db-api", signal.KindServer)}, nil,
		[]string{traceID(1).String() + " traces=1 GET  200 by web touched=db-api+web error=false attempts=1 dropped="}},
	{"a job without a server span", []signal.Span{app(1, 0, -1, "cron", signal.KindInternal)}, nil,
		[]string{traceID(1).String() + " traces=1 GET  200 by cron touched=cron error=false attempts=1 dropped="}},
	{"a retry that worked", append(shop(1, "r"), spanOf(1, 9, 0, "gateway", signal.KindClient, signal.Attributes{
		semconv.WeftProxy: "gateway", semconv.WeftService: "storefront", semconv.HTTPResendCount: int64(1)})), nil,
		[]string{"r traces=1 GET /api/home 200 by gateway touched=gateway+orders+storefront error=false attempts=2 dropped="}},
	{"a failed TCP connection is no request", []signal.Span{spanOf(1, 0, -1, "orders", signal.KindClient, signal.Attributes{semconv.WeftProxy: "sidecar", semconv.WeftService: "mysql"})}, nil, nil},
	{"nor is a query", []signal.Span{spanOf(1, 0, -1, "orders", signal.KindClient, signal.Attributes{"db.system.name": "mysql"})}, nil, nil},
	{"logs alone are no exchange yet", nil, []signal.Log{logOf(1, "a", ""), logOf(0, "b", "x")}, nil},
}

func TestExchange(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			c := New(DefaultConfig())
			c.Spans(epoch, facts.Spans(s.spans))
			c.Logs(epoch, facts.Logs(s.logs))
			var got []string
			for _, e := range c.List(Filter{}) {
				got = append(got, describe(e))
			}
			if !slices.Equal(got, s.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(s.want, "\n"))
			}
			if len(s.spans) > 0 {
				checkAssembled(t, s.spans, s.logs, c.List(Filter{}))
			}
		})
	}
}

// checkAssembled holds what Assemble makes of the stored signals against what the Correlator remembered.
func checkAssembled(t *testing.T, spans []signal.Span, logs []signal.Log, listed []Exchange) {
	t.Helper()
	w, ok := Assemble("", append(spans, spans...), append(logs, logs...))
	if !ok || len(w.Spans) != len(spans) || len(w.Logs) != len(logs) {
		t.Fatalf("assembled %d spans and %d logs of %d and %d", len(w.Spans), len(w.Logs), len(spans), len(logs))
	}
	if len(listed) == 1 && describe(w.Exchange) != describe(listed[0]) {
		t.Errorf("assembled %s\nlisted    %s", describe(w.Exchange), describe(listed[0]))
	}
	if len(listed) > 1 && len(w.Requests) != len(listed) {
		t.Errorf("assembled %d requests, listed %d", len(w.Requests), len(listed))
	}
}

func TestLateSignalsJoin(t *testing.T) {
	c := New(DefaultConfig())
	spans := dropped("r")
	c.Spans(epoch, facts.Spans(spans[:4]))
	c.Spans(epoch.Add(30*time.Second), facts.Spans(spans[4:]))
	c.Logs(epoch.Add(31*time.Second), facts.Logs([]signal.Log{logOf(2, "orders", "r")}))
	got := c.List(Filter{})
	if len(got) != 1 || len(got[0].TraceIDs) != 2 || !slices.Equal(got[0].DroppedBy, []string{"storefront"}) {
		t.Fatalf("got %+v", got)
	}
}

func TestFindByAnyID(t *testing.T) {
	c := New(DefaultConfig())
	spans := shop(1, "r")
	spans[0].ClientRequestID = "mine"
	spans[0].Attributes[semconv.ClientTraceID] = traceID(9).String()
	c.Spans(epoch, facts.Spans(spans))
	for _, id := range []string{"r", traceID(1).String(), "mine", traceID(9).String()} {
		if got := c.Find(id); len(got) != 1 || got[0].RequestID != "r" || got[0].ClientRequestID != "mine" {
			t.Errorf("Find(%q) = %+v", id, got)
		}
	}
	if got := c.Find("nobody"); len(got) != 0 {
		t.Errorf("Find(nobody) = %+v", got)
	}
}

func TestFilter(t *testing.T) {
	c := New(DefaultConfig())
	for i := range 20 {
		spans := shop(byte(i+1), fmt.Sprintf("r%02d", i))
		spans[0].Start += int64(i) * int64(time.Second)
		spans[0].End = spans[0].Start + int64(i)*int64(time.Millisecond)
		if i%2 == 1 {
			spans[0].Attributes[semconv.HTTPResponseStatusCode] = int64(503)
			spans[0].Attributes[semconv.HTTPRoute] = "/api/checkout"
		}
		c.Spans(epoch.Add(time.Duration(i)*time.Second), facts.Spans(spans))
	}
	for _, tc := range []struct {
		name   string
		filter Filter
		want   int
		first  string
	}{
		{"all", Filter{}, 20, "r19"},
		{"limit", Filter{Limit: 3}, 3, "r19"},
		{"route", Filter{Route: "/api/home", Limit: 50}, 10, "r18"},
		{"status", Filter{Status: func(s int) bool { return s/100 == 5 }}, 10, "r19"},
		{"error", Filter{Error: true, Limit: 2}, 2, "r19"},
		{"duration", Filter{MinDuration: 18 * time.Millisecond}, 2, "r19"},
		{"service", Filter{Service: "orders", Limit: 5}, 5, "r19"},
		{"nothing", Filter{Service: "nobody"}, 0, ""},
	} {
		got := c.List(tc.filter)
		if len(got) != tc.want || tc.want > 0 && got[0].RequestID != tc.first {
			t.Errorf("%s: %d exchanges, want %d, first %s", tc.name, len(got), tc.want, tc.first)
		}
	}
}

// TestListBesideSpans: a list that lets others have their turn is sorted, has nothing twice, and has all that rests.
func TestListBesideSpans(t *testing.T) {
	c, now := New(DefaultConfig()), epoch
	const resting = 3000
	for i := range resting {
		s := facts.Span{Trace: traceOf(1<<40 + uint64(i)), ID: spanID(i), Kind: signal.KindServer, Service: "rests", Start: now.UnixNano() + int64(i)}
		c.Spans(now, []facts.Span{s})
	}
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		traffic := newTraffic()
		for range 200 {
			now = now.Add(100 * time.Millisecond)
			spans, logs := traffic.next(now)
			c.Spans(now, spans)
			c.Logs(now, logs)
		}
	})
	for range 10 {
		all, met, rests := c.List(Filter{}), map[signal.TraceID]bool{}, 0
		for i, e := range all {
			if met[e.TraceIDs[0]] || i > 0 && newestFirst(all[i-1], e) > 0 {
				t.Fatalf("exchange %d of %d comes twice or out of order", i, len(all))
			}
			met[e.TraceIDs[0]] = true
			if e.Service == "rests" {
				rests++
			}
		}
		if rests != resting {
			t.Fatalf("%d of %d that rest", rests, resting)
		}
		if some := c.List(Filter{Service: "rests", Limit: 10}); len(some) != 10 || some[0].Start != epoch.UnixNano()+resting-1 {
			t.Fatalf("the newest of those that rest: %+v", some)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Exchanges = 10
	c := New(cfg)
	for i := range 100 {
		c.Spans(epoch.Add(time.Duration(i)*time.Second), facts.Spans(shop(byte(i+1), fmt.Sprintf("r%02d", i))))
	}
	if got := c.List(Filter{}); len(got) != 10 || c.Stats().ExchangesEvicted != 90 {
		t.Errorf("%d exchanges, evicted %d", len(got), c.Stats().ExchangesEvicted)
	}
	if n := len(c.join.byTrace); n != 10 {
		t.Errorf("%d traces remembered", n)
	}
	if n := len(c.join.byID); n != 10 {
		t.Errorf("%d request IDs remembered", n)
	}
}

func TestOneRequestIDForEverJoinsNoMoreThanItsBound(t *testing.T) {
	c := New(DefaultConfig())
	for i := range 200 {
		c.Spans(epoch, facts.Spans(shop(byte(i+1), "always-the-same")))
	}
	s := c.Stats()
	if s.JoinsRefused == 0 || s.Exchanges < 10 {
		t.Errorf("stats %+v", s)
	}
	if got := c.List(Filter{Limit: 1000}); len(got) != 200 {
		t.Errorf("%d exchanges of 200 requests", len(got))
	}
}

func TestOnlyOneOfSeveralRequests(t *testing.T) {
	a, b := shop(1, "a"), shop(1, "b")
	for i := range b { // the same trace, other spans
		b[i].SpanID[0], b[i].Start, b[i].End = 1, b[i].Start+1e9, b[i].End+1e9
		if !b[i].ParentID.IsZero() {
			b[i].ParentID[0] = 1
		}
	}
	l := logOf(1, "orders", "")
	l.SpanID = b[7].SpanID
	w, _ := Assemble(traceID(1).String(), append(a, b...), []signal.Log{l})
	if len(w.Requests) != 2 || len(w.Spans) != 16 {
		t.Fatalf("%d requests, %d spans", len(w.Requests), len(w.Spans))
	}
	one, ok := w.Only(b[0].SpanID)
	if !ok || one.RequestID != "b" || len(one.Spans) != 8 || len(one.Logs) != 1 {
		t.Errorf("ok=%v %s: %d spans, %d logs", ok, one.RequestID, len(one.Spans), len(one.Logs))
	}
	if _, ok := w.Only(spanID(77)); ok {
		t.Error("found a request that is not there")
	}
}

func TestDroppedTraceIsAdopted(t *testing.T) {
	w, _ := Assemble("r", dropped("r"), nil)
	if got := w.Adopted[traceID(2)][spanID(4)]; got != spanID(3) {
		t.Errorf("adopted by %v, want storefront's own server span", got)
	}
}

func TestReplayFillsMemoryAndCountsNothing(t *testing.T) {
	c := New(DefaultConfig())
	c.Replay(epoch.Add(time.Second), facts.Spans(shop(1, "r")), facts.Logs([]signal.Log{logOf(0, "billing", "r")}))
	c.Spans(epoch.Add(2*time.Second), facts.Spans(shop(1, "r"))) // sent again after the restart
	if got := c.List(Filter{}); len(got) != 1 || !slices.Contains(got[0].Services, "billing") {
		t.Errorf("exchanges %+v", got)
	}
	if got := c.RED(epoch.Add(2 * time.Second)); len(got) != 3 || got[0].Requests != 1 || !slices.Equal(got[0].Calls, []string{"storefront"}) {
		t.Errorf("services %+v", got)
	}
	for _, s := range c.Flush(epoch.Add(3 * time.Second)) {
		if s.Value != 0 {
			t.Fatalf("%s%v counts %v a second time", s.Name, s.Labels, s.Value)
		}
	}
	if c.Stats().Duplicates != 8 {
		t.Errorf("stats %+v", c.Stats())
	}
}
