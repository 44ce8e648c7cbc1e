package telemetry

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weft/internal/semconv"
)

// bounds are the explicit buckets that OpenTelemetry's semantic conventions advise for durations in seconds.
var bounds = [...]float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// maxSets bounds the attribute sets of all metrics together; later ones share one overflow set per metric.
const maxSets = 2000

// overflowKey marks the series of everything beyond the bound, as OpenTelemetry's SDKs do.
const overflowKey = "otel.metric.overflow"

// histograms are all cumulative duration histograms. Observing reads an immutable index; a new attribute set swaps it.
type histograms struct {
	proxy    string
	start    time.Time
	seed     maphash.Seed
	overflow atomic.Uint64 // observations counted under an overflow set

	index  atomic.Pointer[map[uint64]*series]
	mu     sync.Mutex // held to add a series
	sets   int
	sentTo atomic.Int64 // exemplars up to this Unix time in nanoseconds have been exported
}

// series is one metric with one attribute set.
type series struct {
	metric string
	attrs  []Attr
	next   *series // another one with the same hash

	mu        sync.Mutex
	counts    [len(bounds) + 1]uint64
	sum       float64
	exemplars [len(bounds) + 1]exemplar
}

type exemplar struct {
	at      time.Time
	seconds float64
	trace   [16]byte
}

func newHistograms(proxy string, start time.Time) *histograms {
	h := &histograms{proxy: proxy, start: start, seed: maphash.MakeSeed()}
	h.index.Store(&map[uint64]*series{})
	return h
}

func (h *histograms) observe(metric string, seconds float64, trace [16]byte, attrs []Attr) {
	s := h.find(metric, attrs)
	if s == nil {
		s = h.add(metric, attrs)
	}
	bucket, _ := slices.BinarySearch(bounds[:], seconds) // upper bounds are inclusive
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[bucket]++
	s.sum += seconds
	if trace != ([16]byte{}) {
		s.exemplars[bucket] = exemplar{time.Now(), seconds, trace}
	}
}

func (h *histograms) find(metric string, attrs []Attr) *series {
	for s := (*h.index.Load())[h.hash(metric, attrs)]; s != nil; s = s.next {
		if s.is(metric, attrs) {
			return s
		}
	}
	return nil
}

// hash does not depend on the order of attrs.
func (h *histograms) hash(metric string, attrs []Attr) uint64 {
	sum := maphash.String(h.seed, metric)
	for i := range attrs {
		a := &attrs[i]
		sum += maphash.String(h.seed, a.Key)*31 ^ maphash.String(h.seed, a.text)*17 ^ (a.num+uint64(a.kind))*0x9E3779B97F4A7C15
	}
	return sum
}

func (s *series) is(metric string, attrs []Attr) bool {
	if s.metric != metric || len(s.attrs) != len(attrs) {
		return false
	}
	for i := range attrs {
		if s.attrs[i] != attrs[i] && !slices.Contains(s.attrs, attrs[i]) {
			return false
		}
	}
	return true
}

// add makes the series of a new attribute set, or finds the overflow one when there are too many.
func (h *histograms) add(metric string, attrs []Attr) *series {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.find(metric, attrs); s != nil {
		return s
	}
	if h.sets >= maxSets {
		h.overflow.Add(1)
		attrs = []Attr{Bool(overflowKey, true)}
		if s := h.find(metric, attrs); s != nil {
			return s
		}
	}
	h.sets++
	s := &series{metric: metric, attrs: make([]Attr, len(attrs))}
	for i, a := range attrs {
		a.text = strings.Clone(a.text) // it may be part of a request's buffer
		s.attrs[i] = a
	}
	old := *h.index.Load()
	index := make(map[uint64]*series, len(old)+1)
	for k, v := range old {
		index[k] = v
	}
	key := h.hash(metric, s.attrs)
	s.next = index[key]
	index[key] = s
	h.index.Store(&index)
	return s
}

// snapshot is a series as it was at one moment.
type snapshot struct {
	metric    string
	attrs     []Attr
	counts    [len(bounds) + 1]uint64
	sum       float64
	exemplars [len(bounds) + 1]exemplar
}

func (s snapshot) count() uint64 {
	var n uint64
	for _, c := range s.counts {
		n += c
	}
	return n
}

// read copies every series, sorted by metric.
func (h *histograms) read() []snapshot {
	var out []snapshot
	for _, s := range *h.index.Load() {
		for ; s != nil; s = s.next {
			attrs := s.attrs
			if h.proxy != "" {
				attrs = append(slices.Clip(attrs), Str(semconv.WeftProxy, h.proxy))
			}
			s.mu.Lock()
			out = append(out, snapshot{s.metric, attrs, s.counts, s.sum, s.exemplars})
			s.mu.Unlock()
		}
	}
	slices.SortStableFunc(out, func(a, b snapshot) int { return strings.Compare(a.metric, b.metric) })
	return out
}
