package control

import (
	"maps"
	"slices"
	"time"

	"weft/internal/wire"
)

// membership is the whole membership, who should be reporting, and what each proxy has acknowledged of the term in force.
func (c *Control) membership() *wire.ControlReport {
	term := c.ledger.At(time.Now()).Term
	out := &wire.ControlReport{Full: true, Proxies: c.registry.Holders()}
	for _, e := range c.registry.Endpoints() {
		out.Members = append(out.Members, &wire.Member{
			Service: e.Key.Service, Instance: e.Key.Instance, Address: e.Address, Version: e.Version,
			Protocol: e.Protocol, Zone: e.Zone,
		})
	}
	for _, p := range c.xds.Proxies() {
		out.Proxies = append(out.Proxies, p.Proxy)
		for _, service := range slices.Sorted(maps.Keys(p.Applied)) {
			if a := p.Applied[service]; a.Term == term && a.Version > 0 {
				out.Acks = append(out.Acks, &wire.ProxyAck{Proxy: p.Proxy, Service: service, VerdictVersion: a.Version})
			}
		}
	}
	slices.Sort(out.Proxies)
	out.Proxies = slices.Compact(out.Proxies)
	return out
}
