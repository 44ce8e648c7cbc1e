package red

import (
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"testing"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/internal/semconv"
)

// totals sums a metric by one label's value.
func totals(m *Meter, now time.Time, metric, by string) map[string]float64 {
	out := map[string]float64{}
	for _, s := range m.Flush(now) {
		if s.Name != metric || s.Time != now.UnixMilli() {
			continue
		}
		for _, l := range s.Labels {
			if l.Name == by {
				out[l.Value] += s.Value
			}
		}
	}
	return out
}

func sum(m map[string]float64) (total float64) {
	for _, v := range m {
		total += v
	}
	return total
}

// TestAServiceThatPutsIDsIntoSpanNames is named, keeps its totals, and costs the others nothing.
func TestAServiceThatPutsIDsIntoSpanNames(t *testing.T) {
	m := NewMeter(Config{Pending: 1000, Services: 10, SpanNames: 20, ServiceCalls: 30, Calls: 1000, ServiceEdges: 10, Edges: 100})
	const each = 5000
	for i := range each {
		bad := span(byte(i), 0, "legacy", signal.KindServer, web(200))
		bad.SpanID[1], bad.Name = byte(i>>8), fmt.Sprintf("GET /items/%d", i)
		good := span(byte(i), 0, "orders", signal.KindServer, web(200))
		good.SpanID[1], good.SpanID[2] = byte(i>>8), 1
		record(m, epoch, bad, good)
	}
	names := totals(m, epoch, semconv.SpanMetricsCalls, "span_name")
	if len(names) != 22 || names[other] != each-20 || names["op orders"] != each {
		t.Errorf("%d names, %v in the overflow series, %v of the good service", len(names), names[other], names["op orders"])
	}
	if services := totals(m, epoch.Add(time.Second), semconv.SpanMetricsCalls, "service"); services["legacy"] != each || services["orders"] != each {
		t.Errorf("totals %v", services)
	}
	got := m.Offenders()
	if len(got) != 1 || got[0].Service != "legacy" || got[0].Label != "span_name" || got[0].Items != each-20 || got[0].Example == "" {
		t.Fatalf("offenders %+v", got)
	}
	if off := float64(got[0].Values)/(each-20) - 1; off < -0.25 || off > 0.25 {
		t.Errorf("about %d names of %d", got[0].Values, each-20)
	}
	if m.Stats().Overflowed != each-20 {
		t.Errorf("stats %+v", m.Stats())
	}
}

func TestEveryBoundKeepsTotals(t *testing.T) {
	cfg := Config{Pending: 10, Services: 4, SpanNames: 5, ServiceCalls: 8, Calls: 25, ServiceEdges: 3, Edges: 7}
	m := NewMeter(cfg)
	const calls = 3000
	for i := range calls {
		s := span(byte(i), 0, fmt.Sprintf("svc%d", i%10), signal.KindServer, web(200+300*(i%2)))
		s.SpanID[1], s.Name = byte(i>>8), fmt.Sprintf("GET /items/%d", i%90)
		c := span(byte(i), 7, fmt.Sprintf("svc%d", i%10), signal.KindClient, proxied("sidecar", fmt.Sprintf("to%d", i%30), 200))
		c.SpanID[1], c.SpanID[2] = byte(i>>8), 1
		w := span(byte(i), 0, "svc0", signal.KindClient, web(200)) // waits for ever
		w.SpanID[1], w.SpanID[2] = byte(i>>8), 2
		record(m, epoch, s, c, w)
	}
	services := totals(m, epoch, semconv.SpanMetricsCalls, "service")
	if len(services) != cfg.Services+1 || sum(services) != 3*calls || services[other] != 2*calls*6/10 {
		t.Errorf("services %v", services)
	}
	edges := totals(m, epoch.Add(time.Second), semconv.ServiceGraphRequests, "client")
	if sum(edges) != 2*calls || edges["user"] != calls || edges[other] != calls*6/10 {
		t.Errorf("edges %v", edges)
	}
	if m.calls.sets > cfg.Calls+2*3*(cfg.Services+1) || m.graph.edges > cfg.Edges+2*(cfg.Services+2) {
		t.Errorf("%d label sets of calls, %d of edges", m.calls.sets, m.graph.edges)
	}
	if got := m.Stats(); got.PendingDropped != calls-10 || got.Pending != 10 {
		t.Errorf("stats %+v", got)
	}
	found := map[string]bool{}
	for _, o := range m.Offenders() {
		found[o.Label] = true
		if o.Label == "service" && (o.Service != other || o.Values != 6) {
			t.Errorf("offender %+v", o)
		}
	}
	if len(found) != 3 {
		t.Errorf("offenders %v", found)
	}
	m.Flush(epoch.Add(time.Hour))
	if m.calls.sets+m.graph.edges+len(m.services.byName)+m.graph.pending.len() != 0 {
		t.Errorf("idle label sets were kept: %d, %d, %d services, %d pending", m.calls.sets, m.graph.edges, len(m.services.byName), m.graph.pending.len())
	}
}

func TestOverflowEstimates(t *testing.T) {
	seed := maphash.MakeSeed()
	for _, want := range []int{1, 10, 100, 1000, 100_000, 300_000} {
		var o overflow
		for i := range want {
			for range 2 {
				o.add(int64(i), seed, fmt.Sprintf("GET /items/%d", i))
			}
		}
		if off := float64(o.values())/float64(want) - 1; off < -0.25 || off > 0.25 {
			t.Errorf("%d values are estimated as %d", want, o.values())
		}
	}
}

// TestHalvesMeetUnderLoad: pairs are made although more wait in all than may wait at once.
func TestHalvesMeetUnderLoad(t *testing.T) {
	m := NewMeter(Config{Pending: 500, Services: 10, SpanNames: 10, ServiceCalls: 30, Calls: 100, ServiceEdges: 10, Edges: 100})
	const pairs = 20_000
	half := func(i int, kind signal.Kind) facts.Span {
		id := signal.SpanID{byte(i), byte(i >> 8), byte(i >> 16), 1}
		s := facts.Span{Trace: signal.TraceID{1}, ID: id, Kind: kind, Service: "web", Name: hex.EncodeToString(id[:1]), Start: 1, End: 2}
		if kind == signal.KindServer {
			s.Service, s.Parent, s.ID[7] = "api", id, 1
		}
		return s
	}
	for i := range pairs + 100 {
		now := epoch.Add(time.Duration(i) * 10 * time.Microsecond)
		m.Expire(now)
		if i < pairs {
			s := half(i, signal.KindClient)
			m.Span(now, &s, "")
			alone := half(i, signal.KindClient)
			alone.ID[6] = 1
			m.Span(now, &alone, "")
		}
		if i >= 100 {
			s := half(i-100, signal.KindServer)
			m.Span(now, &s, "")
		}
	}
	if got := totals(m, epoch.Add(time.Second), semconv.ServiceGraphRequests, "client"); got["web"] != pairs {
		t.Errorf("edges %v", got)
	}
	if got := m.Stats(); got.Pending > 500 || got.PendingDropped == 0 {
		t.Errorf("stats %+v", got)
	}
}
