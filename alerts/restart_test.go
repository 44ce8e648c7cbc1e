package alerts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/alerts/notify"
	"weft/internal/sample"
)

func TestResolvedIsSentAfterRestart(t *testing.T) {
	r := newReceiver(t, nil)
	journal := &memory{}
	cfg := quick(r.URL)
	first := start(t, cfg, journal, nil)
	first.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 7))
	eventually(t, "sent", func() bool { return first.Outbox().Sent == 1 })
	first.stop()

	second := start(t, cfg, journal, nil)
	if active := second.Active(); len(active) != 1 || active[0].Endpoint != "payment-2" {
		t.Fatalf("after the restart: %+v", active)
	}
	second.Verdict(context.Background(), verdict("payment-2", sample.Healthy, 1)) // a new engine counts from the start
	eventually(t, "resolved", func() bool { return len(r.seen()) >= 2 })
	if calls := r.seen(); len(calls) != 2 || calls[1].Body.Status != "resolved" || calls[1].Body.Alerts[0].StartsAt.IsZero() {
		t.Fatalf("calls: %+v", calls)
	}
	eventually(t, "sent", func() bool { return second.Outbox().Sent == 2 })
	second.stop()

	third := start(t, cfg, journal, nil)
	third.Verdict(context.Background(), verdict("payment-3", sample.Ejected, 1))
	eventually(t, "the next incident", func() bool { return third.Outbox().Sent == 3 })
	if last := r.seen()[2].Body; len(r.seen()) != 3 || len(last.Alerts) != 1 || last.Status != "firing" {
		t.Fatalf("an alert that was over spoke again: %+v", r.seen())
	}
}

func TestRecoveryDuringDowntimeIsFoundByReconciling(t *testing.T) {
	r := newReceiver(t, nil)
	journal := &memory{}
	cfg := quick(r.URL)
	first := start(t, cfg, journal, nil)
	first.Verdict(context.Background(), verdict("payment-1", sample.Ejected, 1))
	first.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 2))
	eventually(t, "sent", func() bool { return first.Outbox().Sent == 1 })
	first.stop()

	cfg.Settle, cfg.Absent = time.Millisecond, 4*time.Second
	second := start(t, cfg, journal, func() []sample.Verdict { // payment-1 has left the mesh
		return []sample.Verdict{verdict("payment-2", sample.Healthy, 1)}
	})
	eventually(t, "resolved", func() bool { return len(second.Active()) == 0 })
	eventually(t, "sent", func() bool { o := second.Outbox(); return o.Queued == 0 && o.Sent >= 2 })
	for _, a := range second.Resolved() {
		if a.Endpoint == "payment-1" && !strings.HasPrefix(a.Annotations["routing"], "No verdict on it for 4s") {
			t.Errorf("payment-1: %q", a.Annotations["routing"])
		}
	}
}

// Every prefix of the ledger is a crash. Whatever is restarted from one, the receiver that goes by the idempotency key
// has in the end heard of each incident once, and of its end once.
func TestEveryCrashPointTellsOnce(t *testing.T) {
	before := newReceiver(t, nil)
	journal := &memory{}
	p := start(t, quick(before.URL), journal, nil)
	ctx := context.Background()
	p.Verdict(ctx, verdict("payment-2", sample.Ejected, 1))
	eventually(t, "sent", func() bool { return p.Outbox().Sent == 1 })
	p.Verdict(ctx, verdict("payment-2", sample.Healthy, 2))
	eventually(t, "sent", func() bool { return p.Outbox().Sent == 2 })
	p.stop()
	records := journal.all()
	if len(records) != 6 { // alert, due, sent, alert, due, sent
		t.Fatalf("%d records: %s", len(records), records)
	}
	for cut := range len(records) + 1 {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			t.Parallel()
			after := newReceiver(t, nil)
			again := start(t, quick(after.URL), &memory{records: records[:cut:cut]}, nil)
			if cut <= 3 { // it had not recovered when the process died
				again.Verdict(ctx, verdict("payment-2", sample.Ejected, 1))
				eventually(t, "told of the incident", func() bool { return again.Outbox().Sent >= 1 })
			}
			again.Verdict(ctx, verdict("payment-2", sample.Healthy, 2))
			eventually(t, "told of its end", func() bool { o := again.Outbox(); return len(again.Active()) == 0 && o.Queued == 0 && o.Sent >= 2 })
			// What the crashed process had sent is what its ledger held as due.
			keys := map[string]string{}
			for _, c := range slices.Concat(before.seen()[:min(2, (cut+1)/3)], after.seen()) {
				if status, ok := keys[c.Key]; ok && status != c.Body.Status {
					t.Errorf("key %s says %s and %s", c.Key, status, c.Body.Status)
				}
				keys[c.Key] = c.Body.Status
			}
			count := map[string]int{}
			for _, status := range keys {
				count[status]++
			}
			if count["firing"] != 1 || count["resolved"] != 1 {
				t.Errorf("after %d records: %v, want one of each", cut, count)
			}
		})
	}
}

