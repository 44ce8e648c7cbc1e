package otlpreceiver

import (
	"context"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"weft/internal/otlp"
)

// pipeline decodes a batch and gives it to the YAML's processors.
type pipeline func(ctx context.Context, batch []byte) error

func tracesPipeline(next consumer.Traces) pipeline {
	return func(ctx context.Context, batch []byte) error {
		request := ptraceotlp.NewExportRequest()
		if err := request.UnmarshalProto(batch); err != nil {
			return malformed(err)
		}
		return next.ConsumeTraces(ctx, request.Traces())
	}
}

func logsPipeline(next consumer.Logs) pipeline {
	return func(ctx context.Context, batch []byte) error {
		request := plogotlp.NewExportRequest()
		if err := request.UnmarshalProto(batch); err != nil {
			return malformed(err)
		}
		return next.ConsumeLogs(ctx, request.Logs())
	}
}

func metricsPipeline(next consumer.Metrics) pipeline {
	return func(ctx context.Context, batch []byte) error {
		request := pmetricotlp.NewExportRequest()
		if err := request.UnmarshalProto(batch); err != nil {
			return malformed(err)
		}
		return next.ConsumeMetrics(ctx, request.Metrics())
	}
}

// jsonRequest is what the three signals' requests have in common.
type jsonRequest interface {
	UnmarshalJSON([]byte) error
	MarshalProto() ([]byte, error)
}

// fromJSON is a batch in protobuf that came as JSON.
func fromJSON(signal otlp.Signal, text []byte) ([]byte, error) {
	var request jsonRequest
	switch signal {
	case otlp.SignalTraces:
		request = ptraceotlp.NewExportRequest()
	case otlp.SignalLogs:
		request = plogotlp.NewExportRequest()
	default:
		request = pmetricotlp.NewExportRequest()
	}
	if err := request.UnmarshalJSON(text); err != nil {
		return nil, malformed(err)
	}
	return request.MarshalProto()
}
