package check

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weft/bench/load"
	"weft/collector/signal"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

const moment = 1_790_000_000_000_000_000

// shown is a Story as a collector that keeps everything would tell it.
func shown(t *testing.T, m *load.Model, n uint64) *Story {
	t.Helper()
	s := &Story{}
	encode := func(signal load.Signal) []byte {
		return m.NewEncoder().Append(nil, load.Batch{Signal: signal, To: load.SpansPerTrace, Traces: 1, First: n, Base: moment})
	}
	text := func(attrs []otlp.Attr) map[string]any {
		out := map[string]any{}
		for _, a := range attrs {
			out[a.Key] = a.Value.Any()
		}
		return out
	}
	err := otlp.Spans(encode(load.Spans), func(x *otlp.Span) error {
		shown := Span{
			SpanID: hex.EncodeToString(x.SpanID[:]), ParentID: hex.EncodeToString(x.ParentID[:]), Name: x.Name, Start: int64(x.Start), Duration: int64(x.End - x.Start),
			Service: x.Resource.Text(semconv.ServiceName), Instance: x.Resource.Text(semconv.ServiceInstanceID),
			Status: [...]string{"unset", "ok", "error"}[x.Status], Attributes: text(x.Attrs),
		}
		if x.ParentID == [8]byte{} {
			shown.ParentID = ""
		}
		s.Spans = append(s.Spans, shown)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = otlp.Logs(encode(load.Logs), func(x *otlp.Log) error {
		s.Logs = append(s.Logs, Record{
			SpanID: hex.EncodeToString(x.SpanID[:]), Time: int64(x.Time), Severity: x.SeverityText, Body: signal.ValueText(&x.Body), Attributes: text(x.Attrs),
			Service: x.Resource.Text(semconv.ServiceName), Instance: x.Resource.Text(semconv.ServiceInstanceID),
			RequestID: otlp.Find(x.Attrs, semconv.RequestIDLog).Text(),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(s) // views end with the walk
	if err != nil {
		t.Fatal(err)
	}
	s = &Story{}
	if err := json.Unmarshal(raw, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// A check that cannot fail checks nothing: each thing that a store may do wrong is counted as what it is.
func TestEveryFaultIsFound(t *testing.T) {
	m := load.NewModel(5, true)
	for name, test := range map[string]struct {
		spoil func(*Story)
		want  Result
	}{
		"as it was sent":  {func(*Story) {}, Result{}},
		"a span missing":  {func(s *Story) { s.Spans = s.Spans[1:] }, Result{Missing: 1}},
		"a record twice":  {func(s *Story) { s.Logs = append(s.Logs, s.Logs[3]) }, Result{Doubled: 1}},
		"all twice":       {func(s *Story) { s.Spans, s.Logs = append(s.Spans, s.Spans...), append(s.Logs, s.Logs...) }, Result{Doubled: 16}},
		"another text":    {func(s *Story) { s.Logs[0].Body += "!" }, Result{Different: 1}},
		"another time":    {func(s *Story) { s.Spans[0].Start++ }, Result{Different: 1}},
		"no attribute":    {func(s *Story) { delete(s.Spans[7].Attributes, semconv.URLPath) }, Result{Different: 1}},
		"another's span":  {func(s *Story) { s.Spans[2].SpanID = "0123456789abcdef" }, Result{Missing: 1, Foreign: 1}},
		"a silent store":  {func(s *Story) { s.Incomplete = []string{"logs"} }, Result{Unanswered: 1}},
		"not even a span": {func(s *Story) { *s = Story{} }, Result{Missing: 16}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := shown(t, m, 9)
				test.spoil(s)
				if err := json.NewEncoder(w).Encode(s); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			api := NewAPI(server.Listener.Addr().String())
			defer api.Close()
			var entries []load.Acknowledged
			for _, signal := range []load.Signal{load.Spans, load.Logs} { // in two batches each, as scattered
				entries = append(entries, load.Acknowledged{Batch: load.Batch{Signal: signal, To: 3, Traces: 1, First: 9, Base: moment}},
					load.Acknowledged{Batch: load.Batch{Signal: signal, From: 3, To: 8, Traces: 1, First: 9, Base: moment}})
			}
			checker := Checker{API: api, Model: m, Until: time.Time{}}
			got, err := checker.Run(t.Context(), Traces(entries))
			if err != nil {
				t.Fatal(err)
			}
			if got.Traces != 1 || got.Spans != 8 || got.Logs != 8 || (got.Faults() > 0) != (len(got.Examples) > 0) {
				t.Errorf("%+v", got)
			}
			got.Traces, got.Spans, got.Logs, got.Examples = 0, 0, 0, nil
			if got.Faults() != test.want.Faults() || got.String() != test.want.String() {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestServerTiming(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"store;dur=1.25": 1250 * time.Microsecond, "total;dur=9, store;desc=\"both\";dur=0.5": 500 * time.Microsecond, "total;dur=9": 0, "": 0, "store;dur=x": 0,
	} {
		if got := serverTiming([]string{header}, "store"); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}
