package healthextension

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/identity"
	"weft/internal/sample"
	"weft/internal/wire"
)

type steerClient = grpc.BidiStreamingClient[wire.ControlReport, wire.VerdictUpdate]

// TestTheLoop: reports of an agent and of a proxy go in, control's stream says what to do, and a restart forgets nothing.
func TestTheLoop(t *testing.T) {
	a := newAuthority(t)
	data := t.TempDir()
	k := testKeeper(t, a)
	ext := startExtension(t, k, testConfig(data))
	var mu sync.Mutex
	var heard []sample.Verdict
	ext.Subscribe(func(v sample.Verdict) { mu.Lock(); defer mu.Unlock(); heard = append(heard, v) })
	lane := ext.running.Load().lane.addr()
	stop := report(t, a, lane, newFleet(), 3)

	control := steer(t, a, lane)
	first := receive(t, control)
	if !first.GetFull() || first.GetTerm() == 0 || first.GetTtlMs() != 10_000 {
		t.Fatalf("first update %v", first)
	}
	v := await(t, control, "payment-2", wire.State_EJECTED)
	if got := v.GetEvidence(); len(got.GetReporters()) < 2 || len(got.GetRequestIds()) == 0 || v.GetWeight() != 0 || !v.GetEnforced() {
		t.Errorf("verdict %v", v)
	}
	beat := receive(t, control)
	if beat.GetFull() || beat.GetTerm() != first.GetTerm() {
		t.Errorf("after the change comes a heartbeat, not %v", beat)
	}
	mu.Lock()
	if len(heard) == 0 || heard[len(heard)-1].State != sample.Ejected {
		t.Errorf("listeners heard %v", heard)
	}
	mu.Unlock()
	if all := ext.Verdicts(); len(all) != 3 || all[1].State != sample.Ejected {
		t.Errorf("verdicts %v", all)
	}
	if h := ext.History(sample.Key{Service: "payment", Instance: "payment-2"}); len(h) == 0 {
		t.Error("no history")
	}

	// A reload keeps the judge and the stream.
	before := ext.running.Load()
	_ = ext.Shutdown(t.Context())
	ext = startExtension(t, k, testConfig(data))
	if ext.running.Load() != before {
		t.Error("a reload without a change restarted the judge")
	}
	stop()
	_ = k.Close()

	// A new process has a higher term and still knows who was out.
	again := startExtension(t, testKeeper(t, a), testConfig(data))
	control = steer(t, a, again.running.Load().lane.addr())
	full := receive(t, control)
	if !full.GetFull() || full.GetTerm() <= first.GetTerm() {
		t.Fatalf("after the restart: term %d after %d, full %v", full.GetTerm(), first.GetTerm(), full.GetFull())
	}
	if vs := full.GetVerdicts(); len(vs) != 1 || vs[0].GetInstance() != "payment-2" || vs[0].GetState() != wire.State_EJECTED {
		t.Errorf("after the restart: %v", vs)
	}
}

