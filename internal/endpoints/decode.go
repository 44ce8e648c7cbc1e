package endpoints

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"weft/internal/sample"
)

// maxEndpoints bounds one service.
const maxEndpoints = 10_000

// metadataKey is the filter metadata under which control says what xDS has no field for.
const metadataKey = "weft"

// decode reads one service's assignment as it arrived at now. Weft's metadata is optional: any EDS server will do.
func decode(cla *endpointv3.ClusterLoadAssignment, now time.Time) ([]Endpoint, error) {
	name := cla.GetClusterName()
	if !ValidName(name) {
		return nil, fmt.Errorf("cluster name %q is not a service name", name)
	}
	list, seen := []Endpoint{}, map[string]bool{}
	for _, locality := range cla.GetEndpoints() {
		for _, lb := range locality.GetLbEndpoints() {
			e, err := decodeEndpoint(lb, now)
			if err != nil {
				return nil, fmt.Errorf("service %s: %w", name, err)
			}
			if e.Service = name; seen[e.Instance] {
				return nil, fmt.Errorf("service %s: instance %q is there twice", name, e.Instance)
			}
			seen[e.Instance] = true
			if e.Zone == "" {
				e.Zone = locality.GetLocality().GetZone()
			}
			if list = append(list, e); len(list) > maxEndpoints {
				return nil, fmt.Errorf("service %s: more than %d endpoints", name, maxEndpoints)
			}
		}
	}
	return list, nil
}

func decodeEndpoint(lb *endpointv3.LbEndpoint, now time.Time) (Endpoint, error) {
	address, err := decodeAddress(lb.GetEndpoint().GetAddress())
	if err != nil {
		return Endpoint{}, err
	}
	e := Endpoint{Address: address, Protocol: HTTP, Weight: fullWeight, Source: SourceDefault}
	if w := lb.GetLoadBalancingWeight(); w != nil {
		e.Weight = int(min(w.GetValue(), fullWeight))
	}
	switch lb.GetHealthStatus() {
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_DRAINING, corev3.HealthStatus_TIMEOUT:
		e.State, e.Weight = sample.Ejected, 0
	case corev3.HealthStatus_DEGRADED:
		e.State = sample.Degraded
	}
	e.applyMetadata(lb.GetMetadata().GetFilterMetadata()[metadataKey].GetFields(), now)
	if e.Instance == "" {
		e.Instance = e.Address
	}
	return e, nil
}

func decodeAddress(a *corev3.Address) (string, error) {
	if pipe := a.GetPipe().GetPath(); pipe != "" {
		address := "unix://" + pipe
		return address, ValidateAddress(address)
	}
	socket := a.GetSocketAddress()
	port := socket.GetPortValue()
	if socket.GetAddress() == "" || port == 0 || port > 65535 {
		return "", errors.New("an endpoint has no address")
	}
	return net.JoinHostPort(socket.GetAddress(), strconv.Itoa(int(port))), nil
}

func (e *Endpoint) applyMetadata(fields map[string]*structpb.Value, now time.Time) {
	if fields == nil {
		return
	}
	text := func(key string) string { return fields[key].GetStringValue() }
	e.Instance, e.Version, e.Zone = text("instance"), text("version"), text("zone")
	e.TLS = fields["tls"].GetBoolValue()
	e.VerdictVersion = text("verdict_version")
	if text("protocol") == TCP {
		e.Protocol = TCP
	}
	if source := text("source"); source != "" {
		e.Source = source
	}
	for state := sample.Healthy; state <= sample.Probing; state++ {
		if state.String() == text("state") {
			e.State = state
		}
	}
	if w := fields["weight"]; w != nil {
		e.Weight = int(min(max(w.GetNumberValue(), 0), fullWeight))
	}
	if ttl := fields["ttl_ms"].GetNumberValue(); ttl > 0 {
		e.Expires = now.Add(time.Duration(min(ttl, float64(24*time.Hour/time.Millisecond)) * float64(time.Millisecond)))
	}
}
