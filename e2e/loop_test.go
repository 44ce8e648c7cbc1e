package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
	killSignal     = syscall.SIGKILL
)

// busy is how many requests a second payment gets while it breaks: a few more than the 300 that are to be answered.
const busy = 310

const breakersOff = "gateway: {breaker: {enabled: false}}\nsidecar: {breaker: {enabled: false}}\n"

// TestLoop breaks payment-2 in turn, in one running system, and watches traffic move, the page and the way back.
func TestLoop(t *testing.T) {
	u := start(t, "", "--no-traffic")
	charge := u.tills()
	u.warmUp(charge)

	t.Run("30 % errors", func(t *testing.T) {
		u.in(t).leaves("payment-2", charge, func() { u.weft("demo", "break", "payment-2", "--errors", "30%") })
		u.in(t).evidence("payment-2", 2)
		u.in(t).comesBack("payment-2", charge, func() { u.weft("demo", "heal") })
	})
	t.Run("SIGSTOP", func(t *testing.T) {
		u.in(t).leaves("payment-2", charge, func() { u.signal("demo/payment-2", stopSignal) })
		u.in(t).comesBack("payment-2", charge, func() { u.signal("demo/payment-2", continueSignal) })
	})
}

// TestLoopWithoutBreakers proves that the verdict moves traffic, not the proxies' own breakers; and that without
// breakers and without a collector nothing does.
func TestLoopWithoutBreakers(t *testing.T) {
	u := start(t, breakersOff, "--no-traffic")
	charge := u.tills()
	u.warmUp(charge)
	t.Run("the verdict alone", func(t *testing.T) {
		u.in(t).leaves("payment-2", charge, func() { u.weft("demo", "break", "payment-2", "--errors", "30%") })
		u.in(t).comesBack("payment-2", charge, func() { u.weft("demo", "heal") })
	})
	t.Run("neither breakers nor collector", func(t *testing.T) {
		u.weft("stop", "collector")
		u.weft("demo", "break", "payment-2", "--errors", "30%")
		l := u.loadBy(busy, charge)
		time.Sleep(time.Minute) // the time in which traffic must not move
		l.stop()
		for proxy, view := range u.views("payment-2") {
			if view.State == "ejected" {
				t.Errorf("%s ejected payment-2 although nobody could have told it to", proxy)
			}
		}
		results := l.since(time.Now().Add(-30 * time.Second))
		share := float64(len(failed(results))) / float64(max(1, len(results)))
		if share < 0.03 {
			t.Errorf("%.1f %% of requests fail; payment-2 should still get its third of them, of which 30 %% fail", 100*share)
		}
		t.Logf("without breakers and collector %.1f %% of %d requests fail", 100*share, len(results))
		u.weft("start", "collector")
	})
}

// TestKill kills a service, then a sidecar: idempotent requests do not fail, every proxy knows within 3 s, there is one
// page, and the endpoint comes back by one probe and slow start.
func TestKill(t *testing.T) {
	u := start(t, "", "--no-traffic")
	u.warmUp(browse(u))
	for _, victim := range []string{"storefront-2", "sidecar/storefront-2"} {
		t.Run(victim, func(t *testing.T) {
			began := time.Now()
			l := u.load(100, http.MethodGet, "/api/items/1")
			within(t, 10*time.Second, "load", func() error {
				if len(l.since(began)) < 200 {
					return fmt.Errorf("%d requests", len(l.since(began)))
				}
				return nil
			})
			killed := time.Now()
			u.weft("demo", "break", victim, "--kill")
			// Meant to take at most 3 s; the deadline is for machines that are busy with something else.
			within(t, 20*time.Second, "every proxy knows", func() error { return u.avoided("storefront-2") })
			t.Logf("every proxy knew after %v", time.Since(killed).Round(time.Millisecond))
			within(t, 30*time.Second, "a page that names it", func() error { return u.paged("storefront-2", killed) })
			t.Logf("paged %v after the kill", u.pageAt("storefront-2", killed).Sub(killed).Round(time.Millisecond))
			l.stop()
			if pages := u.pagesSince("storefront-2", killed); pages != 1 {
				t.Errorf("%d pages about one kill, want one", pages)
			}
			if bad := failed(l.since(began)); len(bad) > 0 {
				t.Errorf("%d of %d idempotent requests failed, the first with %d %v", len(bad), len(l.since(began)), bad[0].status, bad[0].err)
			}
			u.in(t).comesBack("storefront-2", browse(u), func() { u.weft("demo", "heal") })
		})
	}
}

