package healthextension

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"weft/collector/component/storeextension"
	"weft/collector/signal"
	"weft/collector/store"
	"weft/collector/store/segment"
	"weft/internal/otlp"
	"weft/internal/sample"
	"weft/internal/wire"
)

// host has the extensions that are given.
type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

// TestVerdictsAreKeptAsALog: what the judge concluded is in the log store, with its evidence, also after a restart.
func TestVerdictsAreKeptAsALog(t *testing.T) {
	a, folder := newAuthority(t), t.TempDir()
	keeper, stores := openStores(t, folder)
	k := testKeeper(t, a)
	f := k.Factory()
	ext, err := f.Create(t.Context(), extensiontest.NewNopSettings(f.Type()), testConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	// Before the stores are open: the order of extensions does not matter.
	if err := ext.Start(t.Context(), host{component.MustNewID("store"): stores}); err != nil {
		t.Fatal(err)
	}
	if err := stores.Start(t.Context(), host{}); err != nil {
		t.Fatal(err)
	}
	lane := ext.(*Extension).running.Load().lane.addr()
	stop := report(t, a, lane, newFleet(), 3)
	await(t, steer(t, a, lane), "payment-2", wire.State_EJECTED)
	stop()
	if err := errors.Join(ext.Shutdown(t.Context()), stores.Shutdown(t.Context()), k.Close(), keeper.Close()); err != nil {
		t.Fatal(err)
	}

	_, again := openStores(t, folder)
	if err := again.Start(t.Context(), host{}); err != nil {
		t.Fatal(err)
	}
	var found []signal.Log
	err = again.Stores().Logs.Replay(t.Context(), segment.Past{}, func(_ time.Time, batch []byte) error {
		return otlp.Logs(batch, func(l *otlp.Log) error {
			found = append(found, signal.FromLog(l))
			return nil
		})
	})
	if err = errors.Join(err, again.Shutdown(t.Context())); err != nil || len(found) == 0 {
		t.Fatalf("%d records, %v", len(found), err)
	}
	r := found[0]
	ids, _ := r.Attributes["weft.evidence.request_ids"].([]any)
	reporters, _ := r.Attributes["weft.evidence.reporters"].([]any)
	if r.Service != "collector" || r.Severity != "WARN" || !strings.HasPrefix(r.Body, "payment/payment-2 is ejected: ") ||
		r.Attributes["weft.endpoint"] != "payment-2" || r.Attributes["weft.verdict.state"] != "ejected" || r.Attributes.Int("weft.evidence.failures") == 0 ||
		len(ids) == 0 || len(reporters) < 2 {
		t.Errorf("record %+v", r)
	}
}

func openStores(t *testing.T, folder string) (*storeextension.Keeper, *storeextension.Extension) {
	t.Helper()
	keeper := storeextension.NewKeeper()
	t.Cleanup(func() { _ = keeper.Close() })
	f := keeper.Factory()
	cfg := f.CreateDefaultConfig().(*storeextension.Config)
	(*store.Config)(cfg).Dir = folder
	ext, err := f.Create(t.Context(), extensiontest.NewNopSettings(f.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return keeper, ext.(*storeextension.Extension)
}

// refusing is a log store that is full for a while.
type refusing struct {
	mu   sync.Mutex
	left int // refusals to come
	got  []string
}

func (r *refusing) Append(_ context.Context, batch plog.Logs) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left > 0 {
		r.left--
		return store.ErrFull
	}
	state, _ := batch.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get("weft.verdict.state")
	r.got = append(r.got, state.AsString())
	return nil
}

func (r *refusing) states() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, " ")
}

// TestDiaryWaitsForTheStore: refused records are stored later, in order, by this writer or the next.
func TestDiaryWaitsForTheStore(t *testing.T) {
	d := newDiary("collector-1")
	full := &refusing{left: 1 << 30}
	w := d.writeTo(full, zap.NewNop())
	for _, state := range []sample.State{sample.Ejected, sample.Probing, sample.Healthy} {
		d.add(sample.Verdict{State: state}, time.Now())
	}
	w.stop()
	free := &refusing{}
	w = d.writeTo(free, zap.NewNop())
	for deadline := time.Now().Add(10 * time.Second); free.states() != "ejected probing healthy"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("stored %q", free.states())
		}
	}
	w.stop()
	if d.stored.Load() != 3 || d.dropped.Load() != 0 {
		t.Errorf("stored %d, dropped %d", d.stored.Load(), d.dropped.Load())
	}
}

// TestDiaryIsBounded: with no store at all the oldest records go, and are counted.
func TestDiaryIsBounded(t *testing.T) {
	d := newDiary("collector-1")
	for range maxPending + 5 {
		d.add(sample.Verdict{}, time.Now())
	}
	if len(d.pending) != maxPending || d.dropped.Load() != 5 {
		t.Errorf("%d wait, %d dropped", len(d.pending), d.dropped.Load())
	}
}
