package telemetry

import (
	"context"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"weft/internal/telemetry/delivery"
)

// Field numbers of metrics.proto.
const (
	metricName      = 1
	metricUnit      = 3
	metricHistogram = 9

	histogramPoints      = 1
	histogramTemporality = 2
	cumulative           = 2

	pointStart      = 2
	pointTime       = 3
	pointCount      = 4
	pointSum        = 5
	pointCounts     = 6
	pointBounds     = 7
	pointExemplars  = 8
	pointAttributes = 9

	exemplarTime  = 2
	exemplarValue = 3
	exemplarTrace = 5
)

// runMetrics exports every histogram each two seconds. They are cumulative, so a failed export is made good by the
// next one.
func (t *Telemetry) runMetrics(ctx, sending context.Context, send delivery.Send) error {
	tick := time.NewTicker(metricsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.exportMetrics(sending, send, delivery.Unfinished)
			return nil
		case <-tick.C:
			t.exportMetrics(sending, send, delivery.Superseded)
		}
	}
}

// exportMetrics sends every point once; points that the agent cannot take now are dropped as failed says.
func (t *Telemetry) exportMetrics(ctx context.Context, send delivery.Send, failed delivery.Reason) {
	now := time.Now()
	all := t.durations.read()
	since := time.Unix(0, t.durations.sentTo.Load())
	t.points.accept(len(all))
	for len(all) > 0 {
		n := min(len(all), 500) // some 400 bytes each: one request stays far below a receiver's limit
		body := appendHistograms(nil, all[:n], window{t.durations.start, now, since})
		rejected, err := send(ctx, mem.BufferSlice{mem.SliceBuffer(body)})
		switch {
		case err == nil:
			rejected = min(rejected, n)
			t.points.settle(n-rejected, rejected, delivery.Rejected)
		case !delivery.Retryable(err):
			t.points.settle(0, n, delivery.Refused)
		default:
			t.points.settle(0, len(all), failed)
			return
		}
		all = all[n:]
	}
	t.durations.sentTo.Store(now.UnixNano())
}

// points is the ledger of metric points, which need no queue: an export accepts them all and settles them.
type points struct {
	mu     sync.Mutex
	ledger delivery.Ledger
}

func (p *points) accept(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.Accepted += uint64(n)
	p.ledger.Queued += uint64(n)
}

func (p *points) settle(sent, dropped int, why delivery.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.Queued -= uint64(sent + dropped)
	p.ledger.Settle(sent, dropped, why)
}

func (p *points) read() delivery.Ledger {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ledger
}

// window is the time that cumulative points cover, and from when on exemplars are news.
type window struct{ start, now, exemplarsAfter time.Time }

// appendHistograms encodes Metric messages as items of a scope; all must be sorted by metric.
func appendHistograms(b []byte, all []snapshot, w window) []byte {
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].metric == all[0].metric {
			n++
		}
		var points []byte
		for _, s := range all[:n] {
			points = appendBytes(points, histogramPoints, appendPoint(nil, s, w))
		}
		points = appendVarint(points, histogramTemporality, cumulative)
		metric := appendText(nil, metricName, all[0].metric)
		metric = appendText(metric, metricUnit, "s")
		metric = appendBytes(metric, metricHistogram, points)
		b = appendBytes(b, delivery.ItemField, metric)
		all = all[n:]
	}
	return b
}

func appendPoint(b []byte, s snapshot, w window) []byte {
	b = appendTime(b, pointStart, w.start)
	b = appendTime(b, pointTime, w.now)
	b = appendFixed64(b, pointCount, s.count())
	b = appendFixed64(b, pointSum, math.Float64bits(s.sum))
	b = protowire.AppendTag(b, pointCounts, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(8*len(s.counts)))
	for _, c := range s.counts {
		b = protowire.AppendFixed64(b, c)
	}
	b = protowire.AppendTag(b, pointBounds, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(8*len(bounds)))
	for _, v := range bounds {
		b = protowire.AppendFixed64(b, math.Float64bits(v))
	}
	for _, e := range s.exemplars {
		if e.at.After(w.exemplarsAfter) {
			b = appendBytes(b, pointExemplars, appendExemplar(nil, e))
		}
	}
	return appendAttrs(b, pointAttributes, s.attrs)
}

func appendExemplar(b []byte, e exemplar) []byte {
	b = appendTime(b, exemplarTime, e.at)
	b = appendFixed64(b, exemplarValue, math.Float64bits(e.seconds))
	return appendBytes(b, exemplarTrace, e.trace[:])
}
