package red

import (
	"cmp"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

	"weft/collector/correlate/intern"
)

// Offender is a service that gave a label more values than its bound.
type Offender struct {
	Service string // "_other" when there are too many services
	Label   string
	Items   uint64 // spans, or calls, counted in the overflow series
	Values  uint64 // different values turned away: an estimate, mostly within 7 %
	Example string // the last one
	Last    time.Time
}

// Labels that can overflow.
const (
	ofSpanName = iota
	ofServer
	ofService
	overflowing
)

var labelNames = [overflowing]string{"span_name", "server", "service"}

// overflow counts what one bound turned away, and how many different values that were, by HyperLogLog (Flajolet, Fusy,
// Gandouet, Meunier, 2007) with 256 registers.
type overflow struct {
	items     uint64
	registers [256]uint8
	example   string
	last      int64
}

func (o *overflow) add(now int64, seed maphash.Seed, value string) {
	o.items++
	hash := maphash.String(seed, value)
	rank := uint8(bits.LeadingZeros64(hash<<8|1<<7)) + 1
	if register := &o.registers[hash>>56]; rank > *register {
		*register = rank
	}
	if now-o.last >= int64(time.Second) || o.example == "" { // the newest is good enough each second
		o.example, o.last = strings.Clone(intern.Cut(value)), now
	}
}

// values estimates how many different ones were added.
func (o *overflow) values() uint64 {
	const m = float64(len(o.registers))
	sum, zeros := 0.0, 0.0
	for _, r := range o.registers {
		sum += math.Exp2(-float64(r))
		if r == 0 {
			zeros++
		}
	}
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && zeros > 0 {
		estimate = m * math.Log(m/zeros)
	}
	return uint64(math.Round(estimate))
}

// overflowed counts an item that one of the service's bounds turned away.
func (s *services) overflowed(now int64, of *service, label int, value string) {
	s.stats.Overflowed++
	o := of.overflows[label]
	if o == nil {
		o = &overflow{}
		of.overflows[label] = o
	}
	o.add(now, s.seed, value)
}

func (s *services) offenders() []Offender {
	out := []Offender{}
	for _, one := range s.all() {
		for label, o := range one.overflows {
			if o != nil {
				out = append(out, Offender{one.name, labelNames[label], o.items, o.values(), o.example, time.Unix(0, o.last)})
			}
		}
	}
	slices.SortFunc(out, func(a, b Offender) int {
		return cmp.Or(cmp.Compare(b.Values, a.Values), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Label, b.Label))
	})
	return out
}
