package control

import (
	"slices"
	"strings"
	"testing"
	"time"

	"weft/internal/identity"
	"weft/internal/wire"
)

// steered starts a control with one collector lane, three endpoints of payment and a gateway that subscribes.
func steered(t *testing.T) (*meshUnderTest, *collector, *subscriber, func()) {
	t.Helper()
	cfg := testConfig(t)
	listener := reserve(t)
	cfg.Collectors = []string{listener.Addr().String()}
	cfg.Services = map[string]Service{"payment": {Endpoints: []Endpoint{
		{Instance: "payment-1", Address: "127.0.0.1:9001"}, {Instance: "payment-2", Address: "127.0.0.1:9002", Version: "7", Zone: "b"},
		{Instance: "payment-3", Address: "127.0.0.1:9003"},
	}}}
	m := start(t, cfg)
	c, stop := collectorAt(t, listener, m.member(identity.RoleCollector, "collector", "collector-1"))
	eventually(t, "the lane is up", c.up)
	gateway := m.subscribe(m.member(identity.RoleProxy, "gateway", "gateway-1"), nil, "payment")
	gateway.sees("payment", neutral)
	return m, c, gateway, stop
}

const (
	neutral = "payment-1=healthy:100:default payment-2=healthy:100:default payment-3=healthy:100:default"
	oneOut  = "payment-1=healthy:100:default payment-2=ejected:0:verdict payment-3=healthy:100:default"
)

func TestVerdictReachesProxies(t *testing.T) {
	t.Parallel()
	m, c, gateway, stop := steered(t)
	full := &wire.VerdictUpdate{Term: 3, Version: 41, Full: true, TtlMs: 1500, Verdicts: []*wire.Verdict{
		verdict("payment", "payment-2", wire.State_EJECTED, 0, 41),
	}}
	began := time.Now()
	c.say <- full
	gateway.sees("payment", oneOut)
	t.Logf("an ejection reached the proxy after %v", time.Since(began))
	still := c.heartbeat(t, full)
	checkContents(t, gateway)

	eventually(t, "the ACK is reported", func() bool {
		r := c.reported()
		return len(r.GetMembers()) == 3 && slices.Contains(r.GetProxies(), "gateway/gateway-1") &&
			len(r.GetAcks()) == 1 && r.GetAcks()[0].GetService() == "payment" && r.GetAcks()[0].GetVerdictVersion() == 41
	})
	before := gateway.responses()
	eventually(t, "verdicts are pushed again before they expire", func() bool { return gateway.responses() >= before+2 })
	gateway.sees("payment", oneOut)

	var shown []shownEndpoint
	m.ask("/registry", &shown)
	if shown[1].State != "ejected" || shown[1].VerdictVersion != "41" || shown[1].Source != "verdict" || shown[1].TTLMillis != 1500 {
		t.Fatalf("/registry: %+v", shown[1])
	}

	still() // the collector falls silent
	gateway.sees("payment", "payment-1=healthy:100:default payment-2=healthy:100:expired payment-3=healthy:100:default")
	stop() // and leaves
	gateway.sees("payment", "payment-1=healthy:100:default payment-2=healthy:100:expired payment-3=healthy:100:default")
}

// checkContents looks at what unmodified xDS clients and ours read.
func checkContents(t *testing.T, gateway *subscriber) {
	t.Helper()
	gateway.mu.Lock()
	defer gateway.mu.Unlock()
	assignment := gateway.seen["payment"]
	if assignment.GetClusterName() != "payment" || len(assignment.GetEndpoints()) != 3 {
		t.Fatalf("assignment: %v", assignment)
	}
	for i, want := range []struct {
		health string
		weight uint32
	}{{"HEALTHY", 100}, {"UNHEALTHY", 1}, {"HEALTHY", 100}} {
		locality := assignment.GetEndpoints()[i]
		if len(locality.GetLbEndpoints()) != 1 || locality.GetLoadBalancingWeight().GetValue() != want.weight {
			t.Fatalf("one endpoint per locality, with its weight: %v", locality)
		}
		e := locality.GetLbEndpoints()[0]
		if e.GetHealthStatus().String() != want.health || e.GetLoadBalancingWeight().GetValue() != want.weight {
			t.Fatalf("%v", e)
		}
	}
	second := assignment.GetEndpoints()[1]
	if second.GetLocality().GetZone() != "b" || second.GetLocality().GetSubZone() != "payment-2" {
		t.Fatalf("locality: %v", second.GetLocality())
	}
	got := second.GetLbEndpoints()[0].GetMetadata().GetFilterMetadata()["weft"].AsMap()
	for key, want := range map[string]any{
		"instance": "payment-2", "version": "7", "zone": "b", "protocol": "http", "tls": false, "state": "ejected", "weight": 0.0,
		"verdict_version": "41", "verdict_term": "3", "source": "verdict", "ttl_ms": 1500.0,
	} {
		if got[key] != want {
			t.Errorf("metadata %s: %v, want %v", key, got[key], want)
		}
	}
	address := second.GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress()
	if address.GetAddress() != "127.0.0.1" || address.GetPortValue() != 9002 {
		t.Errorf("address %v", address)
	}
}

func TestPanicShareIsAppliedByControl(t *testing.T) {
	t.Parallel()
	_, c, gateway, _ := steered(t)
	full := &wire.VerdictUpdate{Term: 1, Version: 3, Full: true, TtlMs: 60000, Verdicts: []*wire.Verdict{
		verdict("payment", "payment-1", wire.State_EJECTED, 0, 3), verdict("payment", "payment-2", wire.State_EJECTED, 0, 1),
		verdict("payment", "payment-3", wire.State_EJECTED, 0, 2),
	}}
	c.say <- full
	gateway.sees("payment", "payment-1=healthy:100:panic payment-2=ejected:0:verdict payment-3=healthy:100:panic")
	c.say <- &wire.VerdictUpdate{Term: 1, Version: 4, TtlMs: 60000, Removed: []string{"payment/payment-2", "payment/payment-1"}}
	gateway.sees("payment", "payment-1=healthy:100:default payment-2=healthy:100:default payment-3=ejected:0:verdict")
}

