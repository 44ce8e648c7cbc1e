package otlpreceiver

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"weft/internal/otlp"
)

// pause is the least that a sender is asked for; Retry-After over HTTP counts whole seconds.
const pause = time.Second

func malformed(err error) error {
	return status.Error(codes.InvalidArgument, clean(err.Error()))
}

// clean is text that protobuf takes for text.
func clean(text string) string { return strings.ToValidUTF8(text, "\ufffd") }

// refusal is the answer to a request that failed. Every one that a repeat may cure says when to come again; no other
// does, for OTLP's senders drop a batch whose refusal is final.
func refusal(err error) *status.Status {
	if chosen, ok := status.FromError(err); ok {
		p := chosen.Proto()
		p.Message = clean(p.GetMessage())
		return withPause(status.FromProto(p))
	}
	code := codes.Unavailable
	switch {
	case errors.Is(err, errTooLarge):
		code = codes.ResourceExhausted // a repeat would be too large again
	case errors.Is(err, otlp.ErrMalformed):
		code = codes.InvalidArgument
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case consumererror.IsPermanent(err):
		code = codes.Internal
	}
	return withPause(status.New(code, clean(err.Error())))
}

// withPause adds RetryInfo to a status whose code OTLP takes for retryable, or makes the one in it long enough.
// ResourceExhausted is retryable if and only if it has RetryInfo already.
func withPause(s *status.Status) *status.Status {
	info := retryInfo(s)
	switch s.Code() {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.DataLoss:
	case codes.ResourceExhausted:
		if info == nil {
			return s
		}
	default:
		return s
	}
	if info != nil && info.GetRetryDelay().AsDuration() >= pause {
		return s
	}
	paused, err := status.New(s.Code(), s.Message()).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(pause)})
	if err != nil {
		return s
	}
	return paused
}

func retryInfo(s *status.Status) *errdetails.RetryInfo {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info
		}
	}
	return nil
}

// httpStatus is a refusal's code in HTTP. OTLP's senders repeat after 429, 502, 503 and 504 alone.
func httpStatus(s *status.Status) int {
	switch s.Code() {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.DataLoss:
		return http.StatusServiceUnavailable
	case codes.ResourceExhausted:
		if retryInfo(s) == nil {
			return http.StatusRequestEntityTooLarge
		}
		return http.StatusTooManyRequests
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unimplemented:
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// retryAfter is the value of the header; empty when a repeat is not asked for.
func retryAfter(s *status.Status) string {
	info := retryInfo(s)
	if info == nil {
		return ""
	}
	// Rounded up: who comes too early is refused again.
	return strconv.FormatInt(int64((info.GetRetryDelay().AsDuration()+time.Second-1)/time.Second), 10)
}

// reason is a refusal's word in the metrics.
func reason(err error, s *status.Status) string {
	if errors.Is(err, errBusy) {
		return "busy"
	}
	switch s.Code() {
	case codes.InvalidArgument:
		return "bad_data"
	case codes.ResourceExhausted:
		if retryInfo(s) == nil {
			return "too_large"
		}
		return "unavailable"
	case codes.Unavailable:
		return "unavailable"
	case codes.Canceled, codes.DeadlineExceeded:
		return "cancelled"
	}
	return "failed"
}
