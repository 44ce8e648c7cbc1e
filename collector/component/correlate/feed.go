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
	"weft/collector/signal"
)

// feed hands what is stored to the correlator. It never refuses: the stores have it.
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

func (f *feed) ConsumeTraces(_ context.Context, batch ptrace.Traces) error {
	f.correlator.Spans(time.Now(), signal.Spans(batch))
	return nil
}

func (f *feed) ConsumeLogs(_ context.Context, batch plog.Logs) error {
	f.correlator.Logs(time.Now(), signal.Logs(batch))
	return nil
}

// ConsumeMetrics is where stored metrics end: they belong to no single request.
func (f *feed) ConsumeMetrics(context.Context, pmetric.Metrics) error { return nil }
