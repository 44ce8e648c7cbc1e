package otlpreceiver

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// gRPC reads a message as a whole, and tells nobody before how large it is. So a message that is being read is taken for
// what its connection sent lately: senders send alike.

// sender is one connection.
type sender struct{ lately atomic.Int64 }

// first is what a connection's first message is taken for: what gRPC lets in before anybody reads.
const first = 64 << 10

func (s *sender) expected(limit int64) int64 { return min(max(first, s.lately.Load()), limit) }

// sent rises at once and falls slowly. Two messages at once may lose one another's part of it: it is a guess.
func (s *sender) sent(size int64) {
	lately := s.lately.Load()
	if size < lately {
		size = lately - (lately-size)/8
	}
	s.lately.Store(size)
}

type senderKey struct{}

func senderOf(ctx context.Context) *sender {
	if s, ok := ctx.Value(senderKey{}).(*sender); ok {
		return s
	}
	return new(sender)
}

// senders gives each connection its sender.
type senders struct{}

func (senders) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, senderKey{}, new(sender))
}

func (senders) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (senders) HandleConn(context.Context, stats.ConnStats)                     {}
func (senders) HandleRPC(context.Context, stats.RPCStats)                       {}
