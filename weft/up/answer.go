package up

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"weft/weft/up/plan"
)

// firstAnswer waits until the whole chain carries a request, so that what the table promises is true. It asks only when
// every proxy knows the way: the shop's very first requests should not be failures.
func firstAnswer(ctx context.Context, layout *plan.Plan) error {
	if !layout.Options.Demo.Enabled {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for {
		err := strangers(ctx, layout.Parts)
		if err == nil {
			err = getOK(ctx, "http://"+layout.Address("gateway.http")+"/api/home")
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the demo shop does not answer through the gateway; the logs are in %s", filepath.Join(layout.Data, "logs")), err)
		case <-pause.C:
		}
	}
}

// strangers names a service that one of its callers' proxies has no endpoint of yet.
func strangers(ctx context.Context, parts []*plan.Part) error {
	for _, part := range parts {
		if len(part.Calls) == 0 {
			continue
		}
		known, err := endpointsOf(ctx, part.Addresses["ops"])
		if err != nil {
			return fmt.Errorf("%s: %w", part.Name, err)
		}
		for _, service := range part.Calls {
			if !known[service] {
				return fmt.Errorf("%s knows no endpoint of %s", part.Name, service)
			}
		}
	}
	return nil
}

// endpointsOf are the services that a proxy knows an endpoint of.
func endpointsOf(ctx context.Context, ops string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ops+"/endpoints", nil)
	if err != nil {
		return nil, err
	}
	var all []struct{ Service string }
	err = do(http.DefaultClient, request, &all)
	known := map[string]bool{}
	for _, one := range all {
		known[one.Service] = true
	}
	return known, err
}
