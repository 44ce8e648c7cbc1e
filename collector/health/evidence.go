package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weft/internal/sample"
)

const maxRequestIDs = 5

// evidenceOf is what a finding rests on.
func (e *Engine) evidenceOf(ep *endpoint, f *finding, a attribution) sample.Evidence {
	now := slotOf(e.now)
	p99, _ := ep.latency.p99(f.from, now)
	return sample.Evidence{
		Attempts: uint64(f.sum.n), Failures: uint64(f.sum.bad), ErrorRatio: f.sum.ratio(), BaselineErrorRatio: f.base,
		P99: p99, RestP99: ep.restP99, Window: lengthOf(now - f.from + 1),
		Reporters: slices.Clone(a.failing), Witnesses: slices.Clone(a.witnesses), RequestIDs: e.requestIDs(f), Test: f.test,
	}
}

// requestIDs are examples, one of each caller first. A TCP route knows no request IDs; then it is requests at the
// callers' own services that failed meanwhile.
func (e *Engine) requestIDs(f *finding) []string {
	if ids := examples(f.views); len(ids) > 0 {
		return ids
	}
	var above []view
	for _, v := range f.views {
		service, instance, _ := strings.Cut(v.reporter.name, "/")
		caller := e.endpoints[sample.Key{Service: service, Instance: instance}]
		if caller == nil || v.bad == 0 {
			continue
		}
		for _, c := range caller.callers {
			if t := c.ring.since(f.from).dependency(f.test); t.bad > 0 {
				above = append(above, view{c, t})
			}
		}
	}
	return examples(above)
}

func examples(views []view) (ids []string) {
	for i := range 4 {
		for _, v := range views {
			if v.bad > 0 && i < len(v.failed) && len(ids) < maxRequestIDs && !slices.Contains(ids, v.failed[i]) {
				ids = append(ids, v.failed[i])
			}
		}
	}
	return ids
}

// routine is a healthy endpoint's last minute.
func (e *Engine) routine(ep *endpoint) sample.Evidence {
	from := slotOf(e.now) - slotCount + 1
	t := ep.total.since(from).tally(TestSequential)
	ev := sample.Evidence{
		Attempts: uint64(t.n), Failures: uint64(t.bad), ErrorRatio: t.ratio(), BaselineErrorRatio: ep.baseline.ratio(),
		P99: ep.p99, RestP99: ep.restP99, Window: time.Minute,
	}
	for _, c := range ep.callers {
		if c.ring.since(from).attempts() > 0 {
			ev.Reporters = append(ev.Reporters, c.reporter.name)
		}
	}
	return ev
}

func routineReason(v sample.Verdict) string {
	if v.Evidence.Attempts == 0 {
		return fmt.Sprintf("%s got no attempt in the last minute.", v.Endpoint)
	}
	return fmt.Sprintf("%s failed %d of %d first attempts in the last minute.", v.Endpoint, v.Evidence.Failures, v.Evidence.Attempts)
}

// seen says what the callers saw, as the middle of a sentence.
func (f *finding) seen() string {
	verb := "failed"
	if f.test == TestLatency {
		verb = "was slow in"
	}
	return fmt.Sprintf("%s %.0f of %.0f first attempts (%s)", verb, f.sum.bad, f.sum.n, percent(f.sum.ratio()))
}

// blame is the sentence for a finding that is the endpoint's own.
func (f *finding) blame(ep *endpoint, a attribution, then string) string {
	compared := fmt.Sprintf("where %s is tolerated", percent(f.base))
	if f.test == TestLatency {
		compared = fmt.Sprintf("p99 %s where the rest of %s takes %s", short(ep.p99), ep.key.Service, short(ep.restP99))
	}
	by := list(append(slices.Clone(a.failing), a.witnesses...))
	return fmt.Sprintf("%s %s, %s, seen by %s: %s.", ep.key, f.seen(), compared, by, then)
}

func percent(ratio float64) string {
	if ratio < 0.0995 {
		return fmt.Sprintf("%.1f %%", 100*ratio)
	}
	return fmt.Sprintf("%.0f %%", 100*ratio)
}

func short(d time.Duration) string { return d.Round(max(d/100, time.Microsecond)).String() }

// list joins names; a long one is cut.
func list(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "nobody for sure"
	case n == 1:
		return names[0]
	case n > 4:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), n-3)
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}
