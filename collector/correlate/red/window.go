package red

import (
	"cmp"
	"math"
	"slices"
	"time"

	"weft/internal/sample"
)

// Service is one service's requests over a minute: rate, errors, duration.
type Service struct {
	Name      string
	Requests  uint64
	Rate      float64 // per second
	Errors    float64 // 0 to 1
	P99       time.Duration
	Calls     []string // services it calls
	CalledBy  []string
	Instances []string // that answered, within the last quarter of an hour
	Proxied   bool     // at least one instance is, or stands behind, a proxy
}

// window counts what a service answered in slots of five seconds, by the time the answer ended.
type window [slots]slot

// slot counts the answers of slotLength; latency is in sample's geometric buckets from 16 µs to 134 s.
type slot struct {
	index    int64 // since the epoch, in slots
	requests uint32
	errors   uint32
	latency  *[highest - lowest + 1]uint32
}

const (
	slotLength = int64(5 * time.Second)
	slots      = int(int64(10*time.Minute)/slotLength) + 1
	minute     = int64(time.Minute) / slotLength
	lowest     = 32
	highest    = 216
)

// answered counts one request that the service answered.
func (s *service) answered(now int64, m *measured) {
	s.serves = true
	if s.window == nil {
		s.window = &window{}
	}
	end := m.end
	if age := now - end; age < 0 || age > int64(slots-1)*slotLength {
		end = now // a sender's clock that is far off must not hide its requests
	}
	index := end / slotLength
	slot := &s.window[int(index%int64(slots))]
	if slot.index > index {
		return // overtaken by a newer slot while we looked
	}
	if slot.index < index {
		slot.index, slot.requests, slot.errors = index, 0, 0
		if slot.latency == nil {
			slot.latency = new([highest - lowest + 1]uint32)
		}
		clear(slot.latency[:])
	}
	slot.requests++
	if m.failed {
		slot.errors++
	}
	bucket := sample.BucketOf(time.Duration(m.took))
	slot.latency[min(max(bucket, lowest), highest)-lowest]++
}

// red sums the minute that ends at the given time.
func (s *services) red(at time.Time) []Service {
	out := make([]Service, 0, len(s.byName))
	callers := map[string][]string{}
	all := s.all()
	for _, one := range all {
		for to := range one.edges {
			callers[to.server] = append(callers[to.server], one.name)
		}
	}
	for _, one := range all {
		if !one.serves {
			continue
		}
		r := one.red(at)
		for to := range one.edges {
			r.Calls = append(r.Calls, to.server)
		}
		for name := range one.instances {
			r.Instances = append(r.Instances, name)
		}
		r.Calls, r.CalledBy = distinct(r.Calls), distinct(callers[one.name])
		slices.Sort(r.Instances)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func distinct(names []string) []string {
	slices.Sort(names)
	return append([]string{}, slices.Compact(names)...)
}

func (s *service) red(at time.Time) Service {
	r := Service{Name: s.name, Proxied: s.proxied}
	if s.window == nil {
		return r
	}
	last := at.UnixNano() / slotLength
	begin, end := (last-minute+1)*slotLength, (last+1)*slotLength
	var errors uint64
	var latency [highest - lowest + 1]uint64
	for i := range s.window {
		slot := &s.window[i]
		if slot.index <= last-minute || slot.index > last || slot.requests == 0 {
			continue
		}
		r.Requests += uint64(slot.requests)
		errors += uint64(slot.errors)
		for b, n := range slot.latency {
			latency[b] += uint64(n)
		}
	}
	if r.Requests == 0 {
		return r
	}
	// The last slot is whole by now, unless the moment asked for is the present.
	covered := end - begin
	if s.touched < end {
		covered = max(at.UnixNano()-begin, slotLength)
	}
	r.Rate = float64(r.Requests) / time.Duration(covered).Seconds()
	r.Errors = float64(errors) / float64(r.Requests)
	r.P99 = quantile(&latency, r.Requests, 0.99)
	return r
}

// quantile is the geometric middle of the bucket in which the share q lies.
func quantile(latency *[highest - lowest + 1]uint64, total uint64, q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(total)))
	var seen uint64
	for b, n := range latency {
		if seen += n; seen >= max(rank, 1) {
			return time.Duration(math.Exp2((float64(b+lowest)-0.5)/8) * 1e3)
		}
	}
	return 0
}
