package alerts

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/internal/sample"
)

func nearlyFull(firing bool, description string) Condition {
	return Condition{
		Name: "DiskNearlyFull", Subject: "collector data /var/lib/weft", Service: "collector", Severity: SeverityWarning,
		Summary: "The disk of /var/lib/weft is nearly full", Description: description, Firing: firing,
	}
}

func TestAConditionIsOnePageAndResolves(t *testing.T) {
	r := newReceiver(t, nil)
	p := start(t, quick(r.URL), &memory{}, nil)
	ctx := context.Background()
	p.Condition(ctx, nearlyFull(false, "900 MiB free")) // nothing to end
	p.Condition(ctx, nearlyFull(true, "90 MiB free"))
	eventually(t, "a page", func() bool { return len(r.seen()) == 1 })
	page := r.seen()[0].Body
	if page.Version != "4" || page.Status != "firing" || len(page.Alerts) != 1 || page.GroupLabels["service"] != "collector" {
		t.Fatalf("page: %+v", page)
	}
	one := page.Alerts[0]
	for where, pair := range map[string][2]string{
		"alertname": {one.Labels["alertname"], "DiskNearlyFull"}, "subject": {one.Labels["subject"], "collector data /var/lib/weft"},
		"severity": {one.Labels["severity"], "warning"}, "service": {one.Labels["service"], "collector"},
		"summary": {one.Annotations["summary"], "The disk of /var/lib/weft is nearly full"}, "description": {one.Annotations["description"], "90 MiB free"},
		"console_url": {one.Annotations["console_url"], "http://console.example/alerts"},
		"runbook_url": {one.Annotations["runbook_url"], "http://console.example/runbooks/DiskNearlyFull"},
		"generator":   {one.GeneratorURL, "http://console.example/alerts"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", where, pair[0], pair[1])
		}
	}
	if _, ok := one.Labels["endpoint"]; ok || len(one.Labels) != 4 {
		t.Errorf("labels: %v", one.Labels)
	}
	worse := nearlyFull(true, "60 MiB free")
	worse.Severity, worse.Service = SeverityCritical, "other" // the incident keeps its labels, or it would page again
	p.Condition(ctx, worse)
	eventually(t, "the newest report shown", func() bool { return p.Active()[0].Annotations["description"] == "60 MiB free" })
	if a := p.Active(); len(a) != 1 || a[0].Severity != "warning" || a[0].Subject == "" || a[0].Endpoint != "" {
		t.Errorf("active: %+v", a)
	}
	p.Condition(ctx, nearlyFull(false, "700 MiB free again"))
	eventually(t, "resolved", func() bool { return len(r.seen()) == 2 })
	last := r.seen()[1].Body
	if last.Status != "resolved" || last.Alerts[0].Annotations["resolution"] != "700 MiB free again" || last.Alerts[0].Annotations["description"] != "60 MiB free" {
		t.Errorf("resolved: %+v", last)
	}
	p.Condition(ctx, nearlyFull(true, "50 MiB free"))
	eventually(t, "the next incident", func() bool { return len(r.seen()) == 3 && len(p.Active()) == 1 })
	if again := r.seen()[2].Body.Alerts[0]; !again.StartsAt.After(one.StartsAt) || again.Fingerprint != one.Fingerprint || again.Annotations["resolution"] != "" {
		t.Errorf("again: %+v", again)
	}
}

// A report that comes before Run, and while nobody takes reports up, is not lost; only the newest of each is kept.
func TestTheNewestReportIsKeptUntilRun(t *testing.T) {
	in := NewInbox()
	ctx := context.Background()
	for range 3 * maxOpen {
		in.Condition(ctx, nearlyFull(true, "older"))
	}
	in.Condition(ctx, nearlyFull(true, "newest"))
	in.Condition(ctx, Condition{Name: "NoSubject", Firing: true})
	a, err := New(quick(""), Deps{Log: discard(), Journal: &memory{}, Conditions: in})
	if err != nil {
		t.Fatal(err)
	}
	p := run(t, a)
	eventually(t, "taken up", func() bool { return len(p.Active()) == 1 })
	if a := p.Active()[0]; a.Annotations["description"] != "newest" || p.Outbox().NotOpened != 1 {
		t.Errorf("%+v, %d not opened", a, p.Outbox().NotOpened)
	}
}

