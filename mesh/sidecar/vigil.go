package sidecar

import (
	"context"
	"net"
	"strings"
	"time"

	"weft/internal/forward"
	"weft/internal/sample"
)

// vigil looks after an application that refused a connection. Callers leave it at once, so they see too little to tell a
// dead process from bad luck; the sidecar can see it without spending a request. Each look that finds nobody counts as
// a connect failure that the witness saw. It is no evidence of health that somebody listens: that only ends the vigil.
type vigil struct{ refused chan struct{} }

func newVigil() *vigil { return &vigil{refused: make(chan struct{}, 1)} }

// heard is told of a failed request to the application (forward.Deps.Failed).
func (v *vigil) heard(call *forward.Call) {
	if call.Outcome != sample.ConnectFailure {
		return
	}
	select {
	case v.refused <- struct{}{}:
	default: // a vigil is being kept
	}
}

const (
	soonLook  = 100 * time.Millisecond
	soonLooks = 5
	lateLook  = time.Second
)

// keepVigil runs until ctx ends.
func (s *Sidecar) keepVigil(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-s.vigil.refused:
		}
		for look := 0; ctx.Err() == nil; look++ {
			pause := soonLook
			if look >= soonLooks {
				pause = lateLook
			}
			if sleep(ctx, pause); ctx.Err() != nil || s.listens(ctx) {
				break
			}
			s.countRefusal()
		}
		select {
		case <-s.vigil.refused: // it came during the vigil
		default:
		}
	}
	return nil
}

// countRefusal adds to what the sidecar reports of its own endpoint.
func (s *Sidecar) countRefusal() {
	own, known := s.app.Lookup(s.config.Load().Service)
	if !known {
		return
	}
	for _, e := range own.Endpoints {
		e.Live.Counter.Observe(0, sample.ConnectFailure, 0, "")
	}
}

// listens asks whether the application accepts connections.
func (s *Sidecar) listens(ctx context.Context) bool {
	network, at := "tcp", s.config.Load().Inbound.App
	if path, ok := strings.CutPrefix(at, "unix://"); ok {
		network, at = "unix", path
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, at)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
