package endpoints

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"weft/internal/sample"
)

// View is one endpoint as a person sees it on the ops port.
type View struct {
	Service        string       `json:"service"`
	Instance       string       `json:"instance"`
	Address        string       `json:"address"`
	Version        string       `json:"version,omitempty"`
	State          sample.State `json:"state"`
	Weight         int          `json:"weight"`
	VerdictVersion string       `json:"verdict_version"`
	Source         string       `json:"source"`
	LocalBreaker   string       `json:"local_breaker"`
	EWMA           float64      `json:"ewma_ms"`
	InFlight       int          `json:"in_flight"`
}

// View lists every endpoint, by service and instance.
func (t *Table) View(now time.Time) []View {
	out := []View{}
	for _, s := range *t.services.Load() {
		for _, e := range s.Endpoints {
			standing, load := e.Standing(now), e.Live.Load()
			out = append(out, View{
				Service: e.Service, Instance: e.Instance, Address: e.Address, Version: e.Version,
				State: standing.State, Weight: standing.Weight, VerdictVersion: standing.VerdictVersion, Source: standing.Source,
				LocalBreaker: load.Breaker(now), EWMA: float64(load.Latency) / 1e6, InFlight: load.InFlight,
			})
		}
	}
	slices.SortFunc(out, func(a, b View) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

// ServeHTTP answers the view as JSON, for the ops port's /endpoints.
func (t *Table) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(t.View(time.Now())) // the reader left; there is nobody to tell
}