func TestConditionsAreBoundedAndPrintable(t *testing.T) {
	in := NewInbox()
	for i := range maxOpen + 10 {
		in.Condition(context.Background(), Condition{Name: "Many", Subject: fmt.Sprint(i), Firing: true})
	}
	if n := len(in.take()); n != maxOpen || in.dropped.Load() != 10 {
		t.Errorf("%d kept, %d dropped", n, in.dropped.Load())
	}
	hostile := Condition{Name: "A\x1b[31m", Subject: "b\n", Description: strings.Repeat("é", 5000), Firing: true}
	key := subject{text(hostile.Name), text(hostile.Subject)}
	a := hostile.alert(key, nil, "http://c", time.Now())
	if err := a.Validate(); err != nil || strings.ContainsAny(a.Name()+string(a.Labels[labelSubject]), "\x1b\n") ||
		len([]rune(string(a.Annotations[annotationDescription]))) > maxText+1 {
		t.Errorf("%v: %+v", err, a)
	}
	if a.Labels[labelService] != "weft" || a.Labels[labelSeverity] != SeverityWarning || a.Annotations[annotationSummary] != "A [31m b" {
		t.Errorf("defaults: %+v", a)
	}
}

func TestAnOpenConditionSurvivesARestart(t *testing.T) {
	r := newReceiver(t, nil)
	journal := &memory{}
	cfg := quick(r.URL)
	ctx := context.Background()
	first := start(t, cfg, journal, nil)
	first.Condition(ctx, nearlyFull(true, "90 MiB free"))
	refuses := Condition{Name: "StoreRefuses", Subject: "collector store", Service: "collector", Severity: SeverityCritical, Firing: true}
	first.Condition(ctx, refuses)
	first.Verdict(ctx, verdict("payment-2", sample.Ejected, 1))
	eventually(t, "two pages", func() bool { return first.Outbox().Sent == 2 }) // collector, payment
	first.stop()

	cfg.Absent = time.Millisecond // so the first look, after reconcileInterval, ends what nobody reported
	second := start(t, cfg, journal, nil)
	if active := second.Active(); len(active) != 3 {
		t.Fatalf("after the restart: %+v", active)
	}
	second.Condition(ctx, nearlyFull(true, "80 MiB free")) // its watcher is back, the store's is not
	eventually(t, "the unreported one resolved", func() bool { return len(second.Active()) == 2 })
	for _, a := range second.Resolved() {
		if a.AlertName != "StoreRefuses" || !strings.HasPrefix(a.Annotations["resolution"], "Nobody has reported it for 1ms since a restart") {
			t.Errorf("resolved: %+v", a)
		}
	}
	eventually(t, "told", func() bool { return second.Outbox().Sent >= 3 })
	second.Condition(ctx, nearlyFull(false, ""))
	eventually(t, "resolved", func() bool { return len(second.Active()) == 1 })
	if a := second.Active()[0]; a.Endpoint != "payment-2" {
		t.Errorf("the verdict's alert was touched: %+v", a)
	}
	eventually(t, "told of the end", func() bool { o := second.Outbox(); return o.Queued == 0 && o.Sent >= 4 })
	last := r.seen()[len(r.seen())-1].Body
	if last.GroupLabels["service"] != "collector" || last.Status != "resolved" || last.CommonAnnotations["resolution"] == "" {
		t.Errorf("last page: %+v", last)
	}
}

func TestASilenceMutesACondition(t *testing.T) {
	p := start(t, quick(""), &memory{}, nil)
	serving(t, p.Alerts)
	mustSilence(t, p.Alerts, "alertname", "DiskNearlyFull")
	p.Condition(context.Background(), nearlyFull(true, "90 MiB free"))
	eventually(t, "silenced", func() bool { a := p.Active(); return len(a) == 1 && a[0].State == "silenced" })
}
