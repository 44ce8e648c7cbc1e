package queue

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"weft/internal/otlp"
	"weft/internal/wal"
)

func FuzzRecord(f *testing.F) {
	f.Add(append(recordHeader(time.Unix(1, 2), 300), "batch"...))
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parseRecord(raw)
		if err != nil {
			return
		}
		again, err := parseRecord(append(recordHeader(r.received, r.items), r.batch...))
		if err != nil || r.items < 0 || !again.received.Equal(r.received) || again.items != r.items || !bytes.Equal(again.batch, r.batch) {
			t.Fatalf("%+v became %+v (%v)", r, again, err)
		}
	})
}

// FuzzCursor: whatever is in the file, the log is sent from a place where a record begins, and from nowhere beyond its end.
func FuzzCursor(f *testing.F) {
	f.Add([]byte("0000000000000001-00000000.log 0 00000000\n"))
	f.Add([]byte("%s %d"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		log, err := wal.Open(wal.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		c := cursor{wal.OS{}, dir}
		if err := os.WriteFile(c.path(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		at, err := c.load(log)
		if err != nil || at != (wal.Position{}) && at != log.End() {
			t.Fatalf("%v, %v", at, err)
		}
		if at == (wal.Position{}) {
			if _, err := os.Stat(filepath.Join(dir, cursorFile)); !os.IsNotExist(err) {
				t.Fatal("a cursor that does not fit was left in place")
			}
		}
	})
}

// Many senders at once, a collector that goes and comes: every item arrives, and in the end nothing is left.
func TestManySenders(t *testing.T) {
	const senders, each = 8, 150
	f := &far{}
	stop := f.serve(t)
	cfg := testConfig(t.TempDir(), f.addr)
	cfg.RequestBytes = 4000
	q, _ := start(t, cfg, testDeps())
	var sending sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			for i := range each {
				if _, err := q.Take(t.Context(), otlp.SignalLogs, batch(t, fmt.Sprint(s, "-", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for third := range 3 {
		await(t, "under way", func() bool { return q.Snapshot(otlp.SignalLogs).Accepted > int64(third*senders*each/3) })
		stop()
		stop = f.serve(t)
	}
	sending.Wait()
	s := awaitSent(t, q)
	if s.Accepted != senders*each || s.Sent != senders*each {
		t.Errorf("ledger %+v", s.Ledger)
	}
	_, got := f.state()
	distinct := map[string]bool{}
	for _, name := range got {
		distinct[name] = true
	}
	if len(distinct) != senders*each {
		t.Errorf("%d arrived", len(distinct))
	}
	await(t, "deleted", func() bool { return q.lines[otlp.SignalLogs].log.Stats().Bytes < cfg.fileBytes() })
}
