package red

import (
	"math/bits"
	"strconv"

	"weft/collector/signal"
)

// Series is the value of one metric series at Time, cumulative.
type Series struct {
	Name      string
	Labels    []Label // sorted by name, without the metric's name; shared, read only
	Value     float64
	Time      int64 // Unix milliseconds
	Exemplars []Exemplar
}

// Label is one name and value.
type Label struct{ Name, Value string }

// Exemplar is one observation with the request it came from.
type Exemplar struct {
	Labels []Label // trace_id, and request_id if both fit Prometheus' 128 characters
	Value  float64
	Time   int64 // Unix milliseconds
}

// bounds are seconds, each twice the one before, as Tempo's metrics generator has them for spans.
var bounds = [...]float64{0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384}

const buckets = len(bounds) + 1

// histogram is cumulative, with the newest exemplar of each bucket.
type histogram struct {
	counts    [buckets]uint64
	sum       float64
	exemplars [buckets]seenRequest
}

// seenRequest is an exemplar before it is spelled out; at is 0 when there was none since the last flush.
type seenRequest struct {
	observed
	seconds float64
	flushed int64 // the last one's
}

// observe counts one call. Bounds double from 2 ms on, so that the bucket is a logarithm.
func (h *histogram) observe(took int64, s *observed) {
	i := 0
	if took > 0 {
		i = min(bits.Len64(uint64(took-1)/2_000_000), buckets-1)
	}
	h.counts[i]++
	h.sum += float64(took) / 1e9
	// A store takes a series' exemplars only in order of time.
	if e := &h.exemplars[i]; s.at >= max(e.at, e.flushed+1) {
		e.observed, e.seconds = *s, float64(took)/1e9
	}
}

func (h *histogram) total() (n uint64) {
	for _, count := range h.counts {
		n += count
	}
	return n
}

// observed is the request that a measurement comes from.
type observed struct {
	trace     signal.TraceID
	requestID string
	at        int64 // Unix milliseconds
}

func (e *seenRequest) take() []Exemplar {
	if e.at == 0 {
		return nil
	}
	trace := e.trace.String()
	labels := []Label{{"trace_id", trace}}
	if e.requestID != "" && len("request_id")+len(e.requestID)+len("trace_id")+len(trace) <= 128 {
		labels = []Label{{"request_id", e.requestID}, {"trace_id", trace}}
	}
	out := []Exemplar{{Labels: labels, Value: e.seconds, Time: e.at}}
	e.flushed, e.at = e.at, 0
	return out
}

// histogramSeries are a histogram's names and labels, made once.
type histogramSeries struct {
	bucket, sum, count string
	plain              []Label
	le                 [buckets][]Label
}

func newHistogramSeries(name string, labels []Label) *histogramSeries {
	s := &histogramSeries{bucket: name + "_bucket", sum: name + "_sum", count: name + "_count", plain: labels}
	for i := range s.le {
		bound := "+Inf"
		if i < len(bounds) {
			bound = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		s.le[i] = with(labels, Label{"le", bound})
	}
	return s
}

// with is labels and one more, sorted.
func with(labels []Label, more Label) []Label {
	out := make([]Label, 0, len(labels)+1)
	for i, l := range labels {
		if more.Name < l.Name {
			return append(append(out, more), labels[i:]...)
		}
		out = append(out, l)
	}
	return append(out, more)
}

func (s *histogramSeries) flush(h *histogram, at int64, out []Series) []Series {
	var total uint64
	for i := range h.counts {
		total += h.counts[i]
		out = append(out, Series{Name: s.bucket, Labels: s.le[i], Value: float64(total), Time: at, Exemplars: h.exemplars[i].take()})
	}
	return append(out,
		Series{Name: s.sum, Labels: s.plain, Value: h.sum, Time: at},
		Series{Name: s.count, Labels: s.plain, Value: float64(total), Time: at})
}

// zero starts the histogram's series at 0, so that Prometheus' rate sees the first increase too.
func (s *histogramSeries) zero(at int64, out []Series) []Series {
	for i := range s.le {
		out = append(out, Series{Name: s.bucket, Labels: s.le[i], Time: at})
	}
	return append(out, Series{Name: s.sum, Labels: s.plain, Time: at}, Series{Name: s.count, Labels: s.plain, Time: at})
}

// flushes knows when series were last written.
type flushes struct{ last int64 }

// zeroAt is a moment after the last flush, which a series new since then starts at.
func (f *flushes) zeroAt(now int64) int64 {
	if f.last == 0 || f.last >= now {
		return now - 1000
	}
	return max(f.last, now-60_000)
}
