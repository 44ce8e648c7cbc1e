package origin

import (
	"testing"

	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"
)

func TestOnlyNamelessResourcesAreStamped(t *testing.T) {
	sink := new(consumertest.MetricsSink)
	p, err := NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(NewFactory().Type()), &Config{Service: "agent", Instance: "agent-1"}, sink)
	if err != nil {
		t.Fatal(err)
	}
	batch := pmetric.NewMetrics()
	batch.ResourceMetrics().AppendEmpty()
	batch.ResourceMetrics().AppendEmpty().Resource().Attributes().PutStr("service.name", "cart")
	if err := p.ConsumeMetrics(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	for _, rm := range sink.AllMetrics()[0].ResourceMetrics().All() {
		got = append(got, rm.Resource().Attributes().AsRaw())
	}
	if got[0]["service.name"] != "agent" || got[0]["service.instance.id"] != "agent-1" {
		t.Errorf("nameless became %v", got[0])
	}
	if got[1]["service.name"] != "cart" || len(got[1]) != 1 {
		t.Errorf("cart became %v", got[1])
	}
	if err := (&Config{}).Validate(); err == nil {
		t.Error("a nameless agent was accepted")
	}
}
