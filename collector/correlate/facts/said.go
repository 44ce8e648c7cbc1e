package facts

import (
	"cmp"

	"weft/collector/signal"
	"weft/internal/semconv"
)

// Names that instrumentations older than the stable conventions use.
const (
	oldHTTPStatus = "http.status_code"
	oldHTTPMethod = "http.method"
	oldDBSystem   = "db.system"
	oldDBName     = "db.name"
	dbSystem      = "db.system.name"
	dbNamespace   = "db.namespace"
	peerService   = "peer.service"
)

// said is what a span's attributes say, before rules are applied.
type said struct {
	proxy, called, method, oldMethod, route, path, clientTrace string
	system, oldSystem, peer, namespace, oldName, address       string
	status, oldStatus, resend                                  int64
	repaired                                                   bool
}

const longestID = 128

// id is the ID, or nothing when it is longer than any that Weft accepts.
func id(id string) string {
	if len(id) > longestID {
		return ""
	}
	return id
}

// settle makes facts of what was said. Kind, Code and the IDs are in s already.
func (s *Span) settle(a *said) {
	s.Proxy = proxyOf(a.proxy)
	s.Called = signal.Valid(a.called)
	s.Method = signal.Valid(cmp.Or(a.method, a.oldMethod))
	s.Resend = uint16(min(max(a.resend, 0), 1<<15))
	s.Repaired = a.repaired
	if status := cmp.Or(a.status, a.oldStatus); status > 0 && status <= 999 {
		s.Status = uint16(status)
	}
	switch s.Kind {
	case signal.KindServer:
		s.Route = signal.Valid(cmp.Or(a.route, a.path))
		s.ClientTrace = id(signal.Valid(a.clientTrace))
	case signal.KindClient:
		if system := cmp.Or(a.system, a.oldSystem); system != "" {
			s.Database = Database{signal.Valid(system), signal.Valid(a.peer), signal.Valid(cmp.Or(a.namespace, a.oldName)), signal.Valid(a.address)}
		}
	}
	// A client marks 4xx as an error, but a refused request does not speak against the service.
	s.Failed = s.Status >= 500 || s.Code == signal.StatusError && (s.Status < 400 || s.Status >= 500)
}

func proxyOf(text string) Proxy {
	switch text {
	case "":
		return NoProxy
	case "gateway":
		return Gateway
	case "sidecar":
		return Sidecar
	}
	return OtherProxy
}

// Read reads a decoded span.
func Read(in *signal.Span) Span {
	s := Span{
		Trace: in.TraceID, ID: in.SpanID, Parent: in.ParentID, Linked: len(in.Links) > 0, Kind: in.Kind, Code: in.Status,
		Start: in.Start, End: in.End, Name: in.Name, Service: in.Service, Instance: in.Instance,
		RequestID: id(in.RequestID), ClientRequestID: id(in.ClientRequestID),
	}
	if s.Linked {
		s.Link = Key{in.Links[0].TraceID, in.Links[0].SpanID}
	}
	a := in.Attributes
	repaired, _ := a[semconv.WeftTraceRepaired].(bool)
	s.settle(&said{
		proxy: a.Text(semconv.WeftProxy), called: a.Text(semconv.WeftService), method: a.Text(semconv.HTTPRequestMethod),
		oldMethod: a.Text(oldHTTPMethod), route: a.Text(semconv.HTTPRoute), path: a.Text(semconv.URLPath), clientTrace: a.Text(semconv.ClientTraceID),
		system: a.Text(dbSystem), oldSystem: a.Text(oldDBSystem), peer: a.Text(peerService), namespace: a.Text(dbNamespace),
		oldName: a.Text(oldDBName), address: a.Text(semconv.ServerAddress),
		status: a.Int(semconv.HTTPResponseStatusCode), oldStatus: a.Int(oldHTTPStatus), resend: a.Int(semconv.HTTPResendCount), repaired: repaired,
	})
	return s
}

// ReadLog reads a decoded log record.
func ReadLog(in *signal.Log) Log {
	return Log{Trace: in.TraceID, Span: in.SpanID, Time: in.Time, Service: in.Service, Instance: in.Instance, RequestID: id(in.RequestID)}
}

// Spans reads decoded spans.
func Spans(in []signal.Span) []Span {
	out := make([]Span, len(in))
	for i := range in {
		out[i] = Read(&in[i])
	}
	return out
}

// Logs reads decoded log records.
func Logs(in []signal.Log) []Log {
	out := make([]Log, len(in))
	for i := range in {
		out[i] = ReadLog(&in[i])
	}
	return out
}
