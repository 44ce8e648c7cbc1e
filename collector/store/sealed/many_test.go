package sealed

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/internal/semconv"
)

const manyBase = 1_700_000_000_000_000_000

// manySpans are spans of 8-span traces, as services write them: enough for several pages.
func manySpans(n int) (out []Batch) {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var m ptrace.ProtoMarshaler
	for from := 0; from < n; from += 400 {
		traces := ptrace.NewTraces()
		services := map[string]ptrace.SpanSlice{}
		for i := from; i < min(from+400, n); i++ {
			name := fmt.Sprintf("service-%d", i%8)
			if _, ok := services[name]; !ok {
				rs := traces.ResourceSpans().AppendEmpty()
				rs.Resource().Attributes().PutStr(semconv.ServiceName, name)
				rs.Resource().Attributes().PutStr("zone", fmt.Sprint("zone-", i%3))
				services[name] = rs.ScopeSpans().AppendEmpty().Spans()
			}
			s := services[name].AppendEmpty()
			s.SetTraceID(manyTrace(i / 8))
			s.SetSpanID([8]byte(binary.BigEndian.AppendUint64(nil, r.Uint64()|1)))
			start := manyBase + uint64(from)*50_000 + r.Uint64N(1_000_000)
			s.SetStartTimestamp(pcommon.Timestamp(start))
			s.SetEndTimestamp(pcommon.Timestamp(start + r.Uint64N(1<<(10+r.Uint64N(20)))))
			s.SetName([]string{"GET /cart", "POST /pay", "query", "render"}[r.IntN(4)])
			s.SetKind(ptrace.SpanKind(r.IntN(6)))
			if r.IntN(50) == 0 {
				s.Status().SetCode(ptrace.StatusCodeError)
				s.Status().SetMessage("it broke")
				s.Attributes().PutStr("exception", fmt.Sprintf("at %x", r.Uint64()))
			}
			a := s.Attributes()
			a.PutStr("http.route", []string{"/cart", "/pay", "/items/{id}"}[r.IntN(3)])
			a.PutInt("http.response.status_code", []int64{200, 200, 200, 404, 500}[r.IntN(5)])
			a.PutStr("url.path", fmt.Sprintf("/items/%d", r.IntN(10000)))
			a.PutDouble("load", r.Float64())
			a.PutBool("cached", r.IntN(2) == 0)
			if i%8 == 0 {
				a.PutStr(semconv.RequestIDAttribute, fmt.Sprintf("request-%d", i/8))
			}
			if r.IntN(100) == 0 {
				a.PutInt("http.route", 7) // of another type
			}
		}
		raw, err := m.MarshalTraces(traces)
		if err != nil {
			panic(err)
		}
		out = append(out, Batch{Received: int64(manyBase + from*50_000), Raw: raw})
	}
	return out
}

func manyTrace(n int) (id [16]byte) {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	binary.BigEndian.PutUint64(id[:], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64()|1)
	return id
}

// manyLogs are records of the same traces, and every tenth of none.
func manyLogs(n int) (out []Batch) {
	r := rand.New(rand.NewPCG(2, uint64(n)))
	var m plog.ProtoMarshaler
	for from := 0; from < n; from += 400 {
		logs := plog.NewLogs()
		for svc := range 4 {
			rl := logs.ResourceLogs().AppendEmpty()
			rl.Resource().Attributes().PutStr(semconv.ServiceName, fmt.Sprintf("service-%d", svc))
			records := rl.ScopeLogs().AppendEmpty().LogRecords()
			for i := from + svc; i < min(from+400, n); i += 4 {
				l := records.AppendEmpty()
				l.SetTimestamp(pcommon.Timestamp(manyBase + uint64(from)*50_000 + r.Uint64N(1_000_000)))
				l.SetObservedTimestamp(l.Timestamp() + pcommon.Timestamp(r.Uint64N(20_000)))
				l.SetSeverityNumber(plog.SeverityNumber([]int{5, 9, 9, 9, 13, 17}[r.IntN(6)]))
				l.Body().SetStr(fmt.Sprintf("%s took %d ms for user %d", []string{"query", "render", "payment"}[r.IntN(3)], r.IntN(1000), r.IntN(100000)))
				if i%10 > 0 {
					l.SetTraceID(manyTrace(i / 8))
				} else {
					l.Attributes().PutStr(semconv.RequestIDLog, fmt.Sprintf("request-%d", i/80))
				}
				l.Attributes().PutStr("thread", fmt.Sprint("worker-", r.IntN(16)))
				l.Attributes().PutInt("line", int64(r.IntN(1000)))
				if r.IntN(200) == 0 {
					l.Attributes().PutStr("rare", fmt.Sprint(r.IntN(5)))
				}
			}
		}
		raw, err := m.MarshalLogs(logs)
		if err != nil {
			panic(err)
		}
		out = append(out, Batch{Received: int64(manyBase + from*50_000), Raw: raw})
	}
	return out
}
