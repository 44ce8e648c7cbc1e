package telemetry

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// scrape reads the ledger of each signal as an operator does, and fails when one does not balance.
func scrape(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "weft_telemetry_")
		if !ours {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			key := strings.TrimSpace(labels["signal"] + " " + strings.TrimSuffix(name, "_total"))
			if reason, ok := labels["reason"]; ok {
				out[key+" "+reason] = m.GetCounter().GetValue()
			}
			out[key] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for _, signal := range []string{"traces", "logs", "metrics"} {
		if out[signal+" accepted_items"] != out[signal+" sent_items"]+out[signal+" dropped_items"]+out[signal+" queued_items"] {
			t.Errorf("%s do not balance: %v", signal, out)
		}
	}
	return out
}

// TestEveryScrapeBalances: over the wire, with an agent that refuses for a while, takes in part, and refuses for good.
func TestEveryScrapeBalances(t *testing.T) {
	agent := startAgent(t, "127.0.0.1:0")
	var calls atomic.Int64
	agent.set(func() error {
		switch n := calls.Add(1); {
		case n%5 == 1:
			busy, err := status.New(codes.Unavailable, "full").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(20 * time.Millisecond)})
			if err != nil {
				t.Error(err)
			}
			return busy.Err()
		case n%5 == 4:
			return status.Error(codes.InvalidArgument, "never")
		}
		return nil
	})
	agent.rejects.Store(1)
	tel := newTelemetry(t, agent.addr)
	registry := prometheus.NewRegistry()
	tel.Collect(registry)
	stop := running(t, tel)
	const total = 3000
	for i := range total {
		tel.Span(&Span{Name: fmt.Sprint(i), Attrs: []Attr{Str("padding", strings.Repeat("x", 1000))}})
		tel.Log(&Record{Body: fmt.Sprint(i), Severity: SeverityError})
		tel.Duration("http.server.request.duration", 0.1, NewTraceID(), Int("n", int64(i%100)))
		if i%100 == 0 {
			scrape(t, registry)
		}
	}
	eventually(t, "points sent, and nothing queued that a stop would cut off", func() bool {
		now := scrape(t, registry)
		return now["metrics sent_items"] > 0 && now["traces queued_items"] == 0 && now["logs queued_items"] == 0
	})
	stop()
	tel.Span(&Span{Name: "too late"})
	got := scrape(t, registry)
	spans, logs, points := agent.count()
	for key, want := range map[string]float64{
		"traces accepted_items": total + 1, "logs accepted_items": total, "traces sent_items": float64(spans), "logs sent_items": float64(logs),
		"metrics sent_items": float64(points), "traces dropped_items unfinished": 1,
		"traces queued_items": 0, "logs queued_items": 0, "metrics queued_items": 0, "traces queued_bytes": 0, "logs queued_bytes": 0,
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if got["traces dropped_items rejected"]+got["logs dropped_items rejected"]+got["metrics dropped_items rejected"] == 0 ||
		time.Since(time.Unix(int64(got["epoch_seconds"]), 0)) > time.Hour {
		t.Errorf("ledger: %v", got)
	}
}
