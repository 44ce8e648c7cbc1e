package storeextension

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"weft/collector/store/pins"
	"weft/internal/sample"
)

// judge is the extension that tells of verdicts. Its subscribers must not block.
type judge interface {
	Subscribe(func(sample.Verdict))
}

// evidence pins the requests that verdicts name. A verdict that comes while the last hundred are not pinned yet is left
// to its successor: the engine names its evidence again with every change.
type evidence struct {
	pins *pins.Pins
	log  *zap.Logger
	due  chan []string
}

func newEvidence(p *pins.Pins, log *zap.Logger) *evidence {
	return &evidence{pins: p, log: log, due: make(chan []string, 100)}
}

// listen finds who judges; without one there is no evidence.
func (e *evidence) listen(host component.Host) {
	for _, ext := range host.GetExtensions() {
		if j, ok := ext.(judge); ok {
			j.Subscribe(e.take)
		}
	}
}

func (e *evidence) take(v sample.Verdict) {
	if len(v.Evidence.RequestIDs) == 0 {
		return
	}
	select {
	case e.due <- v.Evidence.RequestIDs:
	default:
	}
}

// run pins until ctx ends.
func (e *evidence) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case ids := <-e.due:
			if err := e.pins.Pin(ctx, time.Now(), ids...); err != nil && ctx.Err() == nil {
				e.log.Warn("requests that a verdict names are not pinned", zap.Strings("request_ids", ids), zap.Error(err))
			}
		}
	}
}
