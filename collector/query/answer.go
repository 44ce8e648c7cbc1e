package query

import (
	"fmt"
	"math"
	"net/url"
	"time"

	"weft/collector/correlate"
	"weft/collector/signal"
	"weft/internal/sample"
	"weft/internal/semconv"
)

// summaryJSON is one request in a list.
type summaryJSON struct {
	RequestID       string    `json:"request_id"`
	TraceID         string    `json:"trace_id"`
	TraceIDs        []string  `json:"trace_ids"`
	ClientRequestID string    `json:"client_request_id"`
	Start           time.Time `json:"start"`
	DurationMS      float64   `json:"duration_ms"`
	Status          int       `json:"status"`
	Method          string    `json:"method"`
	Route           string    `json:"route"`
	Service         string    `json:"service"`
	Services        []string  `json:"services"`
	Error           bool      `json:"error"`
	Attempts        int       `json:"attempts"`
	DroppedBy       []string  `json:"dropped_traceparent_by"`
	SpanID          string    `json:"span_id"`
	Href            string    `json:"href"`
}

// requestJSON is one request with all that is known of it.
type requestJSON struct {
	RequestID       string            `json:"request_id"`
	TraceID         string            `json:"trace_id"`
	TraceIDs        []string          `json:"trace_ids"`
	ClientRequestID string            `json:"client_request_id"`
	Start           time.Time         `json:"start"`
	DurationMS      float64           `json:"duration_ms"`
	Status          int               `json:"status"`
	Method          string            `json:"method"`
	Route           string            `json:"route"`
	Service         string            `json:"service"`
	Error           bool              `json:"error"`
	Attempts        int               `json:"attempts"`
	DroppedBy       []string          `json:"dropped_traceparent_by"`
	Spans           []spanJSON        `json:"spans"`
	Logs            []logJSON         `json:"logs"`
	Services        []ratesJSON       `json:"services"`
	ServicesAt      time.Time         `json:"services_at"`
	Verdicts        []verdictJSON     `json:"verdicts"`
	Alerts          []Alert           `json:"alerts"`
	Requests        []summaryJSON     `json:"requests"`
	Links           map[string]string `json:"links"`
	Incomplete      []string          `json:"incomplete"` // why something is missing
	Truncated       bool              `json:"truncated"`  // it is, because the request is larger than an answer may be
}

type spanJSON struct {
	TraceID       string         `json:"trace_id"`
	SpanID        string         `json:"span_id"`
	ParentSpanID  string         `json:"parent_span_id"`
	AdoptedParent string         `json:"adopted_parent_span_id,omitempty"`
	Service       string         `json:"service"`
	Instance      string         `json:"instance"`
	Endpoint      string         `json:"endpoint"` // where an attempt was made, otherwise the instance
	Name          string         `json:"name"`
	Kind          string         `json:"kind"`
	StartUnixNano int64          `json:"start_unix_nano"`
	DurationNS    int64          `json:"duration_ns"`
	Status        string         `json:"status"`
	StatusMessage string         `json:"status_message,omitempty"`
	Attempt       int            `json:"attempt"` // 0 for the first
	Proxy         string         `json:"proxy,omitempty"`
	Routing       *routingJSON   `json:"routing,omitempty"`
	Attributes    map[string]any `json:"attributes"`
	Events        []eventJSON    `json:"events,omitempty"`
}

// routingJSON is why a proxy made its attempt where it did.
type routingJSON struct {
	Service        string `json:"service"`
	Endpoint       string `json:"endpoint"`
	Address        string `json:"address"`
	Pick           string `json:"pick"`
	Weight         any    `json:"weight"`
	VerdictVersion string `json:"verdict_version"`
	Outcome        string `json:"outcome"`
	Cause          string `json:"cause,omitempty"` // the endpoint whose failure this one passed on
}

type eventJSON struct {
	TimeUnixNano int64          `json:"time_unix_nano"`
	Name         string         `json:"name"`
	Attributes   map[string]any `json:"attributes"`
}

type logJSON struct {
	TimeUnixNano int64          `json:"time_unix_nano"`
	Service      string         `json:"service"`
	Instance     string         `json:"instance"`
	Severity     string         `json:"severity"`
	Body         string         `json:"body"`
	TraceID      string         `json:"trace_id"`
	SpanID       string         `json:"span_id"`
	RequestID    string         `json:"request_id"`
	Attributes   map[string]any `json:"attributes"`
}

type ratesJSON struct {
	Service    string  `json:"service"`
	Rate       float64 `json:"rate"` // per second
	ErrorRatio float64 `json:"error_ratio"`
	P99MS      float64 `json:"p99_ms"`
}

type verdictJSON struct {
	Endpoint string          `json:"endpoint"`
	Service  string          `json:"service"`
	Instance string          `json:"instance"`
	Address  string          `json:"address"`
	State    sample.State    `json:"state"`
	Weight   int             `json:"weight"`
	Version  uint64          `json:"version"`
	Enforced bool            `json:"enforced"`
	Reason   string          `json:"reason"`
	Since    time.Time       `json:"since"`
	Current  bool            `json:"current"` // it still stands
	Evidence sample.Evidence `json:"evidence"`
}