func TestRetryAfterAndServerErrorsKeepTheKey(t *testing.T) {
	r := newReceiver(t, func(n int, w http.ResponseWriter) {
		switch n {
		case 1:
			http.Error(w, "down", http.StatusBadGateway)
		case 2:
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	cfg := quick(r.URL)
	cfg.Webhook.Secret = "s3cret"
	p := start(t, cfg, &memory{}, nil)
	p.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	eventually(t, "429 noted", func() bool { return len(p.Outbox().Retrying) == 1 && p.Outbox().Retrying[0].Attempts == 2 })
	if o := p.Outbox(); o.Queued != 1 || time.Until(o.Retrying[0].NextTry) < time.Second || !strings.Contains(o.Retrying[0].LastError, "429") {
		t.Errorf("Retry-After not honoured: %+v", o.Retrying)
	}
	eventually(t, "sent", func() bool { return p.Outbox().Sent == 1 })
	calls := r.seen()
	if len(calls) != 3 || calls[0].Key == "" || calls[0].Key != calls[1].Key || calls[1].Key != calls[2].Key {
		t.Fatalf("%d calls, keys %q %q", len(calls), calls[0].Key, calls[1].Key)
	}
	for _, c := range calls {
		if err := notify.Verify("s3cret", c.Header.Get(notify.HeaderSignature), c.Raw, time.Now()); err != nil {
			t.Error(err)
		}
	}
}

func TestRefusalBecomesADeadLetterAndDoesNotBlock(t *testing.T) {
	r := newReceiver(t, func(n int, w http.ResponseWriter) {
		if n == 1 {
			http.Error(w, "no such\x1b[31m channel", http.StatusNotFound)
		}
	})
	journal := &memory{}
	p := start(t, quick(r.URL), journal, nil)
	p.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	eventually(t, "dead letter", func() bool { return p.Outbox().Refused == 1 })
	p.Verdict(context.Background(), verdict("payment-3", sample.Ejected, 2))
	eventually(t, "next is sent", func() bool { return p.Outbox().Sent == 1 })
	p.stop()
	dead := start(t, quick(r.URL), journal, nil).Outbox().DeadLetters
	if len(dead) != 1 || dead[0].Reason != "receiver answered 404: no such [31m channel" || dead[0].Alerts != 1 {
		t.Errorf("dead letters after a restart: %+v", dead)
	}
}

func TestUnreachableReceiverIsRetriedAfterRestart(t *testing.T) {
	r := newReceiver(t, nil)
	journal := &memory{}
	gone := newReceiver(t, nil)
	gone.Close()
	first := start(t, quick(gone.URL+"/token-in-path"), journal, nil)
	first.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	eventually(t, "a failed try", func() bool { return len(first.Outbox().Retrying) == 1 })
	o := first.Outbox()
	if strings.Contains(o.Webhook+o.Retrying[0].LastError, "token") {
		t.Errorf("the URL's secret is shown: %+v", o)
	}
	first.stop()
	second := start(t, quick(r.URL), journal, nil)
	eventually(t, "sent", func() bool { return second.Outbox().Sent == 1 })
	if calls := r.seen(); len(calls) != 1 || calls[0].Key != o.Retrying[0].ID {
		t.Errorf("calls: %+v, want the key %s", calls, o.Retrying[0].ID)
	}
}

func TestFullDiskStillPagesAndCatchesUp(t *testing.T) {
	r := newReceiver(t, nil)
	journal := &memory{refuse: errors.New("no space left on device")}
	p := start(t, quick(r.URL), journal, nil)
	p.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	eventually(t, "paged", func() bool { return len(r.seen()) == 1 })
	eventually(t, "failures counted", func() bool { return p.Outbox().NotDurable >= 3 })
	journal.setRefuse(nil)
	p.Verdict(context.Background(), verdict("payment-3", sample.Ejected, 2))
	eventually(t, "sent", func() bool { return p.Outbox().Sent == 2 })
	p.stop()
	if active := start(t, quick(r.URL), journal, nil).Active(); len(active) != 2 {
		t.Errorf("the first write after the disk came back left something out: %+v", active)
	}
}

func TestWithoutWebhookAlertsAreKeptAndSentOnceThereIsOne(t *testing.T) {
	journal := &memory{}
	first := start(t, quick(""), journal, nil)
	first.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	eventually(t, "kept", func() bool { return len(first.Active()) == 1 })
	first.stop()
	r := newReceiver(t, nil)
	second := start(t, quick(r.URL), journal, nil)
	eventually(t, "sent", func() bool { return second.Outbox().Sent == 1 })
}
