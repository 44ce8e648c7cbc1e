package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func alertOf(endpoint string, ends time.Time) *alert.Alert {
	return &alert.Alert{Alert: model.Alert{
		Labels:   model.LabelSet{"alertname": "EndpointUnhealthy", "service": "payment", "endpoint": model.LabelValue(endpoint)},
		StartsAt: time.Unix(1000, 0).UTC(), EndsAt: ends,
	}}
}

func item(id string, alerts ...*alert.Alert) *Item {
	return &Item{ID: id, GroupKey: "{}:{service=\"payment\"}", Alerts: alerts, Logged: Stored{Key: "g", Entry: []byte{1}, Expires: time.Now().Add(time.Hour)}}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "99999999999": 24 * time.Hour, "soon": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestSignature(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	body := []byte(`{"version":"4"}`)
	header := Sign("key", body, now)
	for _, tc := range []struct {
		name, secret, header string
		body                 []byte
		at                   time.Time
		good                 bool
	}{
		{"as sent", "key", header, body, now.Add(time.Minute), true},
		{"another key", "kex", header, body, now, false},
		{"another body", "key", header, []byte("{}"), now, false},
		{"too old", "key", header, body, now.Add(10 * time.Minute), false},
		{"from the future", "key", header, body, now.Add(-10 * time.Minute), false},
		{"another time", "key", "t=1800000001" + header[len("t=1800000000"):], body, now, false},
		{"no time", "key", "v1=00", body, now, false},
		{"nothing", "key", "", body, now, false},
	} {
		if err := Verify(tc.secret, tc.header, tc.body, tc.at); (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestTemporary(t *testing.T) {
	for status, want := range map[int]bool{0: true, 301: false, 400: false, 401: false, 404: false, 408: true, 410: false, 429: true, 500: true, 503: true} {
		if got := (&Rejection{Status: status}).Temporary(); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
}

func TestWebhookConfigNamesTheKeyAndHidesTheURL(t *testing.T) {
	err := WebhookConfig{URL: "ftp://token@x", Timeout: 0}.Validate("webhook")
	want := "webhook.url: want http://HOST… or https://HOST…\nwebhook.timeout: must be above 0, not 0s"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestLedgerOnDiskSurvivesRestartsAndStaysSmall(t *testing.T) {
	dir := t.TempDir()
	open := func() *Ledger {
		journal, replayed, err := OpenJournal(dir, quiet)
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLedger(journal, replayed, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := open()
	must(l.Keep(alertOf("payment-1", time.Time{})))
	must(l.enqueue(item("first", alertOf("payment-1", time.Time{}))))
	must(l.enqueue(item("first", alertOf("payment-1", time.Time{}))))
	must(l.enqueue(item("second")))
	must(l.refused(DeadLetter{ID: "second", Reason: "no"}))
	must(l.Close())
	for range 3 { // each round passes the point where the log is rewritten
		l = open()
		for i := range snapshotAfter {
			must(l.Keep(alertOf("payment-2", time.Unix(int64(2000+i), 0))))
		}
		must(l.Close())
	}
	l = open()
	defer l.Close()
	if s := l.Stats(); s.Queued != 1 || s.Refused != 1 || len(s.DeadLetters) != 1 || l.heads()[0].ID != "first" {
		t.Errorf("%+v", s)
	}
	kept := l.Alerts()
	if len(kept) != 2 || !kept[0].Told || kept[1].Told {
		t.Errorf("%+v", kept)
	}
	if files := l.journal.(*journal).log.Files(); len(files) > 4 {
		t.Errorf("%d files are kept", len(files))
	}
}

func TestQueueAndHistoryAreBounded(t *testing.T) {
	s := newState()
	for i := range maxResolved + 50 {
		s.apply(record{Alert: alertOf(fmt.Sprintf("payment-%d", i), time.Unix(int64(5000+i), 0))})
	}
	if len(s.Alerts) != maxResolved {
		t.Errorf("%d resolved alerts are kept", len(s.Alerts))
	}
	for i := range maxDeadLetters + 50 {
		id := fmt.Sprint(i)
		s.apply(record{Due: item(id)})
		s.apply(record{Dead: &DeadLetter{ID: id}})
	}
	if len(s.Dead) != maxDeadLetters || s.Refused != maxDeadLetters+50 || len(s.Queue) != 0 {
		t.Errorf("%d dead letters, %d counted, %d queued", len(s.Dead), s.Refused, len(s.Queue))
	}
	journal, replayed, err := OpenJournal(t.TempDir(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLedger(journal, replayed, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.behind = false
	for i := range maxQueue {
		l.state.Queue = append(l.state.Queue, item(fmt.Sprint(i)))
	}
	if err := l.enqueue(item("one too many")); err != ErrFull {
		t.Errorf("%v, want ErrFull", err)
	}
}

// FuzzRecord: whatever a ledger holds, replaying it neither panics nor leaves a state that cannot be written again.
func FuzzRecord(f *testing.F) {
	s := newState()
	s.apply(record{Alert: alertOf("payment-1", time.Time{})})
	s.apply(record{Due: item("a", alertOf("payment-1", time.Time{}))})
	for _, r := range []record{
		{Alert: alertOf("payment-1", time.Unix(9, 0))}, {Due: item("a", nil)}, {Sent: "a"}, {Dead: &DeadLetter{ID: "a"}},
		{Silence: &Stored{Key: "x"}}, {Snapshot: s}, {Snapshot: &state{Queue: []*Item{nil}, Alerts: map[string]*Kept{"x": nil}}},
	} {
		raw, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"alert":{}}`))
	f.Add([]byte(`{"due":{"alerts":[null,{}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decodeRecord(raw)
		if err != nil {
			return
		}
		s := newState()
		s.apply(record{Alert: alertOf("payment-1", time.Time{})})
		s = s.apply(r)
		s = s.apply(r)
		s.expire(time.Now())
		if _, err := json.Marshal(record{Snapshot: s}); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add("t=1,v1=00", []byte("{}"))
	f.Add(Sign("key", []byte("{}"), time.Unix(1, 0)), []byte("{}"))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		_ = Verify("key", header, body, time.Unix(1, 0))
		if err := Verify("key", Sign("key", body, time.Unix(1, 0)), body, time.Unix(2, 0)); err != nil {
			t.Fatal(err)
		}
	})
}
