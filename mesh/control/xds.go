package control

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weft/internal/sample"
)

// metadataKey is the name under which our proxies find what EDS has no field for.
const metadataKey = "weft"

// ads serves Aggregated Discovery, state of the world.
type ads struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	server sotw.Server
}

func (a *ads) StreamAggregatedResources(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return a.server.StreamHandler(stream, resource.AnyType)
}

// resources are the EDS resources as each calling service may see them: one LinearCache per caller. A service that the
// caller may not see is there without endpoints, so that a policy which forbids it also takes the endpoints away.
type resources struct {
	mayCall func(from, to string) bool
	prefix  string // of versions: those of an earlier process mean nothing

	mu      sync.Mutex
	current map[string]*endpointv3.ClusterLoadAssignment
	callers map[string]*cache.LinearCache
}

func newResources(started time.Time, mayCall func(from, to string) bool) *resources {
	return &resources{
		mayCall: mayCall, prefix: strconv.FormatInt(started.UnixMilli(), 36) + ".",
		current: map[string]*endpointv3.ClusterLoadAssignment{}, callers: map[string]*cache.LinearCache{},
	}
}

// CreateWatch is called by the stream handler for each request; its node was checked by the tracker.
func (r *resources) CreateWatch(request *cache.Request, sub cache.Subscription, out chan cache.Response) (func(), error) {
	if request.GetTypeUrl() != resource.EndpointType {
		return nil, status.Errorf(codes.InvalidArgument, "control serves %s, not %s", resource.EndpointType, request.GetTypeUrl())
	}
	caller, _, _ := cutNode(request.GetNode().GetId())
	return r.callerCache(caller).CreateWatch(request, sub, out)
}

// CreateDeltaWatch is not served: a delta is per service anyway, never per endpoint.
func (r *resources) CreateDeltaWatch(*cache.DeltaRequest, cache.Subscription, chan cache.DeltaResponse) (func(), error) {
	return nil, status.Error(codes.Unimplemented, "control serves state of the world only")
}

func (r *resources) callerCache(caller string) *cache.LinearCache {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.callers[caller]; ok {
		return c
	}
	c := cache.NewLinearCache(resource.EndpointType,
		cache.WithVersionPrefix(r.prefix), cache.WithInitialResources(r.seenBy(caller, r.current)))
	r.callers[caller] = c
	return c
}

func (r *resources) seenBy(caller string, all map[string]*endpointv3.ClusterLoadAssignment) map[string]types.Resource {
	out := make(map[string]types.Resource, len(all))
	for service, assignment := range all {
		if r.mayCall(caller, service) {
			out[service] = assignment
		} else {
			out[service] = &endpointv3.ClusterLoadAssignment{ClusterName: service}
		}
	}
	return out
}

// update pushes the given services, also when they are equal to what was sent: that is how verdicts are kept alive.
func (r *resources) update(changed map[string]*endpointv3.ClusterLoadAssignment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	for service, assignment := range changed {
		r.current[service] = assignment
	}
	for caller, c := range r.callers {
		faults = append(faults, c.UpdateResources(r.seenBy(caller, changed), nil))
	}
	return errors.Join(faults...)
}

// refresh sends every caller what changed for it by a new policy.
func (r *resources) refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	for caller, c := range r.callers {
		had, changed := c.GetResources(), map[string]types.Resource{}
		for service, want := range r.seenBy(caller, r.current) {
			if !proto.Equal(had[service], want) {
				changed[service] = want
			}
		}
		if len(changed) > 0 {
			faults = append(faults, c.UpdateResources(changed, nil))
		}
	}
	return errors.Join(faults...)
}

// assignment is a service as EDS. Each endpoint is a locality of its own, because gRPC's client ignores weights within one.
func assignment(service string, endpoints []steered) (*endpointv3.ClusterLoadAssignment, error) {
	out := &endpointv3.ClusterLoadAssignment{ClusterName: service}
	for _, e := range endpoints {
		locality, err := e.locality()
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Key, err)
		}
		out.Endpoints = append(out.Endpoints, locality)
	}
	return out, nil
}

func (e steered) locality() (*endpointv3.LocalityLbEndpoints, error) {
	host, portText, err := net.SplitHostPort(e.Address)
	if err != nil {
		return nil, err
	}
	port, err := net.LookupPort("tcp", portText)
	if err != nil {
		return nil, err
	}
	health := core.HealthStatus_HEALTHY
	if e.State == sample.Ejected {
		health = core.HealthStatus_UNHEALTHY
	}
	weight := wrapperspb.UInt32(uint32(max(1, e.Weight))) // 0 is not allowed; the health says it
	return &endpointv3.LocalityLbEndpoints{
		Locality:            &core.Locality{Zone: e.Zone, SubZone: e.Key.Instance},
		LoadBalancingWeight: weight,
		LbEndpoints: []*endpointv3.LbEndpoint{{
			HealthStatus: health, LoadBalancingWeight: weight, Metadata: e.metadata(),
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
					Address: host, PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)},
				}}},
			}},
		}},
	}, nil
}

func (e steered) metadata() *core.Metadata {
	fields := map[string]*structpb.Value{
		"instance":        structpb.NewStringValue(e.Key.Instance),
		"version":         structpb.NewStringValue(e.Version),
		"zone":            structpb.NewStringValue(e.Zone),
		"protocol":        structpb.NewStringValue(e.Protocol),
		"tls":             structpb.NewBoolValue(!e.Static),
		"state":           structpb.NewStringValue(e.State.String()),
		"weight":          structpb.NewNumberValue(float64(e.Weight)),
		"verdict_version": structpb.NewStringValue(formatVersion(e.Verdict)),
		"verdict_term":    structpb.NewStringValue(formatVersion(e.Term)),
		"source":          structpb.NewStringValue(e.Source),
		"ttl_ms":          structpb.NewNumberValue(float64(e.TTL.Milliseconds())),
	}
	return &core.Metadata{FilterMetadata: map[string]*structpb.Struct{metadataKey: {Fields: fields}}}
}

// formatVersion is a string because a JSON number would lose digits; none is empty.
func formatVersion(v uint64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatUint(v, 10)
}
