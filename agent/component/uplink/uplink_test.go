package uplink

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/otlp"
)

// fakeQueue notes what it takes, and answers err.
type fakeQueue struct {
	component.StartFunc
	component.ShutdownFunc
	err   error
	taken map[otlp.Signal]int // items
}

func (q *fakeQueue) Take(_ context.Context, signal otlp.Signal, batch []byte) (otlp.Rejected, error) {
	items, err := signal.Items(batch)
	if err != nil {
		return otlp.Rejected{}, err
	}
	q.taken[signal] += items
	return otlp.Rejected{Items: 1, Why: "for the test"}, q.err
}

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

// consume sends one item of each signal through exporters that were started with q.
func consume(t *testing.T, q *fakeQueue) (errs [3]error) {
	t.Helper()
	with := host{component.MustNewID("queue"): q}
	set := exportertest.NewNopSettings(NewFactory().Type())
	begin := func(e component.Component, err error) {
		t.Helper()
		if err == nil {
			err = e.Start(t.Context(), with)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Shutdown(context.Background()) })
	}
	cfg := NewFactory().CreateDefaultConfig()
	spans, err := NewFactory().CreateTraces(t.Context(), set, cfg)
	begin(spans, err)
	records, err := NewFactory().CreateLogs(t.Context(), set, cfg)
	begin(records, err)
	points, err := NewFactory().CreateMetrics(t.Context(), set, cfg)
	begin(points, err)

	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	errs[0] = spans.ConsumeTraces(t.Context(), td)
	ld := plog.NewLogs()
	ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	errs[1] = records.ConsumeLogs(t.Context(), ld)
	md := pmetric.NewMetrics()
	md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	errs[2] = points.ConsumeMetrics(t.Context(), md)
	return errs
}

func TestEverySignalGoesIntoTheQueue(t *testing.T) {
	full, invalid := status.Error(codes.Unavailable, "full"), status.Error(codes.InvalidArgument, "never")
	tests := map[string]struct {
		answer    error
		permanent bool
	}{
		"taken": {nil, false}, "full": {full, false}, "never": {invalid, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := &fakeQueue{err: test.answer, taken: map[otlp.Signal]int{}}
			for _, err := range consume(t, q) {
				if !errors.Is(err, test.answer) || consumererror.IsPermanent(err) != test.permanent {
					t.Errorf("error %v, want %v", err, test.answer)
				}
			}
			if q.taken[otlp.SignalTraces] != 1 || q.taken[otlp.SignalLogs] != 1 || q.taken[otlp.SignalMetrics] != 1 {
				t.Errorf("queue has %v", q.taken)
			}
		})
	}
}

func TestWithoutAQueueItDoesNotStart(t *testing.T) {
	e, err := NewFactory().CreateLogs(t.Context(), exportertest.NewNopSettings(NewFactory().Type()), NewFactory().CreateDefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), componenttest.NewNopHost()); err == nil || !strings.Contains(err.Error(), "service.extensions") {
		t.Fatalf("got %v", err)
	}
}
