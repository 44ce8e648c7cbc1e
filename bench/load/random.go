package load

import (
	"math"
	"math/bits"
)

// random is SplitMix64 (Steele, Lea, Flood 2014): its state is a counter, so every trace has a stream of its own.
type random uint64

func randomOf(seed, n uint64) random {
	// Two rounds of mixing: streams of neighbouring n must not be one stream, shifted.
	return random(mix(mix(seed+0x9e3779b97f4a7c15) ^ n*0xd1342543de82ef95))
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// below is uniform in [0, n), as exactly as 64 bits allow.
func (r *random) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.next(), n)
	return hi
}

// part is a share of whole, uniform between from and to, to the nanosecond.
func (r *random) part(whole int64, from, to float64) int64 {
	u := float64(r.next()>>11) / (1 << 53)
	return int64(float64(whole) * (from + (to-from)*u))
}

const (
	medianDuration = 20e6 // ns
	sigma          = 0.8
	quantiles      = 1024
)

// durations are log-normal quantiles; between two of them a draw is uniform.
type durations [quantiles + 1]float64

func newDurations() *durations {
	var d durations
	for i := range d {
		p := (float64(i) + 0.5) / (quantiles + 1)
		d[i] = medianDuration * math.Exp(sigma*math.Sqrt2*math.Erfinv(2*p-1))
	}
	return &d
}

func (d *durations) draw(r *random) int64 {
	u := r.next()
	i, f := u>>54, float64(u<<10>>11)/(1<<53)
	return int64(d[i] + (d[i+1]-d[i])*f)
}
