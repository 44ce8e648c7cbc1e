package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// Methods of OTLP over gRPC.
const (
	TracesMethod  = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	LogsMethod    = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
	MetricsMethod = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
)

// ScopeName is the instrumentation scope of everything.
const ScopeName = "weft"

const (
	sendTimeout  = 5 * time.Second
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 2 * time.Second
	maxBackoff   = 10 * time.Second // the longest that an agent may ask for
)

// Send exports one request body and returns how many items the agent rejected.
type Send func(ctx context.Context, body mem.BufferSlice) (rejected int, err error)

// NewSend calls method on conn with items wrapped in request, scope and the encoded resource. Those wrappers have the
// same field numbers for every signal.
func NewSend(conn *grpc.ClientConn, method string, resource []byte) Send {
	return func(ctx context.Context, body mem.BufferSlice) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, sendTimeout)
		defer cancel()
		request := append(mem.BufferSlice{mem.SliceBuffer(Wrap(resource, body.Len()))}, body...)
		var answer []byte
		err := conn.Invoke(ctx, method, request, &answer, grpc.ForceCodecV2(rawCodec{}))
		if err != nil {
			return 0, err
		}
		return rejectedItems(answer), nil
	}
}

// Wrap is everything of the request that precedes the items, whose bytes follow.
func Wrap(resource []byte, items int) []byte {
	scope := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), ScopeName)
	scopeSize := protowire.SizeTag(1) + protowire.SizeBytes(len(scope)) + items
	resourceSize := protowire.SizeTag(1) + protowire.SizeBytes(len(resource)) + protowire.SizeTag(2) + protowire.SizeBytes(scopeSize)
	b := protowire.AppendTag(make([]byte, 0, len(resource)+64), 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(resourceSize))
	b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), resource)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(scopeSize))
	return protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), scope)
}

// rejectedItems reads partial_success.rejected_* of an Export response, the same field for every signal.
func rejectedItems(answer []byte) int {
	partial, ok := field(answer, 1, protowire.BytesType)
	if !ok {
		return 0
	}
	raw, n := protowire.ConsumeBytes(partial)
	if n < 0 {
		return 0
	}
	count, ok := field(raw, 1, protowire.VarintType)
	if !ok {
		return 0
	}
	v, n := protowire.ConsumeVarint(count)
	if n < 0 {
		return 0
	}
	return int(min(v, 1<<30))
}

// field is the rest of message from the value of its first field with this number and type.
func field(message []byte, number protowire.Number, kind protowire.Type) ([]byte, bool) {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, false
		}
		message = message[n:]
		if num == number && typ == kind {
			return message, true
		}
		n = protowire.ConsumeFieldValue(num, typ, message)
		if n < 0 {
			return nil, false
		}
		message = message[n:]
	}
	return nil, false
}

// rawCodec passes bytes that are protobuf already.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

// Marshal gives gRPC references of its own, so that the same bytes can be sent again.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	request, ok := v.(mem.BufferSlice)
	if !ok {
		return nil, fmt.Errorf("OTLP: cannot send a %T", v)
	}
	request.Ref()
	return request, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	answer, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("OTLP: cannot receive into a %T", v)
	}
	*answer = data.Materialize()
	return nil
}

// Exporter empties one queue.
type Exporter struct {
	Queue *Queue
	Send  Send
}

// Run sends until ctx ends; calls live in sending, which ends a little later, so that what is queued still goes out.
// Afterwards the queue is closed.
func (e *Exporter) Run(ctx, sending context.Context) error {
	defer e.Queue.close()
	for e.wait(ctx) {
		e.deliver(ctx, sending, e.Queue.take())
	}
	for {
		b := e.Queue.take()
		if b.items == 0 {
			return nil
		}
		e.deliver(ctx, sending, b)
	}
}

// wait returns true when a batch is due, false when ctx has ended.
func (e *Exporter) wait(ctx context.Context) bool {
	for {
		due, some := e.Queue.due(time.Now())
		if due && some {
			return ctx.Err() == nil
		}
		var again <-chan time.Time // nothing queued: sleep until something is
		if some {
			again = time.After(lightDelay / 2)
		}
		select {
		case <-ctx.Done():
			return false
		case <-e.Queue.wake:
		case <-again:
		}
	}
}

// deliver sends one batch until it is taken, refused for good, or in the way of newer ones.
func (e *Exporter) deliver(ctx, sending context.Context, b *batch) {
	for pause := firstBackoff; ; pause = min(2*pause, lastBackoff) {
		rejected, err := e.Send(sending, b.body)
		switch {
		case err == nil:
			e.Queue.settle(b, b.items-min(rejected, b.items), Rejected)
			return
		case !Retryable(err):
			slog.Error("the agent refuses telemetry", "items", b.items, "error", err)
			e.Queue.settle(b, 0, Refused)
			return
		case e.Queue.abandoned():
			e.Queue.settle(b, 0, Overflow)
			return
		case ctx.Err() != nil: // no second try while stopping
			e.Queue.settle(b, 0, Unfinished)
			return
		}
		select {
		case <-ctx.Done(): // one more try, at once
		case <-time.After(max(asked(err), pause/2+rand.N(pause/2))):
		}
	}
}

// Retryable follows the OTLP specification's table of gRPC codes.
func Retryable(err error) bool {
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return true
	case codes.ResourceExhausted:
		return asked(err) > 0
	default:
		return false
	}
}

// asked is the delay of the answer's RetryInfo, 0 without one.
func asked(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return min(max(info.GetRetryDelay().AsDuration(), time.Millisecond), maxBackoff)
		}
	}
	return 0
}