// TestDatabaseStopped: the page names the database, and not the services that call it.
func TestDatabaseStopped(t *testing.T) {
	u := start(t, "", "--no-traffic")
	if !slices.ContainsFunc(u.parts(), func(p part) bool { return p.Name == "demo/mysql-1" }) {
		t.Skip("mariadb-server is not installed: the demo uses SQLite in its own process")
	}
	u.warmUp(func() (int, string, error) { return u.send(http.MethodPost, "/api/checkout") })
	l := u.load(30, http.MethodPost, "/api/checkout")
	began := time.Now()
	u.weft("stop", "demo/mysql-1")
	within(t, 30*time.Second, "a page that names the database", func() error { return u.paged("mysql-1", began) })
	time.Sleep(10 * time.Second) // the time in which its callers must not page
	l.stop()
	for _, page := range u.pager.about("", "") {
		for _, alert := range page.Alerts {
			if alert.Labels["service"] != "mysql" {
				t.Errorf("the page also names %s %s", alert.Labels["service"], alert.Labels["endpoint"])
			}
		}
	}
	u.weft("start", "demo/mysql-1")
}

// warmUp lets every proxy and the health engine see the shop healthy.
func (u *weftUp) warmUp(send func() (int, string, error)) {
	u.t.Helper()
	l := u.loadBy(40, send)
	began := time.Now()
	within(u.t, 60*time.Second, "15 s of healthy load", func() error {
		if time.Since(began) < 15*time.Second {
			return fmt.Errorf("%v", time.Since(began))
		}
		return nil
	})
	l.stop()
	within(u.t, 30*time.Second, "nothing is judged bad", func() error { return u.allHealthy() })
}

func (u *weftUp) allHealthy() error {
	var verdicts []verdict
	if err := u.verdicts(&verdicts); err != nil {
		return err
	}
	for _, v := range verdicts {
		if v.State != "healthy" {
			return fmt.Errorf("%s is %s: %s", v.Endpoint, v.State, v.Reason)
		}
	}
	return nil
}

type verdict struct {
	Service  string `json:"service"`
	Endpoint string `json:"instance"`
	State    string `json:"state"`
	Weight   int    `json:"weight"`
	Reason   string `json:"reason"`
	Evidence struct {
		Reporters  []string `json:"reporters"`
		RequestIDs []string `json:"request_ids"`
	} `json:"evidence"`
}

func (u *weftUp) verdicts(into *[]verdict) error {
	var answer struct {
		Verdicts []verdict `json:"verdicts"`
	}
	err := u.get("/api/verdicts", &answer)
	*into = answer.Verdicts
	return err
}

// in is the same system, with failures counted for a subtest.
func (u *weftUp) in(t testing.TB) *weftUp {
	same := *u
	same.t = t
	return &same
}

// leaves breaks an endpoint of payment at 300 requests/s for a minute: every proxy that calls it leaves it.
func (u *weftUp) leaves(instance string, charge func() (int, string, error), breakIt func()) {
	u.t.Helper()
	l := u.loadBy(busy, charge)
	defer l.stop()
	broken := time.Now()
	breakIt()
	within(u.t, 30*time.Second, "traffic leaves "+instance+" in every proxy", func() error { return u.avoided(instance) })
	left := time.Now()
	u.t.Logf("every proxy left %s after %v", instance, left.Sub(broken).Round(10*time.Millisecond))
	within(u.t, 20*time.Second, "a page that names "+instance, func() error { return u.paged(instance, broken) })
	u.t.Logf("paged after %v", u.pageAt(instance, broken).Sub(broken).Round(10*time.Millisecond))
	time.Sleep(5 * time.Second) // what is still on its way has ended
	settled := time.Now()
	time.Sleep(time.Until(broken.Add(time.Minute)))
	results := l.since(settled)
	if bad := failed(results); len(bad)*50 > len(results) {
		u.t.Errorf("%d of %d requests still fail", len(bad), len(results))
	}
	rate := float64(len(l.since(broken))) / time.Since(broken).Seconds()
	u.t.Logf("%.0f requests/s answered", rate)
}

