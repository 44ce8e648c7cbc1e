package control

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"weft/internal/sample"
	"weft/internal/wire"
	"weft/mesh/control/bell"
	"weft/mesh/control/registry"
	"weft/mesh/control/steer"
	"weft/mesh/control/xds"
)

const (
	look     = 100 * time.Millisecond // how often leases, times to live and refreshes are looked at
	coalesce = time.Second            // what is not urgent is pushed at most this often per service
)

// publisher turns registry and ledger into what proxies are told, and decides when.
type publisher struct {
	registry *registry.Registry
	ledger   *steer.Ledger
	xds      *xds.Server
	config   *atomic.Pointer[Config]
	changed  bell.Bells // membership or verdicts: those who save and report

	services map[string]pushed // Run's goroutine only
	shown    atomic.Pointer[[]steer.Endpoint]
}

// pushed is what proxies were told of a service last. A service stays here when its last endpoint has left.
type pushed struct {
	endpoints []steer.Endpoint
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
		case <-p.registry.Changed:
			p.changed.Ring()
		case <-p.ledger.Changed:
			p.changed.Ring()
		case <-tick.C:
		}
	}
}

// step pushes what is due at now.
func (p *publisher) step(now time.Time) {
	for _, e := range p.registry.Expire(now) {
		slog.Warn("endpoint gone: its lease ended", "endpoint", e.Key.String(), "address", e.Address)
	}
	want := steer.Apply(p.registry.Endpoints(), p.ledger.At(now), p.config.Load().PanicPercent)
	for name := range p.services {
		if _, ok := want[name]; !ok {
			want[name] = nil
		}
	}
	changed := map[string][]steer.Endpoint{}
	for name, endpoints := range want {
		before, known := p.services[name]
		if known && !before.due(now, endpoints) {
			continue
		}
		report(before.endpoints, endpoints)
		changed[name], p.services[name] = endpoints, pushed{endpoints, now}
	}
	if len(changed) == 0 {
		return
	}
	if err := p.xds.Update(changed); err != nil {
		slog.Error("push failed", "error", err)
	}
	p.show()
}

// due: an ejection, a removal or a new address at once; another change when the last push is old enough; nothing new
// only in time to keep verdicts from expiring in the proxies.
func (p pushed) due(now time.Time, want []steer.Endpoint) bool {
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

func urgent(before, want []steer.Endpoint) bool {
	for _, old := range before {
		i := slices.IndexFunc(want, func(e steer.Endpoint) bool { return e.Key == old.Key })
		if i < 0 || want[i].Address != old.Address {
			return true
		}
		if want[i].State == sample.Ejected && old.State != sample.Ejected {
			return true
		}
	}
	return slices.ContainsFunc(want, func(e steer.Endpoint) bool {
		return e.State == sample.Ejected && !slices.ContainsFunc(before, func(old steer.Endpoint) bool { return old.Key == e.Key })
	})
}

// report logs what a push changes for traffic.
func report(before, want []steer.Endpoint) {
	for _, e := range want {
		var old steer.Endpoint
		if i := slices.IndexFunc(before, func(o steer.Endpoint) bool { return o.Key == e.Key }); i >= 0 {
			old = before[i]
		}
		if old.State != e.State || old.Source != e.Source && (e.Source == steer.SourcePanic || e.Source == steer.SourceExpired) {
			slog.Info("endpoint steered", "endpoint", e.Key.String(), "state", e.State.String(), "weight", e.Weight,
				"source", e.Source, "verdict_version", e.Verdict)
		}
	}
}

func (p *publisher) show() {
	all := []steer.Endpoint{}
	for _, name := range slices.Sorted(maps.Keys(p.services)) {
		all = append(all, p.services[name].endpoints...)
	}
	p.shown.Store(&all)
}

// current is what proxies were told last, sorted by service and instance.
func (p *publisher) current() []steer.Endpoint {
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
