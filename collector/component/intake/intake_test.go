package intake

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/collector/correlate"
	"weft/collector/signal"
	"weft/collector/store"
	"weft/collector/store/key"
	"weft/collector/store/storetest"
	"weft/internal/otlp"
)

// refusing is a store that says no.
type refusing struct{ err error }

func (r refusing) AppendRaw(context.Context, []byte, []key.Key, int) error { return r.err }

func encode(t testing.TB, batch ptrace.Traces) []byte {
	t.Helper()
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(batch)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func started(t testing.TB, store appender, c *correlate.Correlator) *Extension {
	t.Helper()
	e := &Extension{cfg: &Config{RetryAfter: 2 * time.Second}, set: extensiontest.NewNopSettings(NewFactory().Type()), traces: newTraces(store, c)}
	var err error
	if e.refused, err = e.set.MeterProvider.Meter("test").Int64Counter("refused"); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		append error
		code   codes.Code
		retry  time.Duration
	}{
		"full":               {fmt.Errorf("traces: %w", store.ErrFull), codes.Unavailable, 2 * time.Second},
		"disk error":         {io.ErrUnexpectedEOF, codes.Unavailable, 2 * time.Second},
		"too large for ever": {fmt.Errorf("traces: %w", store.ErrTooLarge), codes.InvalidArgument, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := correlate.New(correlate.DefaultConfig())
			e := started(t, refusing{test.append}, c)
			_, err := e.Take(t.Context(), otlp.SignalTraces, encode(t, storetest.Batch(storetest.Span(1, 1))))
			got := status.Convert(err)
			var retry time.Duration
			for _, detail := range got.Details() {
				retry = detail.(*errdetails.RetryInfo).GetRetryDelay().AsDuration()
			}
			if got.Code() != test.code || retry != test.retry {
				t.Errorf("answered %v, come again after %v", got.Code(), retry)
			}
			if says, why := e.Refusing(); says != (test.code == codes.Unavailable) || says && why == "" {
				t.Errorf("refusing %v: %q", says, why)
			}
			if s := c.Stats(); s.Spans != 0 {
				t.Errorf("%d spans of a batch that is not stored were counted", s.Spans)
			}
		})
	}
	_, err := started(t, refusing{nil}, nil).Take(t.Context(), otlp.SignalTraces, []byte("no batch"))
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("malformed: %v", err)
	}
}

// owner is the two extensions that the intake stands on.
type owner struct {
	component.StartFunc
	component.ShutdownFunc
	set *store.Set
	c   *correlate.Correlator
}

func (o owner) Stores() *store.Set                { return o.set }
func (o owner) Correlator() *correlate.Correlator { return o.c }
func (o owner) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("store"): o}
}

// What is sound in a batch is stored, found and correlated; what is not is reported; a re-sent batch is known.
func TestTheRestOfABatchIsKept(t *testing.T) {
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	set, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	c := correlate.New(correlate.DefaultConfig())
	ext, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(NewFactory().Type()), NewFactory().CreateDefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	e := ext.(*Extension)
	if err := e.Start(t.Context(), componenttest.NewNopHost()); err == nil {
		t.Fatal("started without stores")
	}
	if err := e.Start(t.Context(), owner{set: set, c: c}); err != nil {
		t.Fatal(err)
	}
	raw := encode(t, storetest.Batch(storetest.Span(1, 1), storetest.Span(0, 2), storetest.Span(1, 3)))
	for range 2 {
		rejected, err := e.Take(t.Context(), otlp.SignalTraces, raw)
		if err != nil || rejected.Items != 1 {
			t.Fatalf("rejected %+v, %v", rejected, err)
		}
	}
	found, err := set.Traces.ByTrace(t.Context(), signal.TraceID{1})
	if err != nil || len(found) != 2 {
		t.Errorf("%d spans, %v", len(found), err)
	}
	if s := c.Stats(); s.Spans != 4 || s.Duplicates != 2 || len(c.Find(signal.TraceID{1}.String())) != 1 {
		t.Errorf("correlator: %+v", s)
	}
	if s := set.Stats().Traces; s.Accepted != 4 || s.UnsealedItems != 4 {
		t.Errorf("ledger: %+v", s)
	}
	if e.Takes(otlp.SignalMetrics) || !e.Takes(otlp.SignalLogs) || e.Shutdown(t.Context()) != nil {
		t.Error("takes the wrong signals")
	}
}
