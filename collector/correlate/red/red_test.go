package red

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/internal/semconv"
)

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var bounded = Config{Pending: 1000, Services: 50, SpanNames: 100, ServiceCalls: 300, Calls: 1000, ServiceEdges: 50, Edges: 100}

// span makes one of ten milliseconds; IDs are small numbers, parent 0 is none.
func span(id, parent byte, service string, kind signal.Kind, attrs signal.Attributes) signal.Span {
	s := signal.Span{TraceID: signal.TraceID{15: 1}, SpanID: signal.SpanID{id}, ParentID: signal.SpanID{parent}, Name: "op " + service, Kind: kind,
		Service: service, Instance: service + "-1", Start: epoch.UnixNano() - 10e6, End: epoch.UnixNano(), Attributes: attrs}
	if attrs[semconv.HTTPResponseStatusCode] == int64(500) {
		s.Status = signal.StatusError
	}
	return s
}

func web(status int) signal.Attributes {
	return signal.Attributes{semconv.HTTPRequestMethod: "GET", semconv.HTTPResponseStatusCode: int64(status)}
}

func proxied(by, to string, status int) signal.Attributes {
	a := web(status)
	a[semconv.WeftProxy] = by
	if to != "" {
		a[semconv.WeftService] = to
	}
	return a
}

func tcp(to string) signal.Attributes {
	return signal.Attributes{semconv.WeftProxy: "sidecar", semconv.WeftService: to}
}

func query(system string) signal.Attributes { return signal.Attributes{dbSystemName: system} }

const dbSystemName = "db.system.name"

func record(m *Meter, now time.Time, spans ...signal.Span) {
	m.Expire(now)
	for i := range spans {
		f := facts.Read(&spans[i])
		m.Span(now, &f, f.RequestID)
	}
}

