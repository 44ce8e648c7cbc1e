package storeconnector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/collector/store"
)

func spans(n int) ptrace.Traces {
	traces := ptrace.NewTraces()
	all := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for range n {
		all.AppendEmpty()
	}
	return traces
}

func TestOnlyWhatIsStoredIsAcknowledgedAndHandedOn(t *testing.T) {
	tests := map[string]struct {
		append, next error
		code         codes.Code
		retry        time.Duration
		stored       bool
	}{
		"stored":                       {nil, nil, codes.OK, 0, true},
		"full":                         {fmt.Errorf("traces: %w", store.ErrFull), nil, codes.Unavailable, 2 * time.Second, false},
		"disk error":                   {io.ErrUnexpectedEOF, nil, codes.Unavailable, 2 * time.Second, false},
		"too large for ever":           {fmt.Errorf("traces: %w", store.ErrTooLarge), nil, codes.InvalidArgument, 0, false},
		"stored, whatever comes after": {nil, errors.New("correlate is ill"), codes.OK, 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sink := new(consumertest.TracesSink)
			next := func(ctx context.Context, b ptrace.Traces) error {
				return errors.Join(sink.ConsumeTraces(ctx, b), test.next)
			}
			k := kind[ptrace.Traces]{"traces", ptrace.Traces.SpanCount, func(context.Context, *store.Set, ptrace.Traces) error { return test.append }}
			s, err := newStep(k, connectortest.NewNopSettings(NewFactory().Type()), &Config{RetryAfter: 2 * time.Second}, next)
			if err != nil {
				t.Fatal(err)
			}
			got := status.Convert(s.consume(t.Context(), spans(3)))
			if got.Code() != test.code {
				t.Errorf("answered %v, want %v", got, test.code)
			}
			var retry time.Duration
			for _, detail := range got.Details() {
				retry = detail.(*errdetails.RetryInfo).GetRetryDelay().AsDuration()
			}
			if retry != test.retry {
				t.Errorf("retry after %v, want %v", retry, test.retry)
			}
			if handedOn := sink.SpanCount() > 0; handedOn != test.stored {
				t.Errorf("handed on: %v", handedOn)
			}
		})
	}
}

// owner is the store extension.
type owner struct {
	component.Component
	set *store.Set
}

func (o owner) Stores() *store.Set { return o.set }

type host struct {
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func TestTheLedgerOfThisHop(t *testing.T) {
	set, err := store.Open(func() store.Config { c := store.DefaultConfig(); c.Dir = t.TempDir(); return c }())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	telemetry := componenttest.NewTelemetry()
	defer func() { _ = telemetry.Shutdown(context.Background()) }()
	settings := connectortest.NewNopSettings(NewFactory().Type())
	settings.TelemetrySettings = telemetry.NewTelemetrySettings()
	sink := new(consumertest.TracesSink)
	c, err := NewFactory().CreateTracesToTraces(t.Context(), settings, NewFactory().CreateDefaultConfig(), sink)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context(), componenttest.NewNopHost()); err == nil {
		t.Fatal("started without stores")
	}
	if err := c.Start(t.Context(), host{map[component.ID]component.Component{component.MustNewID("store"): owner{set: set}}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.ConsumeTraces(t.Context(), spans(3)); err != nil {
			t.Fatal(err)
		}
	}
	if sink.SpanCount() != 6 {
		t.Errorf("%d spans handed on", sink.SpanCount())
	}
	for _, name := range []string{"weft_store_accepted_items", "weft_store_stored_items"} {
		m, err := telemetry.GetMetric(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%+v", m.Data); !strings.Contains(got, "Value:6") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A batch of 100 spans, stored for real.
func BenchmarkConsume(b *testing.B) {
	cfg := store.DefaultConfig()
	cfg.Dir = b.TempDir()
	set, err := store.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	next := func(context.Context, ptrace.Traces) error { return nil }
	s, err := newStep(kind[ptrace.Traces]{"traces", ptrace.Traces.SpanCount, appendTraces}, connectortest.NewNopSettings(NewFactory().Type()), &Config{RetryAfter: time.Second}, next)
	if err != nil {
		b.Fatal(err)
	}
	s.set = set
	batch := spans(100)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.consume(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}