// browse sends the idempotent request of the shop.
func browse(u *weftUp) func() (int, string, error) {
	return func() (int, string, error) { return u.send(http.MethodGet, "/api/items/1") }
}

// avoided says which proxy that knows the endpoint still sends it its share.
func (u *weftUp) avoided(instance string) error {
	for proxy, view := range u.views(instance) {
		if view.State != "ejected" && view.State != "probing" {
			return fmt.Errorf("%s sees it as %s, weight %d from %s", proxy, view.State, view.Weight, view.Source)
		}
	}
	return nil
}

// paged wants one page since a moment that names the endpoint and a request ID that resolves.
func (u *weftUp) paged(instance string, since time.Time) error {
	for _, page := range u.pager.about(instance, "firing") {
		if page.at.Before(since) {
			continue
		}
		for _, alert := range page.Alerts {
			if !names(alert.Labels, instance) {
				continue
			}
			ids := strings.FieldsFunc(alert.Annotations["request_ids"], func(r rune) bool { return r == ',' || r == ' ' })
			if len(ids) == 0 {
				return fmt.Errorf("the page has no request ID: %v", alert.Annotations)
			}
			var s story
			return u.get("/api/requests/"+ids[0], &s)
		}
	}
	return fmt.Errorf("no page about %s", instance)
}

func (u *weftUp) pageAt(instance string, since time.Time) time.Time {
	for _, page := range u.pager.about(instance, "firing") {
		if page.at.After(since) {
			return page.at
		}
	}
	return time.Time{}
}

func (u *weftUp) pagesSince(instance string, since time.Time) (n int) {
	for _, page := range u.pager.about(instance, "firing") {
		if page.at.After(since) {
			n++
		}
	}
	return n
}

// evidence wants the verdict on an endpoint to rest on so many reporters.
func (u *weftUp) evidence(instance string, reporters int) {
	u.t.Helper()
	within(u.t, 15*time.Second, "evidence", func() error {
		var verdicts []verdict
		if err := u.verdicts(&verdicts); err != nil {
			return err
		}
		for _, v := range verdicts {
			if v.Endpoint == instance && len(v.Evidence.Reporters) >= reporters {
				return nil
			}
		}
		return fmt.Errorf("%+v", verdicts)
	})
	if why := u.weft("why", instance); !strings.Contains(why, instance) {
		u.t.Errorf("weft why %s says %q", instance, why)
	}
}

// comesBack heals an endpoint and waits for full weight everywhere, by way of probing, and for the resolved page.
func (u *weftUp) comesBack(instance string, send func() (int, string, error), heal func()) {
	u.t.Helper()
	l := u.loadBy(80, send)
	defer l.stop()
	healed := time.Now()
	heal()
	var weights []int
	// Each failed probe doubles the back-off, so a long fault takes a while to be forgiven.
	within(u.t, 3*time.Minute, instance+" is back", func() error {
		views := u.views(instance)
		if len(views) == 0 {
			return fmt.Errorf("nobody sees it")
		}
		for proxy, view := range views {
			if n := len(weights); n == 0 || weights[n-1] != view.Weight {
				weights = append(weights, view.Weight)
			}
			if view.State != "healthy" || view.Weight != 100 {
				return fmt.Errorf("%s sees it as %s, weight %d", proxy, view.State, view.Weight)
			}
		}
		return nil
	})
	u.t.Logf("back after %v; weights seen on the way: %v", time.Since(healed).Round(100*time.Millisecond), weights)
	if !slices.ContainsFunc(weights, func(w int) bool { return w > 0 && w < 100 }) {
		u.t.Errorf("%s came back at once, not by slow start: %v", instance, weights)
	}
	within(u.t, 30*time.Second, "the alert resolves", func() error {
		if len(u.pager.about(instance, "resolved")) == 0 {
			return fmt.Errorf("no resolved page about %s", instance)
		}
		return nil
	})
}