// A second collector with a lower term is not listened to, one with a higher term takes over.
func TestSecondCollector(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	first, second := reserve(t), reserve(t)
	cfg.Collectors = []string{first.Addr().String(), second.Addr().String()}
	cfg.Services = map[string]Service{"payment": {Endpoints: []Endpoint{
		{Instance: "payment-1", Address: "127.0.0.1:9001"}, {Instance: "payment-2", Address: "127.0.0.1:9002"},
	}}}
	m := start(t, cfg)
	a, _ := collectorAt(t, first, m.member(identity.RoleCollector, "collector", "collector-1"))
	b, _ := collectorAt(t, second, m.member(identity.RoleCollector, "collector", "collector-2"))
	gateway := m.subscribe(m.member(identity.RoleProxy, "gateway", "gateway-1"), nil, "payment")
	eventually(t, "both lanes are up", func() bool { return a.up() && b.up() })
	eject := func(term uint64, instance string) *wire.VerdictUpdate {
		return &wire.VerdictUpdate{Term: term, Version: 1, Full: true, TtlMs: 60000, Verdicts: []*wire.Verdict{
			verdict("payment", instance, wire.State_EJECTED, 0, 1),
		}}
	}
	a.say <- eject(5, "payment-1")
	gateway.sees("payment", "payment-1=ejected:0:verdict payment-2=healthy:100:default")
	b.say <- eject(4, "payment-2")
	b.say <- &wire.VerdictUpdate{Term: 4, Version: 2, TtlMs: 60000} // once this is taken off the channel, the one before was read
	gateway.sees("payment", "payment-1=ejected:0:verdict payment-2=healthy:100:default")
	b.say <- eject(6, "payment-2")
	gateway.sees("payment", "payment-1=healthy:100:default payment-2=ejected:0:verdict")
	a.say <- &wire.VerdictUpdate{Term: 5, Version: 2, TtlMs: 60000, Removed: []string{"payment/payment-1"}}
	gateway.sees("payment", "payment-1=healthy:100:default payment-2=ejected:0:verdict")
}

// Only role collector may send verdicts: control hangs up on anybody else.
func TestLaneRefusesOtherRoles(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	listener := reserve(t)
	cfg.Collectors = []string{listener.Addr().String()}
	m := start(t, cfg)
	c, _ := collectorAt(t, listener, m.member(identity.RoleProxy, "payment", "payment-2"))
	deadline := time.Now().Add(700 * time.Millisecond) // several dials
	for time.Now().Before(deadline) {
		if c.up() {
			t.Fatal("a proxy was taken for a collector")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A restarted control goes on with the verdicts it had: what is ejected gets no traffic in between.
func TestRestartKeepsVerdicts(t *testing.T) {
	t.Parallel()
	m, c, gateway, _ := steered(t)
	c.say <- &wire.VerdictUpdate{Term: 3, Version: 41, Full: true, TtlMs: 60000, Verdicts: []*wire.Verdict{
		verdict("payment", "payment-2", wire.State_EJECTED, 0, 41),
	}}
	gateway.sees("payment", oneOut)
	source := m.member(identity.RoleProxy, "gateway", "gateway-2")
	m.stop()
	m.cfg.Collectors = nil
	again := start(t, m.cfg)
	gateway = again.subscribe(source, nil, "payment")
	gateway.sees("payment", oneOut)
	if gateway.responses() != 1 {
		t.Fatalf("%d responses: the verdict came late", gateway.responses())
	}
}

// A collector that starts again, with a new term and no memory, is heard at once.
func TestLaneReconnects(t *testing.T) {
	t.Parallel()
	m, c, gateway, stop := steered(t)
	address := m.cfg.Collectors[0]
	c.say <- &wire.VerdictUpdate{Term: 1, Version: 9, Full: true, TtlMs: 60000, Verdicts: []*wire.Verdict{
		verdict("payment", "payment-2", wire.State_EJECTED, 0, 9),
	}}
	gateway.sees("payment", oneOut)
	stop()
	listener := reserveAt(t, address)
	again, _ := collectorAt(t, listener, m.member(identity.RoleCollector, "collector", "collector-1"))
	eventually(t, "the lane is up again", again.up)
	again.say <- &wire.VerdictUpdate{Term: 2, Version: 1, Full: true, TtlMs: 60000}
	gateway.sees("payment", neutral)
	eventually(t, "the membership is reported again", func() bool { return len(again.reported().GetMembers()) == 3 })
	if acks := again.reported().GetAcks(); len(acks) != 0 {
		t.Fatalf("acknowledgements of the term before are reported: %v", acks)
	}
}

func TestObservedVerdictIsNotSteered(t *testing.T) {
	t.Parallel()
	_, c, gateway, _ := steered(t)
	observed := verdict("payment", "payment-2", wire.State_EJECTED, 0, 1)
	observed.Enforced = false
	c.say <- &wire.VerdictUpdate{Term: 1, Version: 1, Full: true, TtlMs: 60000, Verdicts: []*wire.Verdict{
		observed, verdict("payment", "payment-3", wire.State_DEGRADED, 30, 1),
	}}
	gateway.sees("payment", strings.Replace(neutral, "payment-3=healthy:100:default", "payment-3=degraded:30:verdict", 1))
}
