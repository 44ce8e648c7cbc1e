package control

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"weft/internal/sample"
	"weft/internal/wire"
)

const (
	look     = 200 * time.Millisecond // how often leases, times to live and refreshes are looked at
	coalesce = time.Second            // what is not urgent is pushed at most this often per service
)

// publisher turns registry and ledger into what proxies are told, and decides when.
type publisher struct {
	registry  *registry
	ledger    *ledger
	resources *resources
	config    *atomic.Pointer[Config]
	metrics   *metrics
	changed   bells // membership or verdicts: those who save and report

	services map[string]pushed // Run's goroutine only
	shown    atomic.Pointer[[]steered]
}

// pushed is what proxies were told of a service last. A service stays here when its last endpoint has left.
type pushed struct {
	endpoints []steered
	at        time.Time
}

// Run pushes until ctx ends.
func (p *publisher) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		p.step(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-p.registry.changed:
			p.changed.ring()
		case <-p.ledger.changed:
			p.changed.ring()
		case <-tick.C:
		}
	}
}

// step pushes what is due at now.
func (p *publisher) step(now time.Time) {
	for _, e := range p.registry.expire(now) {
		slog.Warn("endpoint gone: its lease ended", "endpoint", e.Key.String(), "address", e.Address)
	}
	verdicts := p.ledger.at(now)
	want := steer(p.registry.endpoints(), verdicts, p.config.Load().PanicPercent)
	for name := range p.services {
		if _, ok := want[name]; !ok {
			want[name] = nil
		}
	}
	changed := map[string]*endpointv3.ClusterLoadAssignment{}
	for _, name := range sortedKeys(want) {
		before, known := p.services[name]
		if known && !before.due(now, want[name]) {
			continue
		}
		message, err := assignment(name, want[name])
		if err != nil { // the address was checked on its way in
			slog.Error("service not pushed", "service", name, "error", err)
			continue
		}
		report(before.endpoints, want[name])
		changed[name], p.services[name] = message, pushed{want[name], now}
	}
	if len(changed) == 0 {
		return
	}
	if err := p.resources.update(changed); err != nil {
		slog.Error("push failed", "error", err)
	}
	p.show(verdicts)
}

// due: an ejection, a removal or a new address at once; another change when the last push is old enough; nothing new
// only in time to keep verdicts from expiring in the proxies.
func (p pushed) due(now time.Time, want []steered) bool {
	age := now.Sub(p.at)
	if !slices.Equal(p.endpoints, want) {
		return age >= coalesce || urgent(p.endpoints, want)
	}
	ttl := time.Duration(0)
	for _, e := range want {
		ttl = max(ttl, e.TTL)
	}
	return ttl > 0 && age >= ttl/3-look
}

func urgent(before, want []steered) bool {
	for _, old := range before {
		i := slices.IndexFunc(want, func(e steered) bool { return e.Key == old.Key })
		if i < 0 || want[i].Address != old.Address {
			return true
		}
		if want[i].State == sample.Ejected && old.State != sample.Ejected {
			return true
		}
	}
	return slices.ContainsFunc(want, func(e steered) bool {
		return e.State == sample.Ejected && !slices.ContainsFunc(before, func(old steered) bool { return old.Key == e.Key })
	})
}

// report logs what a push changes for traffic.
func report(before, want []steered) {
	for _, e := range want {
		var old steered
		if i := slices.IndexFunc(before, func(o steered) bool { return o.Key == e.Key }); i >= 0 {
			old = before[i]
		}
		if old.State != e.State || old.Source != e.Source && (e.Source == sourcePanic || e.Source == sourceExpired) {
			slog.Info("endpoint steered", "endpoint", e.Key.String(), "state", e.State.String(), "weight", e.Weight,
				"source", e.Source, "verdict_version", e.Verdict)
		}
	}
}

func (p *publisher) show(verdicts view) {
	var all []steered
	for _, name := range sortedKeys(p.services) {
		all = append(all, p.services[name].endpoints...)
	}
	p.shown.Store(&all)
	p.metrics.show(all, verdicts)
}

// current is what proxies were told last, sorted by service and instance.
func (p *publisher) current() []steered {
	if all := p.shown.Load(); all != nil {
		return *all
	}
	return nil
}

// list is current as the Registry service tells it.
func (p *publisher) list() []*wire.RegisteredEndpoint {
	all := p.current()
	out := make([]*wire.RegisteredEndpoint, 0, len(all))
	for _, e := range all {
		out = append(out, &wire.RegisteredEndpoint{
			Service: e.Key.Service, Instance: e.Key.Instance, Address: e.Address, Protocol: e.Protocol, Version: e.Version,
			Zone: e.Zone, Static: e.Static, State: wire.State(e.State), Weight: uint32(e.Weight),
			VerdictVersion: e.Verdict, Source: e.Source,
		})
	}
	return out
}
