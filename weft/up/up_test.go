package up

import (
	"reflect"
	"strings"
	"testing"

	"weft/weft/up/plan"
)

// TestStopOrder: services before their proxies, proxies before the agents, the collector near the end, control last.
func TestStopOrder(t *testing.T) {
	f := newFleet([]*plan.Part{
		{Name: "control", Supervised: true, Phase: plan.First}, {Name: "collector", Supervised: true, Phase: plan.Second},
		{Name: "agent", Supervised: true, Phase: plan.Second}, {Name: "gateway", Supervised: true, Phase: plan.Second},
		{Name: "sidecar/a-1", Phase: plan.Second}, {Name: "demo/a-1", Phase: plan.Third}, {Name: "demo/traffic", Phase: plan.Last, Supervised: true},
	})
	var got []string
	for _, group := range f.stopOrder() {
		var names []string
		for _, m := range group {
			names = append(names, m.part.Name)
		}
		got = append(got, strings.Join(names, "+"))
	}
	want := []string{"demo/a-1+demo/traffic", "gateway+sidecar/a-1", "agent", "collector", "control"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