// edges spells out the graph: "client>server total/failed", sorted.
func edges(m *Meter) string {
	values := map[string]string{}
	for _, s := range m.Flush(epoch.Add(time.Second)) {
		if s.Name != semconv.ServiceGraphRequests && s.Name != semconv.ServiceGraphFailed || s.Value == 0 && s.Name == semconv.ServiceGraphRequests {
			continue
		}
		name := ""
		for _, l := range s.Labels {
			switch l.Name {
			case "client":
				name = l.Value + ">"
			case "server":
				name += l.Value
			case "connection_type":
				name += ":" + l.Value
			}
		}
		// connection_type sorts between client and server.
		if client, rest, ok := strings.Cut(name, ">:"); ok {
			for _, l := range s.Labels {
				if l.Name == "server" {
					name = client + ">" + l.Value + ":" + strings.TrimSuffix(rest, l.Value)
				}
			}
		}
		if s.Name == semconv.ServiceGraphRequests {
			values[name] = fmt.Sprintf("%v%s", s.Value, values[name])
		} else if s.Value > 0 {
			values[name] += fmt.Sprintf("/%v", s.Value)
		}
	}
	var out []string
	for name, v := range values {
		if v != "" {
			out = append(out, name+" "+v)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

var graphs = []struct {
	name  string
	spans []signal.Span
	want  string
}{
	{"apps without proxies", []signal.Span{
		span(1, 0, "web", signal.KindServer, web(200)), span(2, 1, "web", signal.KindClient, web(200)), span(3, 2, "api", signal.KindServer, web(200))},
		"user>web:virtual_node 1, web>api 1"},
	{"proxies are no nodes, and a request is one whatever stands between", []signal.Span{
		span(1, 0, "gateway", signal.KindServer, proxied("gateway", "", 200)),
		span(2, 1, "gateway", signal.KindClient, proxied("gateway", "orders", 200)),
		span(3, 2, "orders", signal.KindServer, proxied("sidecar", "", 200)),
		span(4, 3, "orders", signal.KindServer, web(200)),
		span(5, 4, "orders", signal.KindClient, web(200)),
		span(6, 5, "orders", signal.KindClient, proxied("sidecar", "payment", 200)),
		span(7, 6, "payment", signal.KindServer, proxied("sidecar", "", 200)),
		span(8, 7, "payment", signal.KindServer, web(200))},
		"gateway>orders 1, orders>payment 1, user>gateway:virtual_node 1"},
	{"retries are the same request", []signal.Span{
		span(2, 1, "gateway", signal.KindClient, proxied("gateway", "orders", 500)),
		span(3, 1, "gateway", signal.KindClient, func() signal.Attributes {
			a := proxied("gateway", "orders", 200)
			a[semconv.HTTPResendCount] = int64(1)
			return a
		}())},
		"gateway>orders 1/1"},
	{"a refused request is not a failed one", []signal.Span{
		span(2, 1, "web", signal.KindClient, web(404)), span(3, 2, "api", signal.KindServer, web(404))},
		"web>api 1"},
	{"a failure on either side", []signal.Span{
		span(2, 1, "web", signal.KindClient, web(500)), span(3, 2, "api", signal.KindServer, web(200))},
		"web>api 1/1"},
	{"a database by its client's spans", []signal.Span{
		span(1, 9, "orders", signal.KindClient, query("mysql")), span(2, 9, "orders", signal.KindClient, query("mysql"))},
		"orders>mysql:database 2"},
	{"a database by a TCP route", []signal.Span{span(1, 0, "orders", signal.KindClient, tcp("mysql"))},
		"orders>mysql:database 1"},
	{"queries count, and then connections do not", []signal.Span{
		span(1, 9, "orders", signal.KindClient, query("mysql")), span(2, 0, "orders", signal.KindClient, tcp("mysql"))},
		"orders>mysql:database 1"},
	{"a queue", []signal.Span{
		span(1, 9, "orders", signal.KindProducer, signal.Attributes{}), span(2, 1, "mailer", signal.KindConsumer, signal.Attributes{})},
		"orders>mailer:messaging_system 1"},
}

func TestServiceGraphInAnyOrder(t *testing.T) {
	for _, g := range graphs {
		t.Run(g.name, func(t *testing.T) {
			for seed := range uint64(40) {
				m := NewMeter(bounded)
				spans := slices.Clone(g.spans)
				if g.name != "queries count, and then connections do not" {
					rand.New(rand.NewPCG(seed, 1)).Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
				}
				for i, s := range spans {
					record(m, epoch.Add(time.Duration(i)*5*time.Second), s)
				}
				if got := edges(m); got != g.want {
					t.Fatalf("order %d: %s, want %s", seed, got, g.want)
				}
			}
		})
	}
}

func TestASidecarsServiceIsCountedOnce(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		m := NewMeter(bounded)
		record(m, epoch, span(90, 91, "payment", signal.KindServer, proxied("sidecar", "", 200))) // payment is known to have one
		pair := []signal.Span{span(3, 2, "payment", signal.KindServer, proxied("sidecar", "", 500)), span(4, 3, "payment", signal.KindServer, web(500))}
		for _, i := range order {
			record(m, epoch, pair[i])
		}
		record(m, epoch, span(7, 6, "payment", signal.KindServer, web(200))) // an instance without a sidecar
		m.Expire(epoch.Add(time.Minute))
		got := m.Services(epoch)
		if len(got) != 1 || got[0].Requests != 3 || got[0].Errors < 0.33 || got[0].Errors > 0.34 || !got[0].Proxied {
			t.Errorf("order %v: %+v", order, got)
		}
	}
}

func TestServicesOverAMinute(t *testing.T) {
	m := NewMeter(bounded)
	for i := range 600 { // ten minutes at 1/s, each a millisecond slower, every tenth fails
		s := span(byte(i), 0, "api", signal.KindServer, web(200))
		if i%10 == 0 {
			s = span(byte(i), 0, "api", signal.KindServer, web(500))
		}
		s.End = epoch.Add(time.Duration(i) * time.Second).UnixNano()
		s.Start = s.End - int64(i)*1e6
		record(m, epoch.Add(time.Duration(i)*time.Second), s)
	}
	for _, at := range []int{120, 300, 599} {
		got := m.Services(epoch.Add(time.Duration(at)*time.Second + 999*time.Millisecond))[0]
		if got.Rate < 0.95 || got.Rate > 1.05 || got.Errors < 0.05 || got.Errors > 0.15 {
			t.Errorf("at %d s: rate %.3f, errors %.3f", at, got.Rate, got.Errors)
		}
		if p99, want := got.P99.Seconds(), float64(at)/1000; p99 < want*0.93 || p99 > want*1.07 {
			t.Errorf("at %d s: p99 %.3f s, want about %.3f", at, p99, want)
		}
	}
	if got := m.Services(epoch.Add(time.Hour))[0]; got.Requests != 0 {
		t.Errorf("an hour later: %+v", got)
	}
}

func TestSeriesAreWhatGrafanaReads(t *testing.T) {
	m := NewMeter(bounded)
	s := span(1, 0, "api", signal.KindServer, web(200))
	s.RequestID = "my-request"
	record(m, epoch, s)
	var zeros, exemplars int
	got := map[string]Series{}
	for _, s := range m.Flush(epoch.Add(time.Second)) {
		if !slices.IsSortedFunc(s.Labels, func(a, b Label) int { return cmp.Compare(a.Name, b.Name) }) {
			t.Errorf("labels of %s are not sorted: %v", s.Name, s.Labels)
		}
		if s.Time < epoch.Add(time.Second).UnixMilli() {
			zeros++
			if s.Value != 0 {
				t.Errorf("a series begins at %v", s.Value)
			}
			continue
		}
		exemplars += len(s.Exemplars)
		got[s.Name+fmt.Sprint(s.Labels)] = s
	}
	for key, want := range map[string]float64{
		"traces_spanmetrics_calls_total[{service api} {span_kind SPAN_KIND_SERVER} {span_name op api} {status_code STATUS_CODE_UNSET}]":               1,
		"traces_spanmetrics_latency_bucket[{le 0.008} {service api} {span_kind SPAN_KIND_SERVER} {span_name op api} {status_code STATUS_CODE_UNSET}]": 0,
		"traces_spanmetrics_latency_bucket[{le 0.016} {service api} {span_kind SPAN_KIND_SERVER} {span_name op api} {status_code STATUS_CODE_UNSET}]": 1,
		"traces_spanmetrics_latency_bucket[{le +Inf} {service api} {span_kind SPAN_KIND_SERVER} {span_name op api} {status_code STATUS_CODE_UNSET}]":  1,
		"traces_spanmetrics_latency_count[{service api} {span_kind SPAN_KIND_SERVER} {span_name op api} {status_code STATUS_CODE_UNSET}]":             1,
		"traces_service_graph_request_total[{client user} {connection_type virtual_node} {server api}]":                                               1,
		"traces_service_graph_request_failed_total[{client user} {connection_type virtual_node} {server api}]":                                        0,
		"traces_service_graph_request_server_seconds_count[{client user} {connection_type virtual_node} {server api}]":                                1,
	} {
		if s, ok := got[key]; !ok || s.Value != want {
			t.Errorf("%s = %v (present %v), want %v", key, s.Value, ok, want)
		}
	}
	if zeros != len(got) || exemplars != 2 {
		t.Errorf("%d series begin at zero of %d, %d exemplars", zeros, len(got), exemplars)
	}
	e := got["traces_spanmetrics_latency_bucket[{le 0.016} {service api} {span_kind SPAN_KIND_SERVER} {span_name op api} {status_code STATUS_CODE_UNSET}]"].Exemplars
	if len(e) != 1 || fmt.Sprint(e[0].Labels) != "[{request_id my-request} {trace_id 00000000000000000000000000000001}]" {
		t.Errorf("exemplar %+v", e)
	}
	for _, s := range m.Flush(epoch.Add(2 * time.Second)) {
		if len(s.Exemplars) > 0 || s.Time != epoch.Add(2*time.Second).UnixMilli() {
			t.Fatalf("second flush repeats %+v", s)
		}
	}
}

func TestExemplarWithoutRoomHasTheTraceOnly(t *testing.T) {
	e := seenRequest{observed: observed{signal.TraceID{1}, strings.Repeat("x", 79), 1}}
	if got := e.take(); len(got[0].Labels) != 1 {
		t.Errorf("labels %v exceed 128 characters", got[0].Labels)
	}
	e = seenRequest{observed: observed{signal.TraceID{1}, strings.Repeat("x", 78), 1}}
	if got := e.take(); len(got[0].Labels) != 2 {
		t.Errorf("labels %v would have fit", got[0].Labels)
	}
}

func BenchmarkSpan(b *testing.B) {
	for _, kind := range []signal.Kind{signal.KindServer, signal.KindClient, signal.KindInternal} {
		b.Run(kind.String(), func(b *testing.B) {
			m := NewMeter(Config{Pending: 100_000, Services: 200, SpanNames: 100, ServiceCalls: 300, Calls: 1500, ServiceEdges: 100, Edges: 1000})
			s := span(1, 2, "api", kind, web(200))
			f := facts.Read(&s)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f.ID[1], f.ID[2], f.ID[3], f.Parent[1], f.Parent[2] = byte(i), byte(i>>8), byte(i>>16), byte(i), byte(i>>8)
				m.Span(epoch, &f, "")
			}
		})
	}
}
