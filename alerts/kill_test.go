package alerts

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"weft/alerts/notify"
	"weft/internal/sample"
)

// child is the environment variable that makes this test binary a process to be killed.
const child = "WEFT_ALERTS_CHILD"

// TestKilledWhileSending kills a real process, with a real ledger on disk, while the receiver holds its call. The next
// process sends the same notification under the same key, and never another.
func TestKilledWhileSending(t *testing.T) {
	if os.Getenv(child) != "" {
		runChild()
		return
	}
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	r := newReceiver(t, func(n int, _ http.ResponseWriter) {
		if n == 1 {
			arrived <- struct{}{}
			<-release
		}
	})
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileSending$")
	cmd.Env = append(os.Environ(), child+"=1", "WEFT_ALERTS_DIR="+dir, "WEFT_ALERTS_URL="+r.URL)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-arrived:
	case <-time.After(30 * time.Second):
		t.Errorf("the child sent nothing: %s", output.String())
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	close(release)

	a := onDisk(t, dir, r.URL)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	eventually(t, "sent again", func() bool { return a.Outbox().Sent == 1 })
	a.Verdict(ctx, verdict("payment-2", sample.Healthy, 2))
	eventually(t, "resolved", func() bool { return a.Outbox().Sent == 2 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	calls := r.seen()
	if len(calls) != 3 || calls[0].Key != calls[1].Key || calls[1].Key == calls[2].Key || calls[2].Body.Status != "resolved" {
		t.Errorf("%d calls: %+v", len(calls), calls)
	}
	if !bytes.Equal(calls[0].Raw, calls[1].Raw) {
		t.Errorf("the same key with another body:\n%s\n%s", calls[0].Raw, calls[1].Raw)
	}
}

type failer interface {
	Helper()
	Fatal(...any)
}

func onDisk(t failer, dir, url string) *Alerts {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	journal, replayed, err := notify.OpenJournal(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(quick(url), Deps{Log: log, Journal: journal, Replayed: replayed})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type dies struct{}

func (dies) Helper()           {}
func (dies) Fatal(args ...any) { panic(args) }

// runChild pages, and then waits for the kill.
func runChild() {
	a := onDisk(dies{}, os.Getenv("WEFT_ALERTS_DIR"), os.Getenv("WEFT_ALERTS_URL"))
	a.Verdict(context.Background(), verdict("payment-2", sample.Ejected, 1))
	_ = a.Run(context.Background())
}
