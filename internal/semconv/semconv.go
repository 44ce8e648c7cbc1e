// Package semconv holds the names that telemetry travels under: attribute keys, metric names and headers.
//
// Names without a "weft." prefix are OpenTelemetry's (semantic conventions 1.37) or Grafana's; see docs/glossary.md.
package semconv

// Resource and span attributes of OpenTelemetry.
const (
	ServiceName       = "service.name"
	ServiceNamespace  = "service.namespace"
	ServiceInstanceID = "service.instance.id"
	ServiceVersion    = "service.version"

	HTTPRequestMethod      = "http.request.method"
	HTTPResponseStatusCode = "http.response.status_code"
	HTTPRoute              = "http.route"
	HTTPResendCount        = "http.request.resend_count"
	URLPath                = "url.path"
	URLScheme              = "url.scheme"
	ServerAddress          = "server.address"
	ServerPort             = "server.port"
	ClientAddress          = "client.address"
	UserAgent              = "user_agent.original"
	ErrorType              = "error.type"
	NetworkProtocolVersion = "network.protocol.version"

	// RequestIDAttribute is the span attribute that carries the request ID.
	RequestIDAttribute = "http.request.header.x-request-id"
	// RequestIDLog is the log attribute that carries it.
	RequestIDLog = "request_id"
	TraceIDLog   = "trace_id"
	SpanIDLog    = "span_id"
)

// Weft's own attributes.
const (
	ClientRequestID = "client.request_id" // an untrusted caller's x-request-id, searchable, never trusted
	ClientTraceID   = "client.trace_id"   // an untrusted caller's trace

	WeftProxy          = "weft.proxy"     // "gateway" or "sidecar" on a proxy's spans, absent on an application's
	WeftDirection      = "weft.direction" // "inbound" or "outbound"
	WeftRoute          = "weft.route"     // the route's name
	WeftService        = "weft.service"   // the service an attempt was made at
	WeftEndpoint       = "weft.endpoint"  // the endpoint's instance, e.g. "payment-2"
	WeftAddress        = "weft.endpoint.address"
	WeftPick           = "weft.pick"            // why the endpoint was picked: "p2c", "only", "retry", "probe", "panic"
	WeftWeight         = "weft.endpoint.weight" // its weight at that moment, 0 to 100
	WeftVerdictVersion = "weft.verdict.version" // the verdict version the weight came from
	WeftCause          = "weft.cause"           // "service/instance" whose failure made this one fail
	WeftOutcome        = "weft.outcome"         // ok, error, timeout, connect_failure, load, aborted, downstream
	WeftTraceRepaired  = "weft.trace.repaired"  // true on a sidecar's attempt when its service dropped traceparent and the sidecar went on with the trace
)

// Attributes of a verdict's log record, beside weft.service, weft.endpoint and weft.verdict.version.
const (
	WeftVerdictState    = "weft.verdict.state"    // healthy, degraded, ejected, probing
	WeftVerdictSince    = "weft.verdict.since"    // when the endpoint came into this state, RFC 3339
	WeftVerdictEnforced = "weft.verdict.enforced" // false when the service's trust only observes
	// WeftEvidencePrefix is that of what the verdict rests on: weft.evidence.failures, …; durations are in seconds.
	WeftEvidencePrefix = "weft.evidence."
)

// Headers.
const (
	HeaderRequestID   = "X-Request-Id"
	HeaderTraceparent = "Traceparent"
	HeaderTracestate  = "Tracestate"
	HeaderBaggage     = "Baggage"
	// HeaderAttempt carries the number of the attempt (0 first) between mesh identities.
	HeaderAttempt = "X-Weft-Attempt"
	// HeaderCause is set on a 5xx by the inbound sidecar when a call of the service's own failed: "service/instance".
	HeaderCause = "X-Weft-Cause"
	// HeaderOutcome is set by the inbound sidecar on an answer of its own: what became of the attempt at its application
	// (a name of sample.Outcome).
	HeaderOutcome = "X-Weft-Outcome"
	// HeaderTimeout carries how long the caller will wait for the response, in milliseconds, between mesh identities.
	HeaderTimeout = "X-Weft-Timeout-Ms"
	// HeaderPrefix is that of all of Weft's own headers: they count only between mesh identities.
	HeaderPrefix = "X-Weft-"
)

// Metric names.
const (
	HTTPServerDuration = "http.server.request.duration" // seconds
	HTTPClientDuration = "http.client.request.duration" // seconds

	ServiceGraphRequests = "traces_service_graph_request_total"
	ServiceGraphFailed   = "traces_service_graph_request_failed_total"
	ServiceGraphServer   = "traces_service_graph_request_server_seconds"
	SpanMetricsCalls     = "traces_spanmetrics_calls_total"
	SpanMetricsLatency   = "traces_spanmetrics_latency"
)

// RequestIDAliases are the attribute keys that are read as the request ID at ingest, in order of preference.
var RequestIDAliases = []string{
	RequestIDAttribute, RequestIDLog, "request.id", "x-request-id", "x_request_id", "guid:x-request-id",
	"http.request.header.x_request_id", "requestId", "request-id",
}
