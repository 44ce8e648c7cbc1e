package bench

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// distribution is how long questions of one kind took.
type distribution struct {
	name        string
	took, store []time.Duration // as the asker sees it; as the store says, where it does
	wrong       int             // answers that lacked something acknowledged, or that knew what is unknown
	example     string          // of a wrong one
}

func (d *distribution) add(took, store time.Duration) {
	d.took = append(d.took, took)
	if store > 0 {
		d.store = append(d.store, store)
	}
}

// at is the smallest value that a share of all does not exceed.
func at(sorted []time.Duration, share float64) time.Duration {
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func quantiles(values []time.Duration) string {
	if len(values) == 0 {
		return "- | - | - | -"
	}
	sorted := slices.Sorted(slices.Values(values))
	ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
	return fmt.Sprintf("%.2f | %.2f | %.2f | %.2f", ms(at(sorted, 0.5)), ms(at(sorted, 0.9)), ms(at(sorted, 0.99)), ms(sorted[len(sorted)-1]))
}

func distributionHeader(out io.Writer) {
	fmt.Fprintln(out, "| ms | n | store p50 | p90 | p99 | max | HTTP p50 | p90 | p99 | max | wrong |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|")
}

func (d *distribution) row(out io.Writer) {
	fmt.Fprintf(out, "| %s | %d | %s | %s | %d |\n", d.name, len(d.took), quantiles(d.store), quantiles(d.took), d.wrong)
}
