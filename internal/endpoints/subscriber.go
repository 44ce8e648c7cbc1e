package endpoints

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

const clusterLoadAssignment = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// Subscriber keeps a table in step with control over ADS, state of the world. While control is away the table keeps
// what it last had.
type Subscriber struct {
	table  *Table
	conn   grpc.ClientConnInterface
	node   string
	synced atomic.Bool
}

// NewSubscriber starts nothing. node is "service/instance" and must be what the connection's certificate says.
func NewSubscriber(table *Table, conn grpc.ClientConnInterface, node string) *Subscriber {
	return &Subscriber{table: table, conn: conn, node: node}
}

// Ready says why the table cannot be relied on yet: control has not answered once.
func (s *Subscriber) Ready() error {
	if s.synced.Load() || len(s.table.Wanted()) == 0 {
		return nil
	}
	return errors.New("no endpoints from control yet")
}

// Run keeps one stream open until ctx ends; a broken one is opened again with back-off.
func (s *Subscriber) Run(ctx context.Context) error {
	backoff := firstBackoff
	for ctx.Err() == nil {
		answered, err := s.stream(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if answered {
			backoff = firstBackoff
		}
		slog.WarnContext(ctx, "control's endpoint stream ended, keeping the last endpoints", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
		backoff = min(2*backoff, lastBackoff)
	}
	return nil
}

// session is the state of one stream. A new stream starts without a version, since a restarted control may count from
// the same numbers again.
type session struct {
	stream  discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	version string
	nonce   string
	names   []string
}

func (s *Subscriber) stream(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(s.conn).StreamAggregatedResources(ctx)
	if err != nil {
		return false, err
	}
	responses, failed := make(chan *discoveryv3.DiscoveryResponse), make(chan error, 1)
	go receive(ctx, stream, responses, failed)
	defer func() { // the receiver ends with the stream's context; responses is closed when it has
		cancel()
		for range responses {
		}
	}()
	current := session{stream: stream}
	if err := s.subscribe(&current); err != nil {
		return false, err
	}
	for {
		select {
		case <-s.table.asks:
			err = s.subscribe(&current)
		case response, ok := <-responses:
			if !ok {
				return answered, <-failed
			}
			answered = true
			err = s.accept(&current, response)
		}
		if err != nil {
			return answered, err
		}
	}
}

func receive(ctx context.Context, stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient,
	responses chan<- *discoveryv3.DiscoveryResponse, failed chan<- error) {
	defer close(responses)
	for {
		response, err := stream.Recv()
		if err != nil {
			failed <- err
			return
		}
		select {
		case responses <- response:
		case <-ctx.Done():
			failed <- ctx.Err()
			return
		}
	}
}

// subscribe asks for what the table wants. No names would mean all of them, so nothing is asked for nothing.
func (s *Subscriber) subscribe(c *session) error {
	select {
	case <-s.table.asks: // answered by what follows
	default:
	}
	if c.names = s.table.Wanted(); len(c.names) == 0 {
		return nil
	}
	return s.send(c, nil)
}

// accept swaps the table and acknowledges, or refuses the whole response and says why.
func (s *Subscriber) accept(c *session, r *discoveryv3.DiscoveryResponse) error {
	if r.GetTypeUrl() != clusterLoadAssignment {
		return nil
	}
	c.nonce = r.GetNonce()
	services, err := decodeAll(r, time.Now())
	if err != nil {
		slog.Warn("refused control's endpoints", "version", r.GetVersionInfo(), "error", err)
		return s.send(c, err)
	}
	s.table.Update(services)
	s.synced.Store(true)
	c.version = r.GetVersionInfo()
	return s.send(c, nil)
}

// decodeAll reads the services of a response. One that is absent is unchanged: EDS has no removals, a service without
// endpoints comes empty.
func decodeAll(r *discoveryv3.DiscoveryResponse, now time.Time) (map[string][]Endpoint, error) {
	services := make(map[string][]Endpoint, len(r.GetResources()))
	for _, resource := range r.GetResources() {
		var cla endpointv3.ClusterLoadAssignment
		if resource.GetTypeUrl() != clusterLoadAssignment {
			return nil, fmt.Errorf("resource of type %q", resource.GetTypeUrl())
		}
		if err := proto.Unmarshal(resource.GetValue(), &cla); err != nil {
			return nil, err
		}
		list, err := decode(&cla, now)
		if err != nil {
			return nil, err
		}
		services[cla.GetClusterName()] = list
	}
	return services, nil
}

func (s *Subscriber) send(c *session, refusal error) error {
	request := &discoveryv3.DiscoveryRequest{
		VersionInfo: c.version, Node: &corev3.Node{Id: s.node, Cluster: "weft", UserAgentName: "weft"},
		ResourceNames: c.names, TypeUrl: clusterLoadAssignment, ResponseNonce: c.nonce,
	}
	if refusal != nil {
		request.ErrorDetail = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: refusal.Error()}
	}
	return c.stream.Send(request)
}
