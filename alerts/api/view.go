package api

import (
	"context"
	"time"

	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/provider"
	"github.com/prometheus/alertmanager/types"
	"github.com/prometheus/common/model"
)

// view is the alerts as the API shows them, and where it hands in those of others.
type view struct {
	provider.Alerts
	post func(context.Context, []*types.Alert) error
}

// Put hands alerts in.
func (v view) Put(ctx context.Context, alerts ...*types.Alert) error {
	err := v.post(ctx, alerts)
	if failed, ok := ctx.Value(failure{}).(*error); ok {
		*failed = err
	}
	return err
}

// failure is where Put leaves its error: the handler in between keeps only the text.
type failure struct{}

func withFailure(ctx context.Context, err *error) context.Context {
	return context.WithValue(ctx, failure{}, err)
}

// GetPending gives every alert an end.
func (v view) GetPending() provider.AlertIterator {
	all := v.Alerts.GetPending()
	out, done := make(chan *provider.Alert), make(chan struct{})
	go func() {
		defer close(out)
		defer all.Close()
		now := time.Now()
		for a := range all.Next() {
			select {
			case out <- &provider.Alert{Header: a.Header, Data: ended(a.Data, now)}:
			case <-done:
				return
			}
		}
	}()
	return provider.NewAlertIterator(out, done, all.Err())
}

// withEnds gives every alert of the groups an end.
func (g Groups) withEnds(ctx context.Context, route func(*dispatch.Route) bool, wanted func(*types.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
	groups, receivers, err := g(ctx, route, wanted)
	now := time.Now()
	for _, group := range groups { // made for this call
		for i, a := range group.Alerts {
			group.Alerts[i] = ended(a, now)
		}
	}
	return groups, receivers, err
}

// ended is a copy: alerts are shared with the pipeline.
func ended(a *types.Alert, now time.Time) *types.Alert {
	copied := *a
	copied.EndsAt = end(a.EndsAt, now)
	return &copied
}
