package archtest

import (
	"os/exec"
	"strings"
	"testing"
)

// links says what a binary must not link. A name that ends in "/" stands for all below it.
var links = map[string][]string{
	"gateway": append([]string{"weft/collector", "weft/agent", "weft/mesh/", "weft/weft", "weft/alerts"}, heavy...),
	"mesh":    append([]string{"weft/collector", "weft/agent", "weft/gateway", "weft/weft", "weft/alerts"}, heavy...),
	"agent": {
		"weft/collector/store", "weft/gateway", "weft/mesh/", "github.com/grafana/loki/", "github.com/prometheus/prometheus/tsdb", "k8s.io/client-go/",
	},
	"weft": append([]string{"weft/collector", "weft/agent", "weft/gateway", "weft/mesh/", "weft/alerts"}, heavy...),
}

var heavy = []string{
	"github.com/grafana/loki/", "github.com/prometheus/prometheus/", "github.com/prometheus/alertmanager/", "github.com/jaegertracing/jaeger/",
	"k8s.io/client-go/", "go.opentelemetry.io/collector/otelcol", "github.com/parquet-go/parquet-go",
}

func TestBinariesLinkOnlyTheirOwn(t *testing.T) {
	for binary, forbidden := range links {
		t.Run(binary, func(t *testing.T) {
			list := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"/cmd/"+binary)
			list.Dir = "../.."
			out, err := list.Output()
			if err != nil {
				t.Fatalf("go list: %v", err)
			}
			for _, name := range strings.Fields(string(out)) {
				for _, f := range forbidden {
					if within(name, strings.TrimSuffix(f, "/")) {
						t.Errorf("cmd/%s links %s", binary, name)
					}
				}
			}
		})
	}
}
