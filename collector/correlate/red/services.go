package red

import (
	"cmp"
	"math"
	"slices"
	"strings"
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

// services counts per service what was answered, in slots of five seconds, by the time the answer ended.
type services struct {
	limit  int
	byName map[string]*service
}

type service struct {
	slots     [slots]slot
	instances map[string]time.Time
	proxied   bool
	touched   time.Time
}

// slot counts the answers of slotLength; latency is in sample's geometric buckets from 16 µs to 134 s.
type slot struct {
	index    int64 // since the epoch, in slots
	requests uint32
	errors   uint32
	latency  *[highest - lowest + 1]uint32
}

const (
	slotLength   = 5 * time.Second
	slots        = int(10*time.Minute/slotLength) + 1
	window       = int64(time.Minute / slotLength)
	lowest       = 32
	highest      = 216
	maxInstances = 64
)

func newServices(limit int) *services { return &services{limit: limit, byName: map[string]*service{}} }

// service is the record of the name, or of "_other" when there are too many; those idle longest make room.
func (s *services) service(now time.Time, name string) *service {
	name = strings.Clone(label(name, longestLabel))
	one := s.byName[name]
	if one == nil {
		if len(s.byName) >= s.limit {
			s.forgetIdle(now)
		}
		if len(s.byName) >= s.limit && name != other {
			return s.service(now, other)
		}
		one = &service{instances: map[string]time.Time{}}
		s.byName[name] = one
	}
	one.touched = now
	return one
}

func (s *services) forgetIdle(now time.Time) {
	for name, one := range s.byName {
		if now.Sub(one.touched) > idleFor {
			delete(s.byName, name)
		}
	}
}

func (s *services) instance(now time.Time, service, instance string, proxied bool) {
	if service == "" {
		return
	}
	one := s.service(now, service)
	one.proxied = one.proxied || proxied
	if instance == "" {
		return
	}
	if _, known := one.instances[instance]; known || len(one.instances) < maxInstances {
		one.instances[strings.Clone(label(instance, longestLabel))] = now
		return
	}
	for name, last := range one.instances {
		if now.Sub(last) > idleFor {
			delete(one.instances, name)
		}
	}
}

func (s *services) observe(now time.Time, h half) {
	if h.service == "" {
		return
	}
	end := time.Unix(0, h.end)
	if age := now.Sub(end); age < 0 || age > time.Duration(slots-1)*slotLength {
		end = now // a sender's clock that is far off must not hide its requests
	}
	index := end.UnixNano() / int64(slotLength)
	slot := &s.service(now, h.service).slots[int(index%int64(slots))]
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
	if h.failed {
		slot.errors++
	}
	bucket := sample.BucketOf(time.Duration(h.seconds * 1e9))
	slot.latency[min(max(bucket, lowest), highest)-lowest]++
}

// red sums the minute that ends at the given time.
func (s *services) red(at time.Time) []Service {
	out := make([]Service, 0, len(s.byName))
	last := at.UnixNano() / int64(slotLength)
	begin, end := time.Unix(0, (last-window+1)*int64(slotLength)), time.Unix(0, (last+1)*int64(slotLength))
	for name, one := range s.byName {
		r := Service{Name: name, Proxied: one.proxied}
		var errors uint64
		var latency [highest - lowest + 1]uint64
		for i := range one.slots {
			slot := &one.slots[i]
			if slot.index <= last-window || slot.index > last || slot.requests == 0 {
				continue
			}
			r.Requests += uint64(slot.requests)
			errors += uint64(slot.errors)
			for b, n := range slot.latency {
				latency[b] += uint64(n)
			}
		}
		if r.Requests > 0 {
			// The last slot is whole by now, unless the moment asked for is the present.
			covered := end.Sub(begin)
			if one.touched.Before(end) {
				covered = max(at.Sub(begin), slotLength)
			}
			r.Rate = float64(r.Requests) / covered.Seconds()
			r.Errors = float64(errors) / float64(r.Requests)
			r.P99 = quantile(&latency, r.Requests, 0.99)
		}
		for instance := range one.instances {
			r.Instances = append(r.Instances, instance)
		}
		slices.Sort(r.Instances)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	return out
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