// Alert is one alert as the API shows it.
type Alert struct {
	Fingerprint string            `json:"fingerprint"`
	Name        string            `json:"name"`
	Status      string            `json:"status"` // firing, silenced, resolved
	Severity    string            `json:"severity"`
	Endpoint    string            `json:"endpoint"` // "service/instance", empty when it names none
	Subject     string            `json:"subject"`  // what it is about instead, e.g. "collector store"
	Summary     string            `json:"summary"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      *time.Time        `json:"ends_at"` // null while it fires
	RequestIDs  []string          `json:"request_ids"`
}

func summary(e *correlate.Exchange) summaryJSON {
	s := summaryJSON{
		RequestID: e.RequestID, ClientRequestID: e.ClientRequestID, TraceIDs: traceIDs(e), Start: at(e.Start), DurationMS: milliseconds(e.Duration),
		Status: e.Status, Method: e.Method, Route: e.Route, Service: e.Service, Services: e.Services, Error: e.Error, Attempts: e.Attempts,
		DroppedBy: e.DroppedBy, SpanID: e.RootSpan.String(), Href: requestPath(e.RequestID),
	}
	if len(s.TraceIDs) > 0 {
		s.TraceID = s.TraceIDs[0]
	}
	return s
}

func traceIDs(e *correlate.Exchange) []string {
	ids := make([]string, len(e.TraceIDs))
	for i, id := range e.TraceIDs {
		ids[i] = id.String()
	}
	return ids
}

func span(s *signal.Span, adopted signal.SpanID) spanJSON {
	a := s.Attributes
	out := spanJSON{
		TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), ParentSpanID: s.ParentID.String(), AdoptedParent: adopted.String(),
		Service: s.Service, Instance: s.Instance, Endpoint: s.Instance, Name: s.Name, Kind: s.Kind.String(), StartUnixNano: s.Start, DurationNS: s.Duration(),
		Status: s.Status.String(), StatusMessage: s.StatusMessage, Attempt: int(a.Int(semconv.HTTPResendCount)), Proxy: a.Text(semconv.WeftProxy),
		Attributes: attributes(a),
	}
	if out.Proxy != "" && s.Kind == signal.KindClient {
		out.Endpoint = a.Text(semconv.WeftEndpoint)
		out.Routing = &routingJSON{
			Service: a.Text(semconv.WeftService), Endpoint: out.Endpoint, Address: a.Text(semconv.WeftAddress), Pick: a.Text(semconv.WeftPick),
			Weight: plain(a[semconv.WeftWeight], 0), VerdictVersion: text(a[semconv.WeftVerdictVersion]), Outcome: a.Text(semconv.WeftOutcome), Cause: a.Text(semconv.WeftCause),
		}
	}
	for _, e := range s.Events {
		out.Events = append(out.Events, eventJSON{e.Time, e.Name, attributes(e.Attributes)})
	}
	return out
}

func logRecord(l *signal.Log) logJSON {
	return logJSON{
		TimeUnixNano: l.Time, Service: l.Service, Instance: l.Instance, Severity: l.Severity, Body: l.Body, TraceID: traceText(l.TraceID),
		SpanID: l.SpanID.String(), RequestID: l.RequestID, Attributes: attributes(l.Attributes),
	}
}

func traceText(id signal.TraceID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

func verdict(v *sample.Verdict, current bool) verdictJSON {
	e := v.Evidence
	e.Reporters, e.Witnesses, e.RequestIDs = list(e.Reporters), list(e.Witnesses), list(e.RequestIDs)
	e.ErrorRatio, e.BaselineErrorRatio = finite(e.ErrorRatio), finite(e.BaselineErrorRatio)
	return verdictJSON{
		Endpoint: v.Endpoint.String(), Service: v.Endpoint.Service, Instance: v.Endpoint.Instance, Address: v.Address, State: v.State, Weight: v.Weight,
		Version: v.Version, Enforced: v.Enforced, Reason: v.Reason, Since: v.Since.UTC(), Current: current, Evidence: e,
	}
}

func rates(r *correlate.RED) ratesJSON {
	return ratesJSON{Service: r.Name, Rate: round(r.Rate), ErrorRatio: round(r.Errors), P99MS: round(float64(r.P99) / 1e6)}
}

// attributes are fit for JSON: never null, and without the numbers it has no form for.
func attributes(in signal.Attributes) map[string]any {
	out := make(map[string]any, len(in))
	for key, value := range in {
		out[key] = plain(value, 0)
	}
	return out
}

// maxDepth of nested attribute values; deeper ones are left out.
const maxDepth = 16

func plain(value any, depth int) any {
	if depth > maxDepth {
		return nil
	}
	switch v := value.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return text(v)
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i], depth+1)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = plain(item, depth+1)
		}
		return out
	}
	return value
}

func text(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

func at(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }

func milliseconds(nanoseconds int64) float64 { return float64(nanoseconds) / 1e6 }

// round keeps six digits behind the point.
func round(f float64) float64 { return math.Round(finite(f)*1e6) / 1e6 }

func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

func list(in []string) []string {
	if in == nil {
		return []string{}
	}
	return in
}

func requestPath(id string) string { return "/api/requests/" + url.PathEscape(id) }
