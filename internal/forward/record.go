package forward

import (
	"net/http"

	"weft/internal/endpoints"
	"weft/internal/sample"
	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// TelemetryRecorder makes each attempt a CLIENT span and a duration, for the agent.
type TelemetryRecorder struct {
	Telemetry *telemetry.Telemetry
	Direction string // semconv.WeftDirection: "inbound" or "outbound"; empty for a gateway
}

// Record implements Recorder. A sidecar's attempt at its own application has no span: it is inside the SERVER span. TCP
// connections have one only when they failed: they belong to no request.
func (t *TelemetryRecorder) Record(a *Attempt) {
	failed := a.Outcome != sample.OK && a.Outcome != sample.Aborted
	if a.Route.Local || (a.Protocol == endpoints.TCP && !failed) {
		return
	}
	attrs := make([]telemetry.Attr, 0, 24)
	attrs = append(attrs,
		telemetry.Str(semconv.WeftService, a.Route.Service),
		telemetry.Str(semconv.WeftOutcome, a.Outcome.String()),
	)
	if e := a.Pick.Endpoint; e != nil {
		attrs = append(attrs, telemetry.Str(semconv.WeftEndpoint, e.Instance))
	}
	if a.Protocol == endpoints.HTTP {
		attrs = append(attrs, telemetry.Str(semconv.HTTPRequestMethod, method(a.Method)))
		if a.Status != 0 {
			attrs = append(attrs, telemetry.Int(semconv.HTTPResponseStatusCode, int64(a.Status)))
		}
	}
	if failed {
		attrs = append(attrs, telemetry.Str(semconv.ErrorType, a.Outcome.String()))
	}
	if a.Protocol == endpoints.HTTP {
		t.Telemetry.Duration(semconv.HTTPClientDuration, a.End.Sub(a.Start).Seconds(), a.Call.TraceID, attrs...)
	}
	t.span(a, t.detail(a, attrs), failed || a.Status >= http.StatusBadRequest)
}

// detail adds what a histogram must not be split by.
func (t *TelemetryRecorder) detail(a *Attempt, attrs []telemetry.Attr) []telemetry.Attr {
	if a.Call.RequestID != "" {
		attrs = append(attrs, telemetry.Str(semconv.RequestIDAttribute, a.Call.RequestID))
	}
	if t.Direction != "" {
		attrs = append(attrs, telemetry.Str(semconv.WeftDirection, t.Direction))
	}
	if a.Route.Name != "" {
		attrs = append(attrs, telemetry.Str(semconv.WeftRoute, a.Route.Name))
	}
	if a.Protocol == endpoints.HTTP {
		attrs = append(attrs, telemetry.Str(semconv.URLPath, a.Path))
	}
	if a.Route.Pattern != "" {
		attrs = append(attrs, telemetry.Str(semconv.HTTPRoute, a.Route.Pattern))
	}
	if a.Number > 0 {
		attrs = append(attrs, telemetry.Int(semconv.HTTPResendCount, int64(a.Number)))
	}
	if a.Pick.Endpoint != nil {
		attrs = append(attrs, telemetry.Str(semconv.WeftAddress, a.Pick.Endpoint.Address),
			telemetry.Str(semconv.WeftPick, a.Pick.Why), telemetry.Int(semconv.WeftWeight, int64(a.Pick.Standing.Weight)))
		if v := a.Pick.Standing.VerdictVersion; v != "" {
			attrs = append(attrs, telemetry.Str(semconv.WeftVerdictVersion, v))
		}
	}
	if a.Cause != "" {
		attrs = append(attrs, telemetry.Str(semconv.WeftCause, a.Cause))
	}
	if a.Call.Repaired {
		attrs = append(attrs, telemetry.Bool(semconv.WeftTraceRepaired, true))
	}
	return attrs
}

func (t *TelemetryRecorder) span(a *Attempt, attrs []telemetry.Attr, failed bool) {
	name := a.Method
	if name == "" {
		name = "TCP"
	}
	span := telemetry.Span{
		TraceID: a.Call.TraceID, SpanID: a.SpanID, ParentID: a.Call.SpanID, Name: name + " " + a.Route.Service,
		Kind: telemetry.KindClient, Start: a.Start, End: a.End, Error: failed, Attrs: attrs,
	}
	if a.Err != nil {
		span.StatusMessage = a.Err.Error()
	}
	t.Telemetry.Span(&span)
}

// method bounds what a client can make of a metric's label.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return m
	}
	return "_OTHER"
}
