package xds

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"weft/internal/identity"
	"weft/mesh/control/bell"
	"weft/mesh/control/steer"
)

const mostSubscriptions = 4096

// Applied is the newest verdict among a service's endpoints, as a proxy was told or has acknowledged.
type Applied struct{ Term, Version uint64 }

// tracker checks who opens ADS streams and knows what each has acknowledged. It is the stream handler's callbacks.
type tracker struct {
	changed bell.Bells // who is there, or what was acknowledged
	refused prometheus.Counter
	pushes  prometheus.Counter
	nacks   prometheus.Counter

	mu      sync.Mutex
	streams map[int64]*proxyStream
}

// proxyStream is one ADS stream.
type proxyStream struct {
	id       identity.ID
	since    time.Time
	services []string
	nonce    string             // of the latest response
	sent     map[string]Applied // in the latest response
	acked    map[string]Applied
	nacks    int
	lastNack string
}

func newTracker(changed bell.Bells) *tracker {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_control_xds_" + name + "_total", Help: help})
	}
	return &tracker{
		changed: changed, streams: map[int64]*proxyStream{},
		refused: counter("refused", "Streams refused, for want of the right identity."),
		pushes:  counter("responses", "Responses sent."),
		nacks:   counter("nacks", "Responses that a proxy refused."),
	}
}

func (t *tracker) collect(r *prometheus.Registry) {
	r.MustRegister(t.refused, t.pushes, t.nacks, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_control_xds_proxies", Help: "Proxies with a stream.",
	}, func() float64 { return float64(len(t.proxies())) }))
}

// OnStreamOpen lets proxies in only.
func (t *tracker) OnStreamOpen(ctx context.Context, stream int64, _ string) error {
	id, err := identity.PeerFromContext(ctx)
	if err == nil {
		err = identity.Allow(identity.RoleProxy)(id)
	}
	if err != nil {
		t.refused.Inc()
		return status.Error(codes.PermissionDenied, err.Error())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[stream] = &proxyStream{id: id, since: time.Now(), acked: map[string]Applied{}}
	t.changed.Ring()
	return nil
}

// OnStreamClosed is also called for a stream that OnStreamOpen refused.
func (t *tracker) OnStreamClosed(stream int64, _ *core.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.streams, stream)
	t.changed.Ring()
}

// OnStreamRequest checks the node against the certificate and takes note of an ACK or NACK.
func (t *tracker) OnStreamRequest(stream int64, request *discovery.DiscoveryRequest) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[stream]
	if s == nil {
		return status.Error(codes.Internal, "request on a stream that is not open")
	}
	if node := request.GetNode().GetId(); node != s.id.Reporter() {
		t.refused.Inc()
		slog.Warn("xds refused: node id is not the certificate's", "node", node, "identity", s.id.URI())
		return status.Errorf(codes.PermissionDenied, "node id %q is not that of the certificate, %q", node, s.id.Reporter())
	}
	if len(request.GetResourceNames()) > mostSubscriptions {
		return status.Errorf(codes.InvalidArgument, "at most %d services may be subscribed to", mostSubscriptions)
	}
	if request.GetTypeUrl() != resource.EndpointType {
		return nil // refused by the cache, with a message
	}
	s.services = request.GetResourceNames()
	if request.GetResponseNonce() == "" || request.GetResponseNonce() != s.nonce {
		return nil
	}
	if detail := request.GetErrorDetail(); detail != nil {
		s.nacks, s.lastNack = s.nacks+1, detail.GetMessage()
		t.nacks.Inc()
		slog.Warn("proxy refused an update", "proxy", s.id.Reporter(), "error", detail.GetMessage())
		s.sent = nil
		return nil
	}
	maps.Copy(s.acked, s.sent)
	if len(s.sent) > 0 {
		t.changed.Ring()
	}
	s.sent = nil
	return nil
}

// OnStreamResponse notes what the response tells, so that its ACK has a meaning.
func (t *tracker) OnStreamResponse(_ context.Context, stream int64, _ *discovery.DiscoveryRequest, response *discovery.DiscoveryResponse) {
	sent := map[string]Applied{}
	for _, packed := range response.GetResources() {
		if service, a, ok := told(packed); ok {
			sent[service] = a
		}
	}
	t.pushes.Inc()
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.streams[stream]; s != nil {
		s.nonce, s.sent = response.GetNonce(), sent
	}
}

// told is the newest verdict in force in a resource.
func told(packed *anypb.Any) (string, Applied, bool) {
	var assignment endpointv3.ClusterLoadAssignment
	if err := packed.UnmarshalTo(&assignment); err != nil {
		return "", Applied{}, false
	}
	var newest Applied
	for _, locality := range assignment.GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			fields := e.GetMetadata().GetFilterMetadata()[metadataKey].GetFields()
			if source := fields["source"].GetStringValue(); source != steer.SourceVerdict && source != steer.SourcePanic {
				continue
			}
			version, _ := strconv.ParseUint(fields["verdict_version"].GetStringValue(), 10, 64)
			term, _ := strconv.ParseUint(fields["verdict_term"].GetStringValue(), 10, 64)
			newest = Applied{max(newest.Term, term), max(newest.Version, version)}
		}
	}
	return assignment.GetClusterName(), newest, true
}

// Proxy is what control knows of one proxy's ADS stream.
type Proxy struct {
	Proxy    string             `json:"proxy"`
	Since    time.Time          `json:"since"`
	Services []string           `json:"services"`
	Acked    map[string]string  `json:"acked"` // service → newest verdict version that the proxy applies; empty for none
	Nacks    int                `json:"nacks"`
	LastNack string             `json:"last_nack,omitempty"`
	Applied  map[string]Applied `json:"-"`
}

// proxies are sorted by name, each with its newest stream.
func (t *tracker) proxies() []Proxy {
	t.mu.Lock()
	defer t.mu.Unlock()
	newest := map[string]*proxyStream{}
	for _, s := range t.streams {
		if old := newest[s.id.Reporter()]; old == nil || s.since.After(old.since) {
			newest[s.id.Reporter()] = s
		}
	}
	out := make([]Proxy, 0, len(newest))
	for _, name := range slices.Sorted(maps.Keys(newest)) {
		s := newest[name]
		status := Proxy{
			Proxy: name, Since: s.since, Services: append([]string{}, s.services...), Nacks: s.nacks, LastNack: s.lastNack,
			Acked: map[string]string{}, Applied: maps.Clone(s.acked),
		}
		for service, a := range s.acked {
			status.Acked[service] = FormatVersion(a.Version)
		}
		out = append(out, status)
	}
	return out
}
