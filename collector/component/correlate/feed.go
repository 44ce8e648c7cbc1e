package correlate

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/correlate"
)

// feed hands what a pipeline has stored to the correlator. It never refuses: the stores have it.
type feed struct{ correlator *correlate.Correlator }

func newFeed() *feed { return &feed{} }

// Start finds the correlator; extensions have started before any pipeline.
func (f *feed) Start(_ context.Context, host component.Host) error {
	for _, ext := range host.GetExtensions() {
		if owner, ok := ext.(interface{ Correlator() *correlate.Correlator }); ok {
			f.correlator = owner.Correlator()
			return nil
		}
	}
	return errors.New("exporter correlate: no extension keeps a correlator; add \"correlate\" to service.extensions")
}

func (f *feed) Shutdown(context.Context) error      { return nil }
func (f *feed) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeTraces goes by way of the bytes, as everything that is received does.
func (f *feed) ConsumeTraces(_ context.Context, batch ptrace.Traces) error {
	raw, err := new(ptrace.ProtoMarshaler).MarshalTraces(batch)
	if err != nil {
		return err
	}
	var r reader
	spans, err := r.readSpans(raw)
	f.correlator.Spans(time.Now(), spans)
	return err
}

func (f *feed) ConsumeLogs(_ context.Context, batch plog.Logs) error {
	raw, err := new(plog.ProtoMarshaler).MarshalLogs(batch)
	if err != nil {
		return err
	}
	var r reader
	logs, err := r.readLogs(raw)
	f.correlator.Logs(time.Now(), logs)
	return err
}

// ConsumeMetrics is where stored metrics end: they belong to no single request.
func (f *feed) ConsumeMetrics(context.Context, pmetric.Metrics) error { return nil }
