package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// wire is one connection. An error that it returns has a gRPC status, whatever the protocol.
type wire interface {
	export(ctx context.Context, signal Signal, message []byte) (answer []byte, err error)
	close() error
}

// dial connects lazily: an endpoint that is down now may come. An endpoint with a scheme is spoken to in OTLP/HTTP.
func dial(endpoint string) (wire, error) {
	if strings.HasPrefix(endpoint, "http://") {
		return &overHTTP{endpoint, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}, nil
	}
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})), grpc.WithWriteBufferSize(256<<10), grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second, Backoff: backoff.Config{
			BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond,
		}}))
	return &overGRPC{conn}, err
}

type overGRPC struct{ conn *grpc.ClientConn }

var methods = [...]string{
	Spans: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
	Logs:  "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}

func (g *overGRPC) export(ctx context.Context, signal Signal, message []byte) (answer []byte, err error) {
	err = g.conn.Invoke(ctx, methods[signal], &message, &answer)
	return answer, err
}

func (g *overGRPC) close() error { return g.conn.Close() }

// rawCodec sends bytes as the message they already are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

type overHTTP struct {
	base   string
	client *http.Client
}

func (h *overHTTP) export(ctx context.Context, signal Signal, message []byte) (answer []byte, err error) {
	path := [...]string{Spans: "/v1/traces", Logs: "/v1/logs"}[signal]
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base+path, bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	response, err := h.client.Do(request)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	answer, err = io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	if response.StatusCode/100 == 2 {
		return answer, nil
	}
	return nil, refusal(response, answer)
}

// refusal is an HTTP answer as the status that OTLP gives the same meaning.
func refusal(response *http.Response, body []byte) error {
	code := codes.InvalidArgument
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = codes.Unavailable
	}
	answer := status.Newf(code, "%s: %.200q", response.Status, body)
	if seconds, err := strconv.ParseFloat(response.Header.Get("Retry-After"), 64); err == nil {
		wait := durationpb.New(time.Duration(seconds * float64(time.Second)))
		if with, err := answer.WithDetails(&errdetails.RetryInfo{RetryDelay: wait}); err == nil {
			answer = with
		}
	}
	return answer.Err()
}

func (h *overHTTP) close() error {
	h.client.CloseIdleConnections()
	return nil
}
