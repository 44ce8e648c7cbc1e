package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOneRequest follows single requests through an idle system: whole within a second, by any of their names.
func TestOneRequest(t *testing.T) {
	u := start(t, "", "--no-traffic")

	t.Run("whole, 20 times", func(t *testing.T) {
		var slowest time.Duration
		var late int
		for range 20 {
			status, id, err := u.send(http.MethodPost, "/api/checkout")
			if err != nil || status >= 300 || id == "" {
				t.Fatalf("checkout: status %d, id %q, error %v", status, id, err)
			}
			answered := time.Now()
			// Meant to take at most 1 s; the deadline is for machines that are busy with something else.
			within(t, 10*time.Second, "request "+id+" is whole", func() error { return whole(u, id) })
			took := time.Since(answered)
			slowest = max(slowest, took)
			if took > time.Second {
				late++
			}
		}
		t.Logf("slowest of 20: whole %v after the answer", slowest)
		if late > 5 {
			t.Errorf("%d of 20 took more than a second: that is no longer a busy machine", late)
		}
	})

	t.Run("found by the client's own ID", func(t *testing.T) {
		request, _ := http.NewRequest(http.MethodGet, u.gateway+"/api/items/1", nil)
		request.Header.Set("X-Request-Id", "basket-4711")
		request.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		id := response.Header.Get("X-Request-Id")
		if id == "basket-4711" || strings.HasPrefix(id, "4bf92f35") {
			t.Fatalf("an untrusted caller chose the request ID %q", id)
		}
		for _, name := range []string{"basket-4711", "4bf92f3577b34da6a3ce929d0e0e4736", id} {
			within(t, 10*time.Second, "found as "+name, func() error {
				var s story
				if err := u.get("/api/requests/"+name, &s); err != nil {
					return err
				}
				if s.RequestID != id {
					return fmt.Errorf("%s leads to request %q, want %q", name, s.RequestID, id)
				}
				return nil
			})
		}
	})

	t.Run("unknown is problem JSON", func(t *testing.T) {
		response, err := http.Get(u.api + "/api/requests/no-such-request")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNotFound || response.Header.Get("Content-Type") != "application/problem+json" {
			t.Fatalf("%s, %s", response.Status, response.Header.Get("Content-Type"))
		}
	})

	t.Run("a service's own port needs a mesh identity", func(t *testing.T) {
		inbound := u.address("sidecar/payment-1", "inbound")
		for _, scheme := range []string{"http://", "https://"} {
			response, err := http.Get(scheme + inbound + "/charges")
			if err == nil {
				response.Body.Close()
				if response.StatusCode < 400 {
					t.Errorf("%s%s answered %s to a stranger", scheme, inbound, response.Status)
				}
			}
		}
	})

	t.Run("idle memory", func(t *testing.T) { idleMemory(t, u) })
	t.Run("the console in a browser", func(t *testing.T) { consoleShows(t, u) })
}

// whole says what is missing of a checkout: spans of gateway, sidecars and services, logs of at least three services.
func whole(u *weftUp, id string) error {
	var s story
	if err := u.get("/api/requests/"+id, &s); err != nil {
		return err
	}
	if s.RequestID != id {
		return fmt.Errorf("request_id is %q", s.RequestID)
	}
	spanOf := services(s.Spans, func(s span) string { return s.Service })
	for _, service := range []string{"gateway", "storefront", "orders", "payment"} {
		if !slices.Contains(spanOf, service) {
			return fmt.Errorf("no span of %s, only of %v", service, spanOf)
		}
	}
	var app, outbound, inbound int
	for _, span := range s.Spans {
		switch {
		case span.Attributes["weft.proxy"] == nil:
			app++
		case span.Kind == "client":
			outbound++
		case span.Kind == "server":
			inbound++
		}
	}
	// client → gateway → storefront → orders → payment: three hops, each with an outbound and an inbound span.
	if outbound < 3 || inbound < 4 || app < 3 {
		return fmt.Errorf("%d outbound, %d inbound proxy spans and %d of services", outbound, inbound, app)
	}
	if !slices.ContainsFunc(s.Spans, func(s span) bool { return s.Attributes["db.system.name"] != nil }) {
		return errors.New("no span of the database")
	}
	if logs := services(s.Logs, func(r record) string { return r.Service }); len(logs) < 3 {
		return fmt.Errorf("logs of %v only", logs)
	}
	if s.Status != http.StatusOK && s.Status != http.StatusCreated {
		return fmt.Errorf("status %d", s.Status)
	}
	return orphans(s)
}

// orphans are spans whose parent is missing: the waterfall would fall apart there.
func orphans(s story) error {
	ids := map[string]bool{}
	for _, span := range s.Spans {
		ids[span.SpanID] = true
	}
	var roots int
	for _, span := range s.Spans {
		if !ids[span.ParentID] {
			roots++
		}
	}
	if roots != 1 {
		return fmt.Errorf("%d roots among %d spans", roots, len(s.Spans))
	}
	return nil
}

// TestTwoNodes joins one request from two agents, also when one of them is 30 s late.
func TestTwoNodes(t *testing.T) {
	u := start(t, "", "--no-traffic", "--nodes", "2")
	_, id, err := u.send(http.MethodPost, "/api/checkout")
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "joined from two agents", func() error { return whole(u, id) })

	u.signal("agent-2", stopSignal)
	sent := time.Now()
	_, late, err := u.send(http.MethodPost, "/api/checkout")
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the half of the first agent", func() error {
		var s story
		return u.get("/api/requests/"+late, &s)
	})
	if whole(u, late) == nil {
		t.Skip("the request happened to touch one node only")
	}
	time.Sleep(time.Until(sent.Add(30 * time.Second))) // the lateness that is promised
	u.signal("agent-2", continueSignal)
	within(t, 30*time.Second, "joined 30 s late", func() error { return whole(u, late) })
}

// TestCollectorKilled kills the collector under load: requests go on, and what was acknowledged is found.
func TestCollectorKilled(t *testing.T) {
	u := start(t, "", "--no-traffic")
	began := time.Now()
	l := u.load(40, http.MethodGet, "/api/items/1")
	within(t, 20*time.Second, "200 requests", func() error {
		if n := len(l.since(began)); n < 200 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	var before []result
	within(t, 15*time.Second, "the newest request is found", func() error {
		before = l.since(began)
		var s story
		return u.get("/api/requests/"+before[len(before)-20].id, &s)
	})
	u.signal("collector", killSignal)
	within(t, 40*time.Second, "the collector is back", func() error {
		if p := u.part("collector"); !p.Healthy {
			return errors.New("not healthy")
		}
		return nil
	})
	l.stop()
	if bad := failed(l.since(began)); len(bad) > 0 {
		t.Errorf("%d of %d requests failed while the collector was down, the first with %d %v", len(bad), len(l.since(began)), bad[0].status, bad[0].err)
	}
	// Everything: what was in before the kill from the log, what came meanwhile from the agents' queue.
	for _, r := range l.since(began) {
		within(t, 20*time.Second, "found after the restart: "+r.id, func() error {
			var s story
			return u.get("/api/requests/"+r.id, &s)
		})
	}
}
