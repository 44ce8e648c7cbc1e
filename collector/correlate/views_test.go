package correlate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

// wire is a batch of the spans as OTLP brings them.
func wire(spans []signal.Span) []byte {
	batch := ptrace.NewTraces()
	for i := range spans {
		s := &spans[i]
		rs := batch.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr(semconv.ServiceName, s.Service)
		rs.Resource().Attributes().PutStr(semconv.ServiceInstanceID, s.Instance)
		out := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		out.SetTraceID([16]byte(s.TraceID))
		out.SetSpanID([8]byte(s.SpanID))
		out.SetParentSpanID([8]byte(s.ParentID))
		out.SetName(s.Name)
		out.SetKind(ptrace.SpanKind(s.Kind))
		out.SetStartTimestamp(pcommon.Timestamp(s.Start))
		out.SetEndTimestamp(pcommon.Timestamp(s.End))
		_ = out.Attributes().FromRaw(s.Attributes)
	}
	raw, _ := new(ptrace.ProtoMarshaler).MarshalTraces(batch)
	return raw
}

func wireLogs(logs []signal.Log) []byte {
	batch := plog.NewLogs()
	for i := range logs {
		rl := batch.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr(semconv.ServiceName, logs[i].Service)
		r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		r.SetTraceID([16]byte(logs[i].TraceID))
		r.Attributes().PutStr(semconv.RequestIDLog, logs[i].RequestID)
	}
	raw, _ := new(plog.ProtoMarshaler).MarshalLogs(batch)
	return raw
}

func read(batch []byte) (out []facts.Span) {
	_ = otlp.Spans(batch, func(s *otlp.Span) error {
		out = append(out, facts.Span{})
		facts.ReadWire(s, &out[len(out)-1])
		return nil
	})
	return out
}

func readLogs(batch []byte) (out []facts.Log) {
	_ = otlp.Logs(batch, func(l *otlp.Log) error {
		out = append(out, facts.Log{})
		facts.ReadLogWire(l, &out[len(out)-1])
		return nil
	})
	return out
}

// everything is all that a Correlator can be asked.
func everything(c *Correlator, now time.Time) string {
	text, err := json.MarshalIndent([]any{
		c.List(Filter{}), c.Find("mine"), c.Find("r"), c.Find("loose"), c.RED(now), sortedSeries(c.Flush(now)), c.Stats(),
	}, "", " ")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// TestNoViewIsKept: batches are received into the same memory again and again.
func TestNoViewIsKept(t *testing.T) {
	request := func() []signal.Span {
		spans := append(shop(1, "r"), gatewayServer(1, 60, "second", "/other", 200))
		spans[0].Attributes[semconv.ClientRequestID] = "mine"
		spans[0].Attributes[semconv.ClientTraceID] = "theirs"
		queue := spanOf(1, 30, 0, "orders", signal.KindProducer, signal.Attributes{})
		consumer := spanOf(1, 31, 30, "mailer", signal.KindConsumer, signal.Attributes{})
		query := spanOf(1, 32, 0, "orders", signal.KindClient, signal.Attributes{"db.system.name": "mysql", "peer.service": "the-db"})
		alone := spanOf(1, 33, 50, "storefront", signal.KindServer, signal.Attributes{}) // waits, held
		return append(append(spans, queue, consumer, query, alone), dropped("r")...)
	}
	logs := []signal.Log{logOf(1, "catalog", ""), logOf(0, "billing", "loose"), logOf(0, "audit", "r")}
	kept, overwritten := New(DefaultConfig()), New(DefaultConfig())
	for _, c := range []*Correlator{kept, overwritten} {
		take := func(spans []signal.Span) {
			for i := range spans {
				batch := wire(spans[i : i+1])
				c.Spans(epoch, read(batch))
				if c == overwritten {
					fill(batch)
				}
			}
		}
		take(request())
		for i := range logs {
			batch := wireLogs(logs[i : i+1])
			c.Logs(epoch, readLogs(batch))
			if c == overwritten {
				fill(batch)
			}
		}
		take([]signal.Span{gatewayServer(3, 61, "loose", "/late", 200)})
	}
	if a, b := everything(kept, epoch.Add(time.Minute)), everything(overwritten, epoch.Add(time.Minute)); a != b {
		t.Errorf("with the batches left alone\n%s\nwith other bytes in their place\n%s", a, b)
	}
}

func sortedSeries(all []Series) []Series {
	slices.SortFunc(all, func(a, b Series) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(fmt.Sprint(a.Labels), fmt.Sprint(b.Labels)), cmp.Compare(a.Time, b.Time))
	})
	return all
}

func fill(batch []byte) {
	for i := range batch {
		batch[i] = 'X'
	}
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
