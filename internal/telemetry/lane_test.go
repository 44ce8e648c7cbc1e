package telemetry

import (
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"weft/internal/sample"
	"weft/internal/wire"
)

// laneServer keeps sequences; it breaks the stream after breakAfter reports, once.
type laneServer struct {
	wire.UnimplementedSamplesServer
	mu         sync.Mutex
	sequences  []uint64
	breakAfter int
	mute       bool
}

func (s *laneServer) Report(stream wire.Samples_ReportServer) error {
	for {
		report, err := stream.Recv()
		if err != nil {
			return nil
		}
		s.mu.Lock()
		s.sequences = append(s.sequences, report.GetSequence())
		cut := len(s.sequences) == s.breakAfter
		mute := s.mute
		s.mu.Unlock()
		if cut {
			return status.Error(codes.Unavailable, "cut")
		}
		if !mute {
			if err := stream.Send(&wire.SampleReceipt{Sequence: report.GetSequence()}); err != nil {
				return err
			}
		}
	}
}

func (s *laneServer) seen() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]uint64(nil), s.sequences...)
}

func startLane(t *testing.T, server *laneServer) *Lane {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	wire.RegisterSamplesServer(g, server)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(listener) }()
	lane := NewLane(func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	}, func() sample.Report { return sample.Report{Reporter: "orders/orders-1", Epoch: 7} })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lane.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		g.Stop()
		<-served
	})
	return lane
}

func TestLaneOutlivesABrokenStream(t *testing.T) {
	server := &laneServer{breakAfter: 2}
	lane := startLane(t, server)
	eventually(t, "five reports over two streams", func() bool { return len(server.seen()) >= 5 })
	for i, sequence := range server.seen() {
		if sequence != uint64(i+1) {
			t.Fatalf("sequences %v", server.seen())
		}
	}
	if lane.broken.Load() != 1 {
		t.Fatalf("%d broken streams", lane.broken.Load())
	}
}

// Reports never pile up before an agent that reads and says nothing.
func TestLaneWaitsForReceipts(t *testing.T) {
	server := &laneServer{mute: true}
	lane := startLane(t, server)
	eventually(t, "a reading skipped", func() bool { return lane.skipped.Load() >= 2 })
	if n := len(server.seen()); n > laneUnread {
		t.Fatalf("%d reports without a receipt", n)
	}
}
