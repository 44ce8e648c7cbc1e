// Package xds tells proxies, by Envoy's discovery protocol, where services are, and knows what they acknowledged.
//
//	server.go     the stream handler, on go-control-plane
//	resources.go  what each calling service may see
//	message.go    a service as EDS
//	track.go      who is connected, as whom, and what they have acknowledged
package xds

import (
	"context"
	"errors"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"weft/mesh/control/bell"
	"weft/mesh/control/steer"
)

// Server serves Aggregated Discovery, state of the world, with endpoints only.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	resources *resources
	tracker   *tracker
	streams   sotw.Server
}

// New makes a server whose streams end with stopping. mayCall is the policy, changed is rung when proxies come, go or
// acknowledge.
func New(stopping context.Context, mayCall func(from, to string) bool, changed bell.Bells) *Server {
	s := &Server{resources: newResources(time.Now(), mayCall), tracker: newTracker(changed)}
	s.streams = sotw.NewServer(stopping, s.resources, s.tracker, sotw.DeactivateLegacyWildcard())
	return s
}

// Register adds the service to a gRPC server.
func (s *Server) Register(server *grpc.Server) {
	discovery.RegisterAggregatedDiscoveryServiceServer(server, s)
}

// Collect registers the server's metrics.
func (s *Server) Collect(r *prometheus.Registry) { s.tracker.collect(r) }

// StreamAggregatedResources serves one proxy.
func (s *Server) StreamAggregatedResources(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.streams.StreamHandler(stream, resource.AnyType)
}

// Update pushes the given services to whoever has subscribed to them. One that cannot be said is left as it was.
func (s *Server) Update(services map[string][]steer.Endpoint) error {
	var faults []error
	changed := make(map[string]*endpointv3.ClusterLoadAssignment, len(services))
	for name, endpoints := range services {
		message, err := assignment(name, endpoints)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		changed[name] = message
	}
	return errors.Join(append(faults, s.resources.update(changed))...)
}

// Refresh pushes what a new policy changes.
func (s *Server) Refresh() error { return s.resources.refresh() }

// Proxies are those with a stream, sorted by name.
func (s *Server) Proxies() []Proxy { return s.tracker.proxies() }
