package storeconnector

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/internal/otlp"
)

// taker is an intake that refuses on demand, and counts what it took.
type taker struct {
	component.StartFunc
	component.ShutdownFunc
	refusal error
	items   map[otlp.Signal]int
}

func (t *taker) Take(_ context.Context, signal otlp.Signal, batch []byte) (otlp.Rejected, error) {
	if t.refusal != nil {
		return otlp.Rejected{}, t.refusal
	}
	n, err := signal.Items(batch)
	t.items[signal] += n
	return otlp.Rejected{}, err
}

func (t *taker) TakeMetrics(_ context.Context, batch pmetric.Metrics) error {
	if t.refusal == nil {
		t.items[otlp.SignalMetrics] += batch.DataPointCount()
	}
	return t.refusal
}

type host struct{ ext component.Component }

func (h host) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("intake"): h.ext}
}

func spans(n int) ptrace.Traces {
	traces := ptrace.NewTraces()
	all := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for range n {
		all.AppendEmpty()
	}
	return traces
}

func TestOnlyWhatIsStoredIsHandedOn(t *testing.T) {
	ill := errors.New("ill")
	for name, test := range map[string]struct {
		refusal, next error
		stored        bool
	}{
		"stored":                       {nil, nil, true},
		"refused":                      {ill, nil, false},
		"stored, whatever comes after": {nil, ill, true},
	} {
		t.Run(name, func(t *testing.T) {
			in := &taker{refusal: test.refusal, items: map[otlp.Signal]int{}}
			sink := new(consumertest.TracesSink)
			next := func(ctx context.Context, b ptrace.Traces) error {
				return errors.Join(sink.ConsumeTraces(ctx, b), test.next)
			}
			s := &step[ptrace.Traces]{signal: otlp.SignalTraces, store: takeTraces, next: next, log: componenttest.NewNopTelemetrySettings().Logger, intake: in}
			if err := s.consume(t.Context(), spans(3)); !errors.Is(err, test.refusal) {
				t.Errorf("answered %v, want %v", err, test.refusal)
			}
			if handedOn := sink.SpanCount() == 3; handedOn != test.stored || (in.items[otlp.SignalTraces] == 3) != test.stored {
				t.Errorf("handed on %v, took %v", handedOn, in.items)
			}
		})
	}
}

func TestEverySignalEndsInTheIntake(t *testing.T) {
	ctx, in := t.Context(), &taker{items: map[otlp.Signal]int{}}
	set, end := connectortest.NewNopSettings(NewFactory().Type()), exportertest.NewNopSettings(StoredFactory().Type())
	stored, err := StoredFactory().CreateTraces(ctx, end, &Config{})
	if err != nil {
		t.Fatal(err)
	}
	traces, err := NewFactory().CreateTracesToTraces(ctx, set, &Config{}, stored)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := NewFactory().CreateLogsToLogs(ctx, set, &Config{}, consumertest.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := NewFactory().CreateMetricsToMetrics(ctx, set, &Config{}, consumertest.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []component.Component{traces, logs, metrics} {
		if err := c.Start(ctx, componenttest.NewNopHost()); err == nil {
			t.Fatal("started without an intake")
		}
		if err := c.Start(ctx, host{in}); err != nil {
			t.Fatal(err)
		}
	}
	records, points := plog.NewLogs(), pmetric.NewMetrics()
	records.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	points.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	if err := errors.Join(traces.ConsumeTraces(ctx, spans(2)), logs.ConsumeLogs(ctx, records), metrics.ConsumeMetrics(ctx, points)); err != nil {
		t.Fatal(err)
	}
	if in.items[otlp.SignalTraces] != 2 || in.items[otlp.SignalLogs] != 1 || in.items[otlp.SignalMetrics] != 1 {
		t.Errorf("took %v", in.items)
	}
}
