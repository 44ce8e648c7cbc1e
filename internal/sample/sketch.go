package sample

import (
	"math"
	"time"
)

// Sketch is a histogram of latencies in geometric buckets: bucket i holds (γ^(i−1), γ^i] microseconds with
// γ = 2^(1/8), so a quantile is off by at most 4.5 %. Counts add and subtract exactly, which a windowed difference of
// two cumulative sketches needs. (Masson, Rim, Lee: DDSketch, VLDB 2019, with a fixed γ.)
type Sketch map[int32]uint64

const bucketsPerOctave = 8

// BucketOf is the bucket of a latency; zero and below count as one microsecond.
func BucketOf(d time.Duration) int32 {
	us := max(1, float64(d)/1e3)
	return int32(math.Ceil(math.Log2(us) * bucketsPerOctave))
}

// bucketMiddle is the latency that stands for a bucket: the geometric mean of its bounds.
func bucketMiddle(i int32) time.Duration {
	return time.Duration(math.Exp2((float64(i)-0.5)/bucketsPerOctave) * 1e3)
}

// Add counts one latency.
func (s Sketch) Add(d time.Duration) { s[BucketOf(d)]++ }

// Merge adds other's counts to s.
func (s Sketch) Merge(other Sketch) {
	for i, n := range other {
		s[i] += n
	}
}

// Sub is s − earlier; a bucket that went backwards counts from zero.
func (s Sketch) Sub(earlier Sketch) Sketch {
	d := make(Sketch, len(s))
	for i, n := range s {
		if before := earlier[i]; n > before {
			d[i] = n - before
		} else if n < before {
			d[i] = n
		}
	}
	return d
}

// Count is the number of latencies counted.
func (s Sketch) Count() uint64 {
	var n uint64
	for _, c := range s {
		n += c
	}
	return n
}

// Quantile is the latency below which the share q (0 to 1) lies; 0 for an empty sketch.
func (s Sketch) Quantile(q float64) time.Duration {
	total := s.Count()
	if total == 0 {
		return 0
	}
	lowest, highest := int32(math.MaxInt32), int32(math.MinInt32)
	for i := range s {
		lowest, highest = min(lowest, i), max(highest, i)
	}
	rank := uint64(math.Ceil(q * float64(total)))
	var seen uint64
	for i := lowest; i <= highest; i++ {
		if seen += s[i]; seen >= max(rank, 1) {
			return bucketMiddle(i)
		}
	}
	return bucketMiddle(highest)
}
