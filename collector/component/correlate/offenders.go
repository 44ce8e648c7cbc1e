package correlate

import (
	"time"

	"go.uber.org/zap"

	"weft/collector/correlate"
)

// complainEach is how often one offender is named in the log.
const complainEach = time.Hour

// complaints remembers who was named in the log, so that it happens once an hour.
type complaints map[complaint]made

type complaint struct{ service, label string }

type made struct {
	at    time.Time
	items uint64
}

// due are the offenders that it is time to name: those that have gone on since they were named last.
func (c complaints) due(now time.Time, all []correlate.Offender) []correlate.Offender {
	var out []correlate.Offender
	known := make(map[complaint]bool, len(all))
	for _, o := range all {
		key := complaint{o.Service, o.Label}
		known[key] = true
		if last, ok := c[key]; ok && (now.Sub(last.at) < complainEach || o.Items == last.items) {
			continue
		}
		c[key] = made{now, o.Items}
		out = append(out, o)
	}
	for key := range c {
		if !known[key] { // forgotten by the correlator too: there are never more than it bounds
			delete(c, key)
		}
	}
	return out
}

func (e *Extension) complain(now time.Time) {
	for _, o := range e.keeper.named.due(now, e.correlator.Offenders()) {
		e.set.Logger.Warn("a service gives a metric label too many values: more are counted as \"_other\"",
			zap.String("service", o.Service), zap.String("label", o.Label), zap.String("example", o.Example),
			zap.Uint64("values", o.Values), zap.Uint64("items", o.Items))
	}
}
