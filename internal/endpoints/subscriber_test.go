package endpoints

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weft/internal/sample"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// control is an ADS server whose every word the test says itself.
type control struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	requests chan *discoveryv3.DiscoveryRequest
	answers  chan *discoveryv3.DiscoveryResponse
	cut      chan struct{}
}

func (c *control) StreamAggregatedResources(s discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() { // ends with the stream, which ends with this handler
		for {
			r, err := s.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case c.requests <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case err := <-failed:
			return err
		case r := <-c.answers:
			if err := s.Send(r); err != nil {
				return err
			}
		case <-c.cut:
			return fmt.Errorf("cut by the test")
		}
	}
}

func (c *control) next(t *testing.T) *discoveryv3.DiscoveryRequest {
	t.Helper()
	select {
	case r := <-c.requests:
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("no request within 10 s")
		return nil
	}
}

// subscribed runs a subscriber against a control.
func subscribed(t *testing.T, table *Table) (*Subscriber, *control) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &control{requests: make(chan *discoveryv3.DiscoveryRequest), answers: make(chan *discoveryv3.DiscoveryResponse), cut: make(chan struct{})}
	server := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, c)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	s := NewSubscriber(table, conn, "cart/cart-1")
	ctx, stop := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() { _ = server.Serve(l) })
	both.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		stop()
		conn.Close()
		server.Stop()
		both.Wait()
	})
	return s, c
}

func lbEndpoint(address string, port uint32, metadata map[string]any) *endpointv3.LocalityLbEndpoints {
	e := &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: &corev3.Address{
			Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
			}},
		}}},
		LoadBalancingWeight: wrapperspb.UInt32(100), HealthStatus: corev3.HealthStatus_HEALTHY,
	}
	if metadata != nil {
		fields, err := structpb.NewStruct(metadata)
		if err != nil {
			panic(err)
		}
		e.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"weft": fields}}
	}
	return &endpointv3.LocalityLbEndpoints{Locality: &corev3.Locality{Zone: "z1"}, LbEndpoints: []*endpointv3.LbEndpoint{e}}
}

func response(version string, services ...*endpointv3.ClusterLoadAssignment) *discoveryv3.DiscoveryResponse {
	r := &discoveryv3.DiscoveryResponse{VersionInfo: version, Nonce: "n" + version, TypeUrl: clusterLoadAssignment}
	for _, s := range services {
		raw, err := proto.Marshal(s)
		if err != nil {
			panic(err)
		}
		r.Resources = append(r.Resources, &anypb.Any{TypeUrl: clusterLoadAssignment, Value: raw})
	}
	return r
}

func assignment(service string, list ...*endpointv3.LocalityLbEndpoints) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{ClusterName: service, Endpoints: list}
}

func TestSubscription(t *testing.T) {
	table := NewTable(nil, "orders", "catalog")
	s, c := subscribed(t, table)
	first := c.next(t)
	if fmt.Sprint(first.ResourceNames) != "[catalog orders]" || first.TypeUrl != clusterLoadAssignment || first.Node.Id != "cart/cart-1" || first.VersionInfo != "" {
		t.Fatalf("first request %v", first)
	}
	if s.Ready() == nil {
		t.Fatal("ready before control has answered")
	}
	c.answers <- response("1",
		assignment("orders", lbEndpoint("10.0.0.1", 80, map[string]any{
			"instance": "orders-1", "version": "2", "protocol": "http", "tls": true, "state": "degraded", "weight": 25,
			"verdict_version": "7", "source": "verdict", "ttl_ms": 60000,
		})), assignment("catalog"))
	if ack := c.next(t); ack.VersionInfo != "1" || ack.ResponseNonce != "n1" || ack.ErrorDetail != nil {
		t.Fatalf("ACK %v", ack)
	}
	orders, _ := table.Lookup("orders") // the table was swapped before the ACK
	e := orders.Endpoints[0]
	if e.Instance != "orders-1" || e.Address != "10.0.0.1:80" || !e.TLS || e.State != sample.Degraded || e.Weight != 25 || e.Zone != "z1" ||
		e.VerdictVersion != "7" || e.Source != SourceVerdict || time.Until(e.Expires) > time.Minute || time.Until(e.Expires) < 50*time.Second {
		t.Fatalf("%+v", e)
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}

	// What control cannot mean is refused as a whole, and the table stays.
	c.answers <- response("2", assignment("orders"), assignment("catalog", lbEndpoint("10.0.0.1", 0, nil)))
	if nack := c.next(t); nack.VersionInfo != "1" || nack.ResponseNonce != "n2" || !strings.Contains(nack.GetErrorDetail().GetMessage(), "catalog") {
		t.Fatalf("NACK %v", nack)
	}
	if now, _ := table.Lookup("orders"); now != orders {
		t.Fatal("the table changed by a refused response")
	}

	// A service on first use.
	table.Lookup("payment")
	if more := c.next(t); fmt.Sprint(more.ResourceNames) != "[catalog orders payment]" {
		t.Fatalf("%v", more)
	}
	// An absent service is unchanged, an empty one has lost its endpoints.
	c.answers <- response("3", assignment("payment", lbEndpoint("10.0.0.9", 80, nil)))
	c.next(t)
	c.answers <- response("4", assignment("payment"))
	c.next(t)
	payment, _ := table.Lookup("payment")
	if now, _ := table.Lookup("orders"); now != orders || len(payment.Endpoints) != 0 {
		t.Fatal("orders must be unchanged and payment empty")
	}
}

func TestABrokenStreamIsOpenedAgainAndTheTableKept(t *testing.T) {
	table := NewTable(nil, "orders")
	_, c := subscribed(t, table)
	c.next(t)
	c.answers <- response("5", assignment("orders", lbEndpoint("10.0.0.1", 80, nil)))
	c.next(t)
	c.cut <- struct{}{}
	again := c.next(t)
	if again.VersionInfo != "" || again.ResponseNonce != "" || fmt.Sprint(again.ResourceNames) != "[orders]" {
		t.Fatalf("a new stream begins anew, since control may have restarted: %v", again)
	}
	if s, _ := table.Lookup("orders"); len(s.Endpoints) != 1 || s.Endpoints[0].Instance != "10.0.0.1:80" {
		t.Fatal("the last endpoints are kept")
	}
}

func TestNothingWantedAsksNothing(t *testing.T) {
	table := NewTable(nil)
	s, c := subscribed(t, table)
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	table.Want("orders")
	if r := c.next(t); fmt.Sprint(r.ResourceNames) != "[orders]" {
		t.Fatalf("the first request must not ask for everything: %v", r.ResourceNames)
	}
}

func FuzzDecode(f *testing.F) {
	seed, err := proto.Marshal(assignment("orders", lbEndpoint("10.0.0.1", 80, map[string]any{
		"instance": "orders-1", "weight": -1e300, "ttl_ms": 1e300, "state": "ejected", "tls": true,
	})))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, raw []byte) {
		now := time.Now()
		services, err := decodeAll(&discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{{TypeUrl: clusterLoadAssignment, Value: raw}}}, now)
		if err != nil {
			return
		}
		for name, list := range services {
			for _, e := range list {
				if s := e.Standing(now); e.Service != name || e.Instance == "" || e.Address == "" || s.Weight < 0 || s.Weight > 100 {
					t.Fatalf("%+v", e)
				}
			}
		}
	})
}
