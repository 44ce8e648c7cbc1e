package load

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// patience bounds one attempt: a process that was killed may leave a connection that never says so.
	patience = 20 * time.Second
	// pause is how long a sender waits that was not told how long.
	pause = 50 * time.Millisecond
)

// deliver sends a batch until it is acknowledged or refused for good.
func (s *Sender) deliver(ctx context.Context, l *lane, to wire, b Batch, message []byte) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, patience)
		answer, err := to.export(attempt, l.signal, message)
		cancel()
		if err == nil {
			s.acknowledged(l, b, int64(len(message)), answer)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.faults.Store(&err)
		again, wait := retry(err)
		switch {
		case !again:
			l.failed.Add(int64(b.Items()))
			return nil
		case wait > 0:
			l.refused.Add(1)
		default:
			l.disconnected.Add(1)
			wait = pause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// acknowledged enters the batch in the list. One that was taken in part is not: nobody said which part.
func (s *Sender) acknowledged(l *lane, b Batch, size int64, answer []byte) {
	l.batches.Add(1)
	l.bytes.Add(size)
	if rejected, message := partial(answer); rejected > 0 {
		l.rejected.Add(rejected)
		err := fmt.Errorf("%d items left out: %s", rejected, message)
		s.faults.Store(&err)
		return
	}
	l.acknowledged.Add(int64(b.Items()))
	s.Ledger.add(Acknowledged{b, time.Now().UnixNano()})
}

// retry says whether an answer asks for the batch again (OTLP 1.9, "Failures"), and after how long; 0: it did not say.
func retry(err error) (again bool, wait time.Duration) {
	answer := status.Convert(err)
	for _, detail := range answer.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			wait = info.RetryDelay.AsDuration()
		}
	}
	switch answer.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.OutOfRange, codes.DataLoss:
		return true, wait
	case codes.ResourceExhausted:
		return wait > 0, wait
	default:
		return false, 0
	}
}

// partial reads partial_success, field 1 of both responses: how many items were left out, and why.
func partial(answer []byte) (rejected int64, message string) {
	eachField(answer, func(number protowire.Number, data []byte, _ uint64) {
		if number == 1 {
			eachField(data, func(number protowire.Number, data []byte, n uint64) {
				switch number {
				case 1:
					rejected = int64(n)
				case 2:
					message = string(data)
				}
			})
		}
	})
	return rejected, message
}

func eachField(message []byte, fn func(number protowire.Number, data []byte, n uint64)) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(number, kind, message)
		if size < 0 {
			return
		}
		switch value := message[:size]; kind {
		case protowire.BytesType:
			data, _ := protowire.ConsumeBytes(value)
			fn(number, data, 0)
		case protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			fn(number, nil, v)
		}
		message = message[size:]
	}
}
