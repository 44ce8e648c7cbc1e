package alerts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/alerts/notify"
	"weft/internal/sample"
	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

// ask calls Alertmanager's API as a client does, under the prefix that the collector has.
func ask(t *testing.T, a *Alerts, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/alertmanager"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	a.API("/alertmanager").ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// serving waits until the API of a process answers.
func serving(t *testing.T, a *Alerts) {
	t.Helper()
	eventually(t, "serving", func() bool { status, _ := ask(t, a, "GET", "/-/ready", ""); return status == http.StatusOK })
}

// silenceOf is the body of a silence on one label; extra is further fields.
func silenceOf(name, value, extra string) string {
	now := time.Now()
	return fmt.Sprintf(`{"matchers":[{"name":%q,"value":%q,"isRegex":false,"isEqual":true}],"startsAt":%q,"endsAt":%q,"createdBy":"ann","comment":"load test"%s}`,
		name, value, now.Format(time.RFC3339Nano), now.Add(time.Hour).Format(time.RFC3339Nano), extra)
}

func mustSilence(t *testing.T, a *Alerts, name, value string) (id string) {
	t.Helper()
	status, body := ask(t, a, "POST", "/api/v2/silences", silenceOf(name, value, ""))
	var made struct{ SilenceID string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusOK || made.SilenceID == "" {
		t.Fatalf("set a silence: %d %s", status, body)
	}
	return made.SilenceID
}

// states is every silence's state by its ID.
func states(t *testing.T, a *Alerts) map[string]string {
	t.Helper()
	status, body := ask(t, a, "GET", "/api/v2/silences", "")
	var all []struct {
		ID     string
		Status struct{ State string }
	}
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != http.StatusOK {
		t.Fatalf("silences: %d %s", status, body)
	}
	out := map[string]string{}
	for _, s := range all {
		out[s.ID] = s.Status.State
	}
	return out
}

func TestSilenceMutesAndSurvivesRestart(t *testing.T) {
	r := newReceiver(t, nil)
	journal := &memory{}
	first := start(t, quick(r.URL), journal, nil)
	serving(t, first.Alerts)
	id := mustSilence(t, first.Alerts, "service", "payment")
	first.stop()
	second := start(t, quick(r.URL), journal, nil)
	serving(t, second.Alerts)
	if got := states(t, second.Alerts); got[id] != "active" {
		t.Fatalf("silences after the restart: %v", got)
	}
	second.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	eventually(t, "silenced", func() bool { a := second.Active(); return len(a) == 1 && a[0].State == "silenced" })
	status, body := ask(t, second.Alerts, "GET", "/api/v2/alerts", "")
	if status != http.StatusOK || !strings.Contains(body, `"state":"suppressed"`) || !strings.Contains(body, `"silencedBy":["`+id+`"]`) {
		t.Errorf("alerts: %d %s", status, body)
	}
	if status, body := ask(t, second.Alerts, "DELETE", "/api/v2/silence/"+id, ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, "sent once the silence is over", func() bool { return second.Outbox().Sent == 1 })
	second.stop()
	third := start(t, quick(r.URL), journal, nil)
	serving(t, third.Alerts)
	if got := states(t, third.Alerts); got[id] != "expired" {
		t.Errorf("after another restart: %v", got)
	}
}

// An alert is shown as silenced at once, not only once the pipeline has come by.
func TestASilenceShowsAtOnce(t *testing.T) {
	cfg := quick("")
	cfg.GroupWait, cfg.GroupInterval = time.Hour, time.Hour
	cfg.RepeatInterval = 2 * time.Hour
	p := start(t, cfg, &memory{}, nil)
	serving(t, p.Alerts)
	p.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	eventually(t, "firing", func() bool { a := p.Active(); return len(a) == 1 && a[0].State == "firing" })
	id := mustSilence(t, p.Alerts, "endpoint", "payment-2")
	if a := p.Active(); a[0].State != "silenced" {
		t.Errorf("after the answer: %+v", a[0])
	}
	ask(t, p.Alerts, "DELETE", "/api/v2/silence/"+id, "")
	if a := p.Active(); a[0].State != "firing" {
		t.Errorf("after its end: %+v", a[0])
	}
}

// onFaultyDisk is a process whose ledger is a real log on a file system that fails when told to.
func onFaultyDisk(t *testing.T, dir string, fs wal.FS) *Alerts {
	t.Helper()
	journal, replayed, err := notify.OpenJournalOn(fs, dir, discard())
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(quick(""), Deps{Log: discard(), Journal: journal, Replayed: replayed})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A change whose sync fails is refused with 503, and is not there: not now, and not after a power cut.
func TestAFailedSyncChangesNothing(t *testing.T) {
	for _, change := range []struct {
		what string
		try  func(t *testing.T, a *Alerts, kept string) (int, string)
	}{
		{"new", func(t *testing.T, a *Alerts, _ string) (int, string) {
			return ask(t, a, "POST", "/api/v2/silences", silenceOf("service", "cart", ""))
		}},
		{"longer", func(t *testing.T, a *Alerts, kept string) (int, string) {
			return ask(t, a, "POST", "/api/v2/silences", silenceOf("service", "payment", `,"id":"`+kept+`"`))
		}},
		{"another", func(t *testing.T, a *Alerts, kept string) (int, string) {
			return ask(t, a, "POST", "/api/v2/silences", silenceOf("service", "cart", `,"id":"`+kept+`"`))
		}},
		{"over", func(t *testing.T, a *Alerts, kept string) (int, string) {
			return ask(t, a, "DELETE", "/api/v2/silence/"+kept, "")
		}},
	} {
		for at := 1; at <= 2; at++ { // the write, the sync
			t.Run(fmt.Sprint(change.what, at), func(t *testing.T) {
				fs, dir := faultfs.New(), t.TempDir()
				p := run(t, onFaultyDisk(t, dir, fs))
				serving(t, p.Alerts)
				kept := mustSilence(t, p.Alerts, "service", "payment")
				_, before := ask(t, p.Alerts, "GET", "/api/v2/silence/"+kept, "")
				fs.FailAt(at, syscall.EIO)
				status, body := change.try(t, p.Alerts, kept)
				if status != http.StatusServiceUnavailable || !strings.Contains(body, "nothing was changed") {
					t.Fatalf("%d %s", status, body)
				}
				check := func(a *Alerts) {
					t.Helper()
					count := map[string]int{}
					for _, state := range states(t, a) {
						count[state]++
					}
					if count["active"] != 1 {
						t.Errorf("silences: %v", count)
					}
					_, after := ask(t, a, "GET", "/api/v2/silence/"+kept, "")
					if same(t, before) != same(t, after) {
						t.Errorf("was %s\nis %s", before, after)
					}
				}
				check(p.Alerts)
				if err := fs.PowerCut(); err != nil {
					t.Fatal(err)
				}
				p.stop()
				again := run(t, onFaultyDisk(t, dir, faultfs.New()))
				serving(t, again.Alerts)
				check(again.Alerts)
				// The disk is well again: the same change works.
				if status, body := change.try(t, again.Alerts, kept); status != http.StatusOK {
					t.Errorf("then: %d %s", status, body)
				}
			})
		}
	}
}

// same is a silence without the moment it was last written.
func same(t *testing.T, body string) string {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	delete(s, "updatedAt")
	raw, _ := json.Marshal(s)
	return string(raw)
}

// While the disk takes nothing, nothing is answered as done; pages go on.
func TestAFullDiskRefusesSilencesAndPages(t *testing.T) {
	r := newReceiver(t, nil)
	journal := &memory{}
	p := start(t, quick(r.URL), journal, nil)
	serving(t, p.Alerts)
	id := mustSilence(t, p.Alerts, "service", "cart")
	journal.setRefuse(errors.New("no space left on device"))
	for range 3 {
		if status, body := ask(t, p.Alerts, "DELETE", "/api/v2/silence/"+id, ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "no space left") {
			t.Errorf("%d %s", status, body)
		}
		if status, body := ask(t, p.Alerts, "POST", "/api/v2/silences", silenceOf("service", "payment", "")); status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", status, body)
		}
	}
	p.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	eventually(t, "paged", func() bool { return len(r.seen()) == 1 })
	journal.setRefuse(nil)
	if status, body := ask(t, p.Alerts, "DELETE", "/api/v2/silence/"+id, ""); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	p.stop()
	again := start(t, quick(""), journal, nil)
	serving(t, again.Alerts)
	for id, state := range states(t, again.Alerts) {
		if state != "expired" {
			t.Errorf("%s is %s", id, state)
		}
	}
}
