// Package endpoints knows who can serve: an immutable table of services and their endpoints, swapped whole when control
// or the configuration says something new, and what this proxy itself has seen of each endpoint, which outlives swaps.
package endpoints

import (
	"hash/maphash"
	"time"

	"weft/internal/sample"
)

// Where an endpoint's weight came from.
const (
	SourceVerdict = "verdict" // the collector judged it
	SourceDefault = "default" // nobody did
	SourcePanic   = "panic"   // too much of the service was judged bad; the judgement is not applied
	SourceExpired = "expired" // a verdict that was not renewed in time
)

// Protocols of an endpoint.
const (
	HTTP = "http"
	TCP  = "tcp"
)

const fullWeight = 100

// recovery is how long an endpoint takes from its last judged weight back to the full one once a verdict expired. Each
// endpoint adds up to as much again, so that a fleet that lost its collector does not return all at once.
const recovery = 10 * time.Second

// Endpoint is one address of a service, as it was told. It never changes; Live does.
type Endpoint struct {
	Service  string
	Instance string
	Address  string // HOST:PORT, or unix:///PATH
	Version  string
	Zone     string
	Protocol string // HTTP or TCP
	TLS      bool   // a mesh endpoint: mTLS, and its X-Weft headers are believed

	State          sample.State
	Weight         int // 0 to 100, before expiry
	VerdictVersion string
	Source         string
	Expires        time.Time // zero: never

	Live *Live
}

// Key names the endpoint by its identity.
func (e *Endpoint) Key() sample.Key { return sample.Key{Service: e.Service, Instance: e.Instance} }

// Standing is what the mesh thinks of an endpoint at one moment.
type Standing struct {
	State          sample.State
	Weight         int // 0 to 100
	VerdictVersion string
	Source         string
}

// Standing is the verdict while it lives. Afterwards the endpoint is neutral: healthy, and its weight rises to 100.
func (e *Endpoint) Standing(now time.Time) Standing {
	if e.Expires.IsZero() || now.Before(e.Expires) {
		return Standing{e.State, e.Weight, e.VerdictVersion, e.Source}
	}
	span := recovery + time.Duration(maphash.String(seed, e.Instance)%uint64(recovery))
	risen := e.Weight + int(float64(fullWeight-e.Weight)*min(1, float64(now.Sub(e.Expires))/float64(span)))
	return Standing{sample.Healthy, max(1, risen), e.VerdictVersion, SourceExpired}
}

// seed differs between processes: proxies bring the same endpoint back at different speeds.
var seed = maphash.MakeSeed()

// Service is a named set of endpoints; it never changes.
type Service struct {
	Name      string
	Endpoints []*Endpoint
}
