package steer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/internal/sample"
	"weft/mesh/control/registry"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func endpoints(n int) []registry.Endpoint {
	var out []registry.Endpoint
	for i := range n {
		key := sample.Key{Service: "payment", Instance: fmt.Sprintf("payment-%d", i+1)}
		out = append(out, registry.Endpoint{Key: key, Address: fmt.Sprintf("127.0.0.1:%d", 9001+i), Protocol: "http"})
	}
	return out
}

// verdicts reads "E40 H D": the state and weight of payment-1, payment-2, …; "-" is none, a trailing "?" is observed
// only. Each verdict is a second younger than the one before, unless it begins with "^", which is the eldest.
func verdicts(text string) View {
	states := map[byte]sample.State{'H': sample.Healthy, 'D': sample.Degraded, 'E': sample.Ejected, 'P': sample.Probing}
	v := View{Term: 1, Version: 1, TTL: 6 * time.Second, Live: true, Verdicts: map[sample.Key]Judged{}}
	for i, word := range strings.Fields(text) {
		since := start.Add(time.Duration(i) * time.Second)
		if word[0] == '^' {
			word, since = word[1:], start.Add(-time.Hour)
		}
		state, known := states[word[0]]
		if !known {
			continue
		}
		key := sample.Key{Service: "payment", Instance: fmt.Sprintf("payment-%d", i+1)}
		verdict := sample.Verdict{Endpoint: key, State: state, Version: uint64(i + 1), Enforced: !strings.HasSuffix(word, "?"), Since: since}
		fmt.Sscanf(strings.TrimSuffix(word[1:], "?"), "%d", &verdict.Weight)
		v.Verdicts[key] = Judged{verdict, 1}
	}
	return v
}

func show(endpoints []Endpoint) string {
	var words []string
	for _, e := range endpoints {
		words = append(words, fmt.Sprintf("%s:%d:%s", e.State, e.Weight, e.Source))
	}
	return strings.Join(words, " ")
}

func TestApply(t *testing.T) {
	const d, p = "healthy:100:default", "healthy:100:panic"
	tests := map[string]struct {
		n        int
		verdicts string
		percent  int
		want     string
	}{
		"nothing known":            {2, "- -", 50, d + " " + d},
		"one ejected of three":     {3, "- E -", 50, d + " ejected:0:verdict " + d},
		"degraded and probing":     {3, "D40 P1 H100", 50, "degraded:40:verdict probing:1:verdict healthy:100:verdict"},
		"weight of the living ≥ 1": {2, "D0 H0", 50, "degraded:1:verdict healthy:1:verdict"},
		"observed moves nothing":   {3, "E? D20? -", 50, d + " " + d + " " + d},
		"single is never ejected":  {1, "E", 50, p},
		"single, at 100 percent":   {1, "E", 100, p},
		"two: one may go":          {2, "E E", 50, "ejected:0:verdict " + p},
		"the eldest stays out":     {2, "E ^E", 50, p + " ejected:0:verdict"},
		"four at 50: two":          {4, "E E E E", 50, "ejected:0:verdict ejected:0:verdict " + p + " " + p},
		"three at 50: one":         {3, "E E -", 50, "ejected:0:verdict " + p + " " + d},
		"three at 67: two":         {3, "E E -", 67, "ejected:0:verdict ejected:0:verdict " + d},
		"three at 0: still one":    {3, "E E -", 0, "ejected:0:verdict " + p + " " + d},
		"all at 100":               {3, "E E E", 100, "ejected:0:verdict ejected:0:verdict ejected:0:verdict"},
		"others keep their weight": {3, "E E D30", 50, "ejected:0:verdict " + p + " degraded:30:verdict"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := show(Apply(endpoints(test.n), verdicts(test.verdicts), test.percent)["payment"])
			if got != test.want {
				t.Fatalf("\n got %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestMostEjected(t *testing.T) {
	for n := range 200 {
		for percent := range 101 {
			got := mostEjected(n, percent)
			switch {
			case n <= 1 && got != 0:
				t.Fatalf("%d of %d at %d %%: a single endpoint may be ejected", got, n, percent)
			case n > 1 && got != max(1, n*percent/100):
				t.Fatalf("%d of %d at %d %%", got, n, percent)
			}
		}
	}
}

func TestExpiredVerdictIsNeutral(t *testing.T) {
	v := verdicts("E D40")
	v.Live = false
	got := Apply(endpoints(2), v, 50)["payment"]
	if show(got) != "healthy:100:expired healthy:100:expired" {
		t.Fatal(show(got))
	}
	if got[0].TTL != 0 {
		t.Fatalf("ttl %v, want none", got[0].TTL)
	}
}

func BenchmarkApply(b *testing.B) {
	all, v := endpoints(100), verdicts(strings.Repeat("D40 E H ", 33))
	b.ReportAllocs()
	for b.Loop() {
		Apply(all, v, 50)
	}
}
