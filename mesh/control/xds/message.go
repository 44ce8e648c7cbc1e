package xds

import (
	"fmt"
	"net"
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weft/internal/sample"
	"weft/mesh/control/steer"
)

// metadataKey is the name under which our proxies find what EDS has no field for.
const metadataKey = "weft"

// assignment is a service as EDS. Each endpoint is a locality of its own, because gRPC's client ignores weights within one.
func assignment(service string, endpoints []steer.Endpoint) (*endpointv3.ClusterLoadAssignment, error) {
	out := &endpointv3.ClusterLoadAssignment{ClusterName: service}
	for _, e := range endpoints {
		locality, err := locality(e)
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Key, err)
		}
		out.Endpoints = append(out.Endpoints, locality)
	}
	return out, nil
}

func locality(e steer.Endpoint) (*endpointv3.LocalityLbEndpoints, error) {
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
			HealthStatus: health, LoadBalancingWeight: weight, Metadata: metadata(e),
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
					Address: host, PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)},
				}}},
			}},
		}},
	}, nil
}

func metadata(e steer.Endpoint) *core.Metadata {
	fields := map[string]*structpb.Value{
		"instance":        structpb.NewStringValue(e.Key.Instance),
		"version":         structpb.NewStringValue(e.Version),
		"zone":            structpb.NewStringValue(e.Zone),
		"protocol":        structpb.NewStringValue(e.Protocol),
		"tls":             structpb.NewBoolValue(!e.Static),
		"state":           structpb.NewStringValue(e.State.String()),
		"weight":          structpb.NewNumberValue(float64(e.Weight)),
		"verdict_version": structpb.NewStringValue(FormatVersion(e.Verdict)),
		"verdict_term":    structpb.NewStringValue(FormatVersion(e.Term)),
		"source":          structpb.NewStringValue(e.Source),
		"ttl_ms":          structpb.NewNumberValue(float64(e.TTL.Milliseconds())),
	}
	return &core.Metadata{FilterMetadata: map[string]*structpb.Struct{metadataKey: {Fields: fields}}}
}

// FormatVersion is a string because a JSON number would lose digits; none is empty.
func FormatVersion(v uint64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatUint(v, 10)
}
