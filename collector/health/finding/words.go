package finding

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weft/collector/health/counts"
	"weft/internal/sample"
)

const maxRequestIDs = 5

// Evidence is what a finding rests on.
func (c *Case) Evidence(s *Subject, f *Finding, a Attribution) sample.Evidence {
	now := counts.SlotOf(c.Now)
	p99, _ := s.Latency.P99(f.From, now)
	return sample.Evidence{
		Attempts: uint64(f.Sum.N), Failures: uint64(f.Sum.Bad), ErrorRatio: f.Sum.Ratio(), BaselineErrorRatio: f.Base,
		P99: p99, RestP99: s.RestP99, Window: counts.LengthOf(now - f.From + 1),
		Reporters: slices.Clone(a.Failing), Witnesses: slices.Clone(a.Witnesses), RequestIDs: c.requestIDs(f), Test: f.Test,
	}
}

// requestIDs are examples, one of each caller first. A TCP route knows no request IDs; then it is requests at the
// callers' own services that failed meanwhile.
func (c *Case) requestIDs(f *Finding) []string {
	if ids := examples(f.Views); len(ids) > 0 {
		return ids
	}
	var above []View
	for _, v := range f.Views {
		service, instance, _ := strings.Cut(v.Reporter.Name, "/")
		if v.Bad == 0 {
			continue
		}
		for _, caller := range c.Book.CallersOf(sample.Key{Service: service, Instance: instance}) {
			if t := caller.Ring.Since(f.From).AsDependency(Kind(f.Test)); t.Bad > 0 {
				above = append(above, View{caller, t})
			}
		}
	}
	return examples(above)
}

func examples(views []View) (ids []string) {
	for i := range 4 {
		for _, v := range views {
			if v.Bad > 0 && i < len(v.FailedID) && len(ids) < maxRequestIDs && !slices.Contains(ids, v.FailedID[i]) {
				ids = append(ids, v.FailedID[i])
			}
		}
	}
	return ids
}

// Routine is a healthy endpoint's last minute.
func (c *Case) Routine(s *Subject) sample.Evidence {
	from := counts.SlotOf(c.Now) - counts.Slots + 1
	t := s.Total.Since(from).Of(counts.Failures)
	ev := sample.Evidence{
		Attempts: uint64(t.N), Failures: uint64(t.Bad), ErrorRatio: t.Ratio(), BaselineErrorRatio: s.Baseline.Ratio(),
		P99: s.P99, RestP99: s.RestP99, Window: time.Minute,
	}
	for _, caller := range s.Callers {
		if caller.Ring.Since(from).Attempts() > 0 {
			ev.Reporters = append(ev.Reporters, caller.Reporter.Name)
		}
	}
	return ev
}

// seen says what the callers saw, as the middle of a sentence.
func (f *Finding) seen() string {
	verb := "failed"
	switch f.Test {
	case Latency:
		verb = "was slow in"
	case NoAnswer:
		verb = "gave no answer to the last"
	}
	return fmt.Sprintf("%s %.0f of %.0f first attempts (%s)", verb, f.Sum.Bad, f.Sum.N, Percent(f.Sum.Ratio()))
}

// Blame is the sentence for a finding that is the endpoint's own; then is what follows from it.
func (f *Finding) Blame(s *Subject, a Attribution, then string) string {
	compared := fmt.Sprintf("where %s is tolerated", Percent(max(f.Base, 0.001)))
	if f.Test == Latency {
		compared = fmt.Sprintf("p99 %s where the rest of %s takes %s", Short(s.P99), s.Key.Service, Short(s.RestP99))
	}
	by := list(append(slices.Clone(a.Failing), a.Witnesses...))
	return fmt.Sprintf("%s %s, %s, seen by %s: %s.", s.Key, f.seen(), compared, by, then)
}

// Acquit is the sentence for a finding that is not.
func (f *Finding) Acquit(s *Subject, a Attribution) string {
	seen := fmt.Sprintf("%s %s", s.Key, f.seen())
	switch a.Fault {
	case OfDependency:
		return fmt.Sprintf("%s, and its calls to %s fail: not its fault, it keeps its traffic.", seen, a.Cause)
	case OfService:
		return fmt.Sprintf("%s, and so does the rest of %s (%s): the fault is not one endpoint's, nothing is ejected.",
			seen, s.Key.Service, Percent(f.Rest))
	case OfPath:
		return fmt.Sprintf("%s, but only from %s; %s reached it: that path is at fault, not the endpoint.",
			seen, list(a.Failing), list(a.Succeeding))
	}
	return seen + "."
}

// Percent is a ratio as people read it.
func Percent(ratio float64) string {
	if ratio < 0.0995 {
		return fmt.Sprintf("%.1f %%", 100*ratio)
	}
	return fmt.Sprintf("%.0f %%", 100*ratio)
}

// Short is a duration to about three digits.
func Short(d time.Duration) string {
	unit := time.Microsecond
	for unit < d/1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

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