// report sends as orders-1's own proxy, and as an agent for the others, until stopped.
func report(t *testing.T, a *authority, lane string, f *fleet, bad uint64) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	own, err := wire.NewSamplesClient(a.dial(t, lane, id(identity.RoleProxy, "orders", "orders-1"))).Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	relay, err := wire.NewSamplesClient(a.dial(t, lane, id(identity.RoleAgent, "agent", "agent-1"))).Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var home sync.WaitGroup
	home.Go(func() {
		clock := time.NewTicker(100 * time.Millisecond)
		defer clock.Stop()
		for n := 0; ; n++ {
			failures := bad
			if n < 5 {
				failures = 0
			}
			for _, name := range callers {
				stream := relay
				r := f.next(name, 10, failures)
				if name == "orders/orders-1" {
					stream, r.Reporter = own, "liar/liar-1" // overwritten by the certificate
				}
				if stream.Send(r) != nil {
					return
				}
				if receipt, err := stream.Recv(); err != nil || receipt.GetSequence() != r.GetSequence() {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-clock.C:
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); home.Wait() })
	t.Cleanup(stop)
	return stop
}

// steer opens control's stream.
func steer(t *testing.T, a *authority, lane string) steerClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	stream, err := wire.NewHealthClient(a.dial(t, lane, id(identity.RoleControl, "control", "control-1"))).Steer(ctx, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(controlReport()); err != nil {
		t.Fatal(err)
	}
	return stream
}

func receive(t *testing.T, stream steerClient) *wire.VerdictUpdate {
	t.Helper()
	in, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func await(t *testing.T, stream steerClient, instance string, state wire.State) *wire.Verdict {
	t.Helper()
	for {
		for _, v := range receive(t, stream).GetVerdicts() {
			if v.GetInstance() == instance && v.GetState() == state {
				return v
			}
		}
	}
}

func TestStrangersAreRefused(t *testing.T) {
	a := newAuthority(t)
	ext := startExtension(t, testKeeper(t, a), testConfig(t.TempDir()))
	lane := ext.running.Load().lane.addr()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	steerAs := func(who identity.ID) error {
		stream, err := wire.NewHealthClient(a.dial(t, lane, who)).Steer(ctx, grpc.WaitForReady(true))
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	reportAs := func(who identity.ID, reporter string) error {
		stream, err := wire.NewSamplesClient(a.dial(t, lane, who)).Report(ctx, grpc.WaitForReady(true))
		if err != nil {
			return err
		}
		if err := stream.Send(&wire.SampleReport{Reporter: reporter}); err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}
	for name, c := range map[string]struct {
		err  error
		want codes.Code
	}{
		"a proxy may not take verdicts":     {steerAs(id(identity.RoleProxy, "orders", "orders-1")), codes.PermissionDenied},
		"control may not report":            {reportAs(id(identity.RoleControl, "control", "control-1"), "a/b"), codes.PermissionDenied},
		"an agent must name the reporter":   {reportAs(id(identity.RoleAgent, "agent", "agent-1"), "nonsense"), codes.InvalidArgument},
		"a proxy's name is its certificate": {reportAs(id(identity.RoleProxy, "orders", "orders-1"), "nonsense"), codes.OK},
	} {
		if got := status.Code(c.err); got != c.want {
			t.Errorf("%s: got %v (%v), want %v", name, got, c.err, c.want)
		}
	}
	if _, err := wire.NewSamplesClient(newAuthority(t).dial(t, lane, id(identity.RoleProxy, "orders", "orders-1"))).Report(ctx); err == nil {
		t.Error("another authority's certificate was taken")
	}
}

func TestWithoutAMesh(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Identity = identity.Config{}
	ext := startExtension(t, testKeeper(t, nil), cfg)
	if err := ext.Readiness(); err != nil {
		t.Error(err)
	}
	if got := ext.Verdicts(); len(got) != 0 {
		t.Errorf("verdicts %v", got)
	}
}

func TestPortInUse(t *testing.T) {
	a := newAuthority(t)
	taken := startExtension(t, testKeeper(t, a), testConfig(t.TempDir())).running.Load().lane.addr()
	k := testKeeper(t, a)
	cfg := testConfig(t.TempDir())
	cfg.Lane = taken
	ext, err := k.Factory().Create(t.Context(), extensiontest.NewNopSettings(k.Factory().Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = ext.Start(t.Context(), componenttest.NewNopHost())
	if err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("error %v does not name %s", err, taken)
	}
}

func TestTermOnlyRises(t *testing.T) {
	data := t.TempDir()
	future := time.Now().Add(24 * time.Hour)
	first, _, err := openLedger(data, future)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := openLedger(data, time.Now()) // the clock went back
	if err != nil || second.term != first.term+1 {
		t.Errorf("term %d after %d, %v", second.term, first.term, err)
	}
}

func TestTellingRemovesWhatIsGone(t *testing.T) {
	told := telling{term: 1, sent: map[sample.Key]uint64{}}
	key := func(i string) sample.Key { return sample.Key{Service: "s", Instance: i} }
	full := told.update([]sample.Verdict{{Endpoint: key("a"), Version: 1}, {Endpoint: key("b"), Version: 2, State: sample.Ejected}, {Endpoint: key("c")}})
	if !full.GetFull() || len(full.GetVerdicts()) != 2 || full.GetVersion() != 2 {
		t.Errorf("full set %v", full)
	}
	next := told.update([]sample.Verdict{{Endpoint: key("a"), Version: 3}})
	if next.GetFull() || len(next.GetVerdicts()) != 1 || len(next.GetRemoved()) != 1 || next.GetRemoved()[0] != "s/b" || next.GetVersion() != 3 {
		t.Errorf("changes %v", next)
	}
	if beat := told.update([]sample.Verdict{{Endpoint: key("a"), Version: 3}}); len(beat.GetVerdicts())+len(beat.GetRemoved()) != 0 {
		t.Errorf("heartbeat %v", beat)
	}
}

func TestConfigFaultsNameTheirKeys(t *testing.T) {
	c := defaultConfig().(*Config)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.Lane, c.Percent, c.Data, c.Instance, c.Trust = "nowhere", 200, "", "a b", map[string]string{"payment": "maybe"}
	err := c.Validate()
	for _, key := range []string{"lane", "percent", "data", "instance", "trust.payment"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
	if errors.Is(err, nil) {
		t.Error("no fault found")
	}
}
