package correlate

import (
	"encoding/binary"
	"time"

	"weft/collector/signal"
	"weft/internal/semconv"
)

// epoch is when every scenario begins.
var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func traceID(n byte) signal.TraceID { return signal.TraceID{15: n, 0: 0xab} }

func spanID(n int) (id signal.SpanID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)+1)
	return id
}

// spanOf makes a span of 10 ms that begins n milliseconds after epoch; n is also its ID.
func spanOf(trace byte, n, parent int, service string, kind signal.Kind, attrs signal.Attributes) signal.Span {
	s := signal.Span{
		TraceID: traceID(trace), SpanID: spanID(n), Name: "op", Kind: kind, Service: service, Instance: service + "-1",
		Start: epoch.Add(time.Duration(n) * time.Millisecond).UnixNano(), End: epoch.Add(time.Duration(n+10) * time.Millisecond).UnixNano(),
		Attributes: attrs, RequestID: attrs.Text(semconv.RequestIDAttribute), ClientRequestID: attrs.Text(semconv.ClientRequestID),
	}
	if parent >= 0 {
		s.ParentID = spanID(parent)
	}
	return s
}

func gatewayServer(trace byte, n int, requestID, route string, status int64) signal.Span {
	return spanOf(trace, n, -1, "gateway", signal.KindServer, signal.Attributes{
		semconv.WeftProxy: "gateway", semconv.RequestIDAttribute: requestID, semconv.HTTPRoute: route,
		semconv.HTTPRequestMethod: "GET", semconv.HTTPResponseStatusCode: status})
}

func outbound(trace byte, n, parent int, from, to, requestID string) signal.Span {
	return spanOf(trace, n, parent, from, signal.KindClient, signal.Attributes{
		semconv.WeftProxy: "sidecar", semconv.RequestIDAttribute: requestID, semconv.HTTPRequestMethod: "GET",
		semconv.WeftService: to, semconv.WeftEndpoint: to + "-1", semconv.HTTPResponseStatusCode: int64(200)})
}

func inbound(trace byte, n, parent int, service, requestID string) signal.Span {
	return spanOf(trace, n, parent, service, signal.KindServer, signal.Attributes{
		semconv.WeftProxy: "sidecar", semconv.RequestIDAttribute: requestID, semconv.HTTPRequestMethod: "GET", semconv.HTTPResponseStatusCode: int64(200)})
}

func app(trace byte, n, parent int, service string, kind signal.Kind) signal.Span {
	return spanOf(trace, n, parent, service, kind, signal.Attributes{semconv.HTTPRequestMethod: "GET", semconv.HTTPResponseStatusCode: int64(200)})
}

func logOf(trace byte, service, requestID string) signal.Log {
	l := signal.Log{Time: epoch.UnixNano(), Service: service, Instance: service + "-1", RequestID: requestID, Body: "hello"}
	if trace != 0 {
		l.TraceID = traceID(trace)
	}
	return l
}

// shop is one request through gateway, storefront and orders, each with a sidecar and instrumented.
func shop(trace byte, requestID string) []signal.Span {
	return []signal.Span{
		gatewayServer(trace, 0, requestID, "/api/home", 200),
		outbound(trace, 1, 0, "gateway", "storefront", requestID),
		inbound(trace, 2, 1, "storefront", requestID),
		app(trace, 3, 2, "storefront", signal.KindServer),
		app(trace, 4, 3, "storefront", signal.KindClient),
		outbound(trace, 5, 4, "storefront", "orders", requestID),
		inbound(trace, 6, 5, "orders", requestID),
		app(trace, 7, 6, "orders", signal.KindServer),
	}
}
