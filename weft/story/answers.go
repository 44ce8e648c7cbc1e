package story

import "time"

// The collector's JSON, as far as it is printed.

type requestAnswer struct {
	RequestID       string    `json:"request_id"`
	TraceIDs        []string  `json:"trace_ids"`
	ClientRequestID string    `json:"client_request_id"`
	Start           time.Time `json:"start"`
	DurationMS      float64   `json:"duration_ms"`
	Status          int       `json:"status"`
	Method          string    `json:"method"`
	Route           string    `json:"route"`
	Service         string    `json:"service"`
	Error           bool      `json:"error"`
	Attempts        int       `json:"attempts"`
	DroppedBy       []string  `json:"dropped_traceparent_by"`
	Spans           []span    `json:"spans"`
	Logs            []record  `json:"logs"`
	Services        []rates   `json:"services"`
	Verdicts        []verdict `json:"verdicts"`
	Alerts          []alert   `json:"alerts"`
	Requests        []struct {
		RequestID  string    `json:"request_id"`
		Start      time.Time `json:"start"`
		DurationMS float64   `json:"duration_ms"`
		Status     int       `json:"status"`
		Method     string    `json:"method"`
		Route      string    `json:"route"`
		Error      bool      `json:"error"`
	} `json:"requests"`
	Links      map[string]string `json:"links"`
	Incomplete []string          `json:"incomplete"`
}

type span struct {
	TraceID       string         `json:"trace_id"`
	SpanID        string         `json:"span_id"`
	ParentSpanID  string         `json:"parent_span_id"`
	AdoptedParent string         `json:"adopted_parent_span_id"`
	Service       string         `json:"service"`
	Instance      string         `json:"instance"`
	Name          string         `json:"name"`
	Kind          string         `json:"kind"`
	StartUnixNano int64          `json:"start_unix_nano"`
	DurationNS    int64          `json:"duration_ns"`
	Status        string         `json:"status"`
	StatusMessage string         `json:"status_message"`
	Attempt       int            `json:"attempt"`
	Proxy         string         `json:"proxy"`
	Attributes    map[string]any `json:"attributes"`
	Routing       *routing       `json:"routing"`
}

type routing struct {
	Service        string `json:"service"`
	Endpoint       string `json:"endpoint"`
	Pick           string `json:"pick"`
	Weight         any    `json:"weight"`
	VerdictVersion string `json:"verdict_version"`
	Outcome        string `json:"outcome"`
}

type record struct {
	TimeUnixNano int64  `json:"time_unix_nano"`
	Service      string `json:"service"`
	Severity     string `json:"severity"`
	Body         string `json:"body"`
	TraceID      string `json:"trace_id"`
	SpanID       string `json:"span_id"`
}

type rates struct {
	Service    string  `json:"service"`
	Rate       float64 `json:"rate"`
	ErrorRatio float64 `json:"error_ratio"`
	P99MS      float64 `json:"p99_ms"`
}

type verdict struct {
	Endpoint string    `json:"endpoint"`
	Address  string    `json:"address"`
	State    string    `json:"state"`
	Weight   int       `json:"weight"`
	Version  uint64    `json:"version"`
	Enforced bool      `json:"enforced"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Current  bool      `json:"current"`
	Evidence struct {
		Attempts           uint64   `json:"attempts"`
		Failures           uint64   `json:"failures"`
		ErrorRatio         float64  `json:"error_ratio"`
		BaselineErrorRatio float64  `json:"baseline_error_ratio"`
		P99                int64    `json:"p99_ns"`
		RestP99            int64    `json:"rest_p99_ns"`
		Window             int64    `json:"window_ns"`
		Reporters          []string `json:"reporters"`
		Witnesses          []string `json:"witnesses"`
		RequestIDs         []string `json:"request_ids"`
		Test               string   `json:"test"`
	} `json:"evidence"`
}

type alert struct {
	Name     string    `json:"name"`
	Status   string    `json:"status"`
	Severity string    `json:"severity"`
	Endpoint string    `json:"endpoint"`
	Subject  string    `json:"subject"` // of one that names no endpoint
	Summary  string    `json:"summary"`
	StartsAt time.Time `json:"starts_at"`
}

type serviceAnswer struct {
	rates
	State     string   `json:"state"`
	Endpoints int      `json:"endpoints"`
	Healthy   int      `json:"endpoints_healthy"`
	Calls     []string `json:"calls"`
}
