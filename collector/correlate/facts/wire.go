package facts

import (
	"cmp"

	"weft/collector/signal"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

// ReadWire reads a span where it lies. Text in into is a view into the batch, valid as long as the batch is unchanged;
// nothing is allocated, unless text has to be mended.
func ReadWire(in *otlp.Span, into *Span) {
	*into = Span{
		Trace: in.TraceID, ID: in.SpanID, Parent: in.ParentID, Linked: len(in.Links) > 0, Kind: signal.Kind(in.Kind), Code: signal.Status(in.Status),
		Start: int64(in.Start), End: int64(in.End), Name: signal.Valid(in.Name),
	}
	if into.Linked {
		into.Link.Trace, into.Link.Span = in.FirstLink()
	}
	into.Service, into.Instance = source(in.Resource)
	var a said
	var r requestIDs
	clientRequestID := ""
	for i := len(in.Attrs) - 1; i >= 0; i-- { // of a key that comes twice, the first counts: it has the last word
		key, v := in.Attrs[i].Key, &in.Attrs[i].Value
		if len(key) < shortest || len(key) > longest {
			continue
		}
		if key == semconv.ClientRequestID {
			clientRequestID = v.Text()
		} else if !a.read(key, v) {
			r.read(key, v)
		}
	}
	into.RequestID, into.ClientRequestID = id(signal.Valid(r.best())), id(signal.Valid(clientRequestID))
	into.settle(&a)
}

// ReadLogWire reads a log record where it lies, as ReadWire does.
func ReadLogWire(in *otlp.Log, into *Log) {
	*into = Log{Trace: in.TraceID, Span: in.SpanID, Time: cmp.Or(int64(in.Time), int64(in.Observed))}
	into.Service, into.Instance = source(in.Resource)
	var r requestIDs
	trace := ""
	for i := len(in.Attrs) - 1; i >= 0; i-- {
		if key, v := in.Attrs[i].Key, &in.Attrs[i].Value; key == semconv.TraceIDLog {
			trace = v.Text()
		} else {
			r.read(key, v)
		}
	}
	if into.Trace.IsZero() {
		into.Trace, _ = signal.ParseTraceID(trace)
	}
	into.RequestID = id(signal.Valid(r.best()))
}

func source(r *otlp.Resource) (service, instance string) {
	for i := len(r.Attrs) - 1; i >= 0; i-- {
		switch v := &r.Attrs[i].Value; r.Attrs[i].Key {
		case semconv.ServiceName:
			service = v.Text()
		case semconv.ServiceInstanceID:
			instance = v.Text()
		}
	}
	return signal.Valid(service), signal.Valid(instance)
}

// Lengths of the keys that mean something.
const (
	shortest = len(oldDBName)
	longest  = len(semconv.RequestIDAttribute)
)

// read takes the attribute if it is one that rules are about. The compiler makes of the switch a jump by length and a
// comparison or two.
func (a *said) read(key string, v *otlp.Value) bool {
	switch key {
	case semconv.WeftProxy:
		a.proxy = v.Text()
	case semconv.WeftService:
		a.called = v.Text()
	case semconv.HTTPRequestMethod:
		a.method = v.Text()
	case oldHTTPMethod:
		a.oldMethod = v.Text()
	case semconv.HTTPRoute:
		a.route = v.Text()
	case semconv.URLPath:
		a.path = v.Text()
	case semconv.ClientTraceID:
		a.clientTrace = v.Text()
	case dbSystem:
		a.system = v.Text()
	case oldDBSystem:
		a.oldSystem = v.Text()
	case peerService:
		a.peer = v.Text()
	case dbNamespace:
		a.namespace = v.Text()
	case oldDBName:
		a.oldName = v.Text()
	case semconv.ServerAddress:
		a.address = v.Text()
	case semconv.HTTPResponseStatusCode:
		a.status = v.Int()
	case oldHTTPStatus:
		a.oldStatus = v.Int()
	case semconv.HTTPResendCount:
		a.resend = v.Int()
	case semconv.WeftTraceRepaired:
		a.repaired = v.Bool()
	default:
		return false
	}
	return true
}

// requestIDs holds what each alias says, in order of preference.
type requestIDs [9]string

func (r *requestIDs) read(key string, v *otlp.Value) {
	i := aliasOf(key)
	if i < 0 {
		return
	}
	first := v.First() // instrumentations write header attributes as lists
	r[i] = first.Text()
}

func (r *requestIDs) best() string {
	for _, text := range r {
		if text != "" {
			return text
		}
	}
	return ""
}

// aliasOf is the key's place among semconv.RequestIDAliases, or -1. A test holds the two against each other.
func aliasOf(key string) int {
	switch key {
	case semconv.RequestIDAttribute:
		return 0
	case semconv.RequestIDLog:
		return 1
	case "request.id":
		return 2
	case "x-request-id":
		return 3
	case "x_request_id":
		return 4
	case "guid:x-request-id":
		return 5
	case "http.request.header.x_request_id":
		return 6
	case "requestId":
		return 7
	case "request-id":
		return 8
	}
	return -1
}
