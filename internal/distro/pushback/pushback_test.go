package pushback

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestRefusalsSayWhenToComeAgain(t *testing.T) {
	own, err := status.New(codes.Unavailable, "store full").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		err       error
		code      codes.Code
		retry     time.Duration
		permanent bool
	}{
		"accepted":      {nil, codes.OK, 0, false},
		"plain":         {errors.New("sending queue is full"), codes.Unavailable, 2 * time.Second, false},
		"wrapped":       {fmt.Errorf("traces: %w", errors.New("data refused due to high memory usage")), codes.Unavailable, 2 * time.Second, false},
		"chosen status": {own.Err(), codes.Unavailable, 7 * time.Second, false},
		"bad data":      {status.Error(codes.InvalidArgument, "no"), codes.InvalidArgument, 0, false},
		"permanent":     {consumererror.NewPermanent(errors.New("never")), codes.Unknown, 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			next, err := consumer.NewLogs(func(context.Context, plog.Logs) error { return test.err })
			if err != nil {
				t.Fatal(err)
			}
			p, err := NewFactory().CreateLogs(t.Context(), processortest.NewNopSettings(NewFactory().Type()), &Config{RetryAfter: 2 * time.Second}, next)
			if err != nil {
				t.Fatal(err)
			}
			got := p.ConsumeLogs(t.Context(), plog.NewLogs())
			if status.Code(got) != test.code || consumererror.IsPermanent(got) != test.permanent {
				t.Fatalf("got %v", got)
			}
			var retry time.Duration
			for _, detail := range status.Convert(got).Details() {
				retry = detail.(*errdetails.RetryInfo).GetRetryDelay().AsDuration()
			}
			if retry != test.retry {
				t.Errorf("retry after %v, want %v", retry, test.retry)
			}
		})
	}
}
