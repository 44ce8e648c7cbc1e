package endpoints

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weft/internal/sample"
)

func told(instance string, weight int) Endpoint {
	return Endpoint{Service: "orders", Instance: instance, Address: "127.0.0.1:1", Protocol: HTTP, Weight: weight, Source: SourceVerdict}
}

func TestExperienceOutlivesSnapshots(t *testing.T) {
	table := NewTable(nil, "orders")
	table.Update(map[string][]Endpoint{"orders": {told("orders-1", 100)}})
	first, _ := table.Lookup("orders")
	live := first.Endpoints[0].Live
	live.Counter.Observe(0, sample.Error, time.Millisecond, "r1")
	live.Update(func(l *Load) { l.Latency = time.Second })

	moved := told("orders-1", 10)
	moved.Address = "127.0.0.1:2"
	table.Update(map[string][]Endpoint{"orders": {moved, told("orders-2", 100)}})
	now, _ := table.Lookup("orders")
	if now.Endpoints[0].Live != live || now.Endpoints[1].Live == live || now.Endpoints[0].Weight != 10 {
		t.Fatal("experience belongs to the instance, weight and address to the snapshot")
	}
	if first.Endpoints[0].Address != "127.0.0.1:1" {
		t.Fatal("an old snapshot changed")
	}
	table.Update(map[string][]Endpoint{"orders": {}})
	if s, ok := table.Lookup("orders"); !ok || len(s.Endpoints) != 0 {
		t.Fatal("a service without endpoints is known to have none")
	}
	report := table.Report(time.Now())
	if len(report.Samples) != 1 || report.Samples[0].FirstAttempts[sample.Error] != 1 || report.Samples[0].Address != "127.0.0.1:2" {
		t.Fatalf("the last failures of an endpoint that left are evidence: %+v", report.Samples)
	}
	table.Update(map[string][]Endpoint{"orders": {told("orders-1", 100)}})
	if again, _ := table.Lookup("orders"); again.Endpoints[0].Live != live {
		t.Fatal("an endpoint that comes back is still the same")
	}
	if next := table.Report(time.Now()); next.Sequence != report.Sequence+1 || next.Epoch != report.Epoch {
		t.Fatal("sequence rises within an epoch")
	}
}

func TestVerdictsExpire(t *testing.T) {
	now := time.Now()
	e := Endpoint{Instance: "a", State: sample.Ejected, Weight: 0, VerdictVersion: "7", Source: SourceVerdict, Expires: now.Add(time.Second)}
	if s := e.Standing(now); s.State != sample.Ejected || s.Weight != 0 || s.Source != SourceVerdict {
		t.Fatalf("%+v", s)
	}
	last := 0
	for after := time.Duration(0); after <= 2*recovery; after += 100 * time.Millisecond {
		s := e.Standing(now.Add(time.Second + after))
		if s.State != sample.Healthy || s.Source != SourceExpired || s.Weight < max(1, last) {
			t.Fatalf("%v after expiry: %+v after weight %d", after, s, last)
		}
		last = s.Weight
	}
	if last != 100 {
		t.Fatalf("weight %d long after expiry", last)
	}
}

func TestStaticServices(t *testing.T) {
	static := map[string]StaticService{"mysql": {Protocol: TCP, Endpoints: []StaticEndpoint{{Instance: "mysql-1", Address: "127.0.0.1:3306"}}}}
	table := NewTable(static, "mysql", "orders")
	if got := fmt.Sprint(table.Wanted()); got != "[orders]" {
		t.Fatalf("asked of control: %v; what the configuration says is not asked for", got)
	}
	table.Update(map[string][]Endpoint{"mysql": {}, "orders": {told("orders-1", 100)}})
	if s, _ := table.Lookup("mysql"); len(s.Endpoints) != 1 || s.Endpoints[0].Protocol != TCP {
		t.Fatal("the configuration wins")
	}
	table.SetStatic(nil)
	if _, ok := table.Lookup("mysql"); ok {
		t.Fatal("still there after a reload without it")
	}
	if s, ok := table.Lookup("orders"); !ok || len(s.Endpoints) != 1 {
		t.Fatal("a reload must not touch control's services")
	}
}

func TestWantedServicesAreBounded(t *testing.T) {
	table := NewTable(nil)
	for i := range maxServices + 10 {
		table.Lookup(fmt.Sprintf("s%d", i))
	}
	table.Lookup("not a service name")
	if len(table.Wanted()) != maxServices || table.Refused() != 10 {
		t.Fatalf("%d wanted, %d refused", len(table.Wanted()), table.Refused())
	}
}

func TestAwaitTheFirstAnswer(t *testing.T) {
	table := NewTable(nil)
	found := make(chan bool)
	go func() {
		_, ok := table.Await(context.Background(), "orders")
		found <- ok
	}()
	<-table.asks // it has been asked for
	table.Update(map[string][]Endpoint{"cart": {}})
	table.Update(map[string][]Endpoint{"orders": {told("orders-1", 100)}})
	if !<-found {
		t.Fatal("not found")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, ok := table.Await(ctx, "unknown"); ok {
		t.Fatal("found a service that nobody serves")
	}
}

func TestValidateStatic(t *testing.T) {
	bad := map[string]StaticService{
		"a b": {}, "b": {Protocol: "udp"}, "c": {Endpoints: []StaticEndpoint{{Instance: "c-1", Address: "nowhere"}, {Instance: "c-1", Address: "unix://rel"}}},
	}
	faults := ValidateStatic("services", bad)
	text := fmt.Sprint(faults)
	for _, want := range []string{"services.a b", "services.b.protocol", "services.c.endpoints[0].address", "services.c.endpoints[1].instance", "services.c.endpoints[1].address"} {
		if !strings.Contains(text, want) {
			t.Errorf("no fault for %s in %v", want, faults)
		}
	}
	good := map[string]StaticService{"a": {Endpoints: []StaticEndpoint{{Instance: "a-1", Address: "unix:///run/a.sock"}, {Instance: "a-2", Address: "[::1]:80"}}}}
	if faults := ValidateStatic("services", good); faults != nil {
		t.Fatal(faults)
	}
}

func TestView(t *testing.T) {
	table := NewTable(nil)
	ejected := told("orders-2", 0)
	ejected.State, ejected.VerdictVersion = sample.Ejected, "12"
	table.Update(map[string][]Endpoint{"orders": {ejected, told("orders-1", 100)}})
	w := httptest.NewRecorder()
	table.ServeHTTP(w, httptest.NewRequest("GET", "/endpoints", nil))
	var got []map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0]["instance"] != "orders-1" || got[1]["state"] != "ejected" || got[1]["weight"] != 0.0 ||
		got[1]["verdict_version"] != "12" || got[1]["source"] != "verdict" || got[1]["local_breaker"] != "closed" {
		t.Fatal(w.Body.String())
	}
}

func BenchmarkLookup(b *testing.B) {
	table := NewTable(nil)
	table.Update(map[string][]Endpoint{"orders": {told("orders-1", 100)}})
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := table.Lookup("orders"); !ok {
			b.Fatal("gone")
		}
	}
}
