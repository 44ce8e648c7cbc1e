package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// part is a folder with its layer. A package belongs to the longest part that contains it; packages of one part may
// import one another.
type part struct {
	folder string
	layer  int
}

// "*" makes each folder inside a part of its own.
var parts = []part{
	{"cmd/*", 6},
	{"collector", 5}, {"agent", 5}, {"gateway", 5}, {"mesh/sidecar", 5}, {"mesh/control", 5}, {"weft", 5}, {"compose/demo", 5},
	{"collector/component/*", 4}, {"agent/component/*", 4}, {"gateway/middleware", 4},
	{"collector/store", 3}, {"collector/query", 3}, {"alerts", 3}, {"internal/forward", 3},
	{"collector/store/*", 2}, {"collector/correlate", 2}, {"collector/health", 2}, {"alerts/notify", 2}, {"internal/balance", 2},
	{"collector/signal", 1}, {"internal/sample", 1}, {"internal/wal", 1}, {"internal/endpoints", 1}, {"internal/identity", 1},
	{"internal/telemetry", 1}, {"internal/otlp", 1}, {"internal/distro", 1}, {"internal/config", 1}, {"internal/ops", 1},
	{"internal/semconv", 0}, {"internal/wire", 0}, {"console", 0}, {"dashboards", 0},
	{"bench", 6}, // what measures the binaries, from outside
	// Tests of the whole, which import what they please and which nothing may import.
	{"e2e", 7}, {"internal/archtest", 7},
}

// sideways are the imports within a layer that are meant: who, what, why.
var sideways = []struct{ from, to, why string }{
	{"*", "internal/config", "every part names its faults by YAML key"},
	{"*", "internal/sample", "the words that proxies, control and the engine share"},
	{"collector/store/*", "collector/store/segment", "both stores of records are segments"},
	{"collector/store/*", "collector/store/key", "what is found is found by its key"},
	{"collector/store/*", "collector/store/records", "what the stores of spans and of log records share"},
	{"collector/store/*", "collector/store/sealed", "the segments, and the stores that read them, hold sealed files"},
	{"collector/store/storetest", "collector/store/*", "one suite for all stores"},
	{"internal/distro", "internal/otlp", "the receiver looks into what it takes"},
	{"collector/signal", "internal/otlp", "a span is read from the bytes it came in"},
}

// partOf finds the folder and layer of a package.
func partOf(pkg string) (part, bool) {
	var best part
	found := false
	for _, p := range parts {
		folder, each := strings.CutSuffix(p.folder, "/*")
		if !within(pkg, folder) || each && pkg == folder {
			continue
		}
		if each {
			rest, _, _ := strings.Cut(strings.TrimPrefix(pkg, folder+"/"), "/")
			folder += "/" + rest
		}
		if len(folder) > len(best.folder) {
			best, found = part{folder, p.layer}, true
		}
	}
	return best, found
}

func matches(pattern, folder string) bool {
	prefix, any := strings.CutSuffix(pattern, "*")
	return pattern == folder || any && strings.HasPrefix(folder, prefix)
}

func mayGoSideways(from, to part) bool {
	for _, s := range sideways {
		if matches(s.from, from.folder) && matches(s.to, to.folder) {
			return true
		}
	}
	return false
}

// Imports go down only; a layer's parts do not know one another.
func TestImportsGoDownwards(t *testing.T) {
	complaints := map[string]bool{}
	for _, s := range sources(t) {
		from, ok := partOf(s.pkg)
		if !ok {
			complaints[s.pkg+" is in no layer: give it one in layers_test.go and in the design"] = true
			continue
		}
		if s.test {
			continue // a test may use a neighbour to check itself
		}
		ours, _ := s.imports()
		for _, name := range ours {
			to, ok := partOf(name)
			switch {
			case !ok, from.folder == to.folder, to.layer < from.layer, to.layer == from.layer && mayGoSideways(from, to):
			default:
				complaints[fmt.Sprintf("%s (layer %d) imports %s (layer %d)", s.name, from.layer, name, to.layer)] = true
			}
		}
	}
	report(t, complaints)
}

// only names who may import what: everyone else must not.
var only = []struct {
	what string
	who  []string
}{
	{"github.com/grafana/loki", []string{"collector/store/logstore", "collector/query/loki"}},
	// queryextension answers Prometheus' web API, whose interface names the TSDB's types; it opens none.
	{"github.com/prometheus/prometheus/tsdb", []string{"collector/store/metricstore", "collector/component/queryextension"}},
	{"github.com/prometheus/prometheus", []string{"collector", "alerts"}},
	{"github.com/prometheus/alertmanager", []string{"alerts", "collector/component/alertextension"}},
	{"github.com/labstack/echo", []string{"gateway"}},
	{"k8s.io/client-go", nil},
}

// never lists what pure packages must not reach for: they take now and randomness as arguments.
var never = map[string][]string{
	"collector/correlate": {"os", "net", "net/http", "math/rand", "math/rand/v2", "google.golang.org/grpc", "log/slog"},
	"collector/health":    {"os", "net", "net/http", "math/rand", "math/rand/v2", "google.golang.org/grpc", "log/slog"},
	"internal/balance":    {"os", "net", "net/http", "math/rand", "math/rand/v2", "google.golang.org/grpc", "log/slog"},
	"collector/query":     {"weft/collector/store"},
	"alerts":              {"weft/collector/store"},
}

func TestHeavyLibrariesStayWhereTheyAre(t *testing.T) {
	complaints := map[string]bool{}
	for _, s := range sources(t) {
		ours, others := s.imports()
		for _, name := range others {
			for _, rule := range only {
				if within(name, rule.what) && !s.test && !slices.ContainsFunc(rule.who, func(folder string) bool { return within(s.pkg, folder) }) {
					complaints[fmt.Sprintf("%s imports %s, which is for %v", s.name, name, rule.who)] = true
				}
			}
		}
		for _, name := range append(others, withModule(ours)...) {
			for folder, forbidden := range never {
				if within(s.pkg, folder) && !s.test && slices.ContainsFunc(forbidden, func(f string) bool {
					return name == f || strings.Contains(f, ".") && within(name, f) || strings.HasPrefix(f, module+"/") && within(name, f)
				}) {
					complaints[fmt.Sprintf("%s imports %s, which %s must not", s.name, name, folder)] = true
				}
			}
		}
	}
	report(t, complaints)
}

func withModule(ours []string) []string {
	out := make([]string, 0, len(ours))
	for _, name := range ours {
		out = append(out, module+"/"+name)
	}
	return out
}

func report(t *testing.T, complaints map[string]bool) {
	t.Helper()
	all := make([]string, 0, len(complaints))
	for c := range complaints {
		all = append(all, c)
	}
	slices.Sort(all)
	for _, c := range all {
		t.Error(c)
	}
}
