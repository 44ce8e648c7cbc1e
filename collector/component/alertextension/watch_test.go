package alertextension

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"weft/alerts"
)

const mib = 1 << 20

func TestADiskFiresBelowTwiceTheReserve(t *testing.T) {
	d := newDisk(DiskConfig{}, "/data", 5)
	for i, step := range []struct {
		free           uint64 // of 10,000 MiB
		report, firing bool
		says           string
	}{
		{2000, true, false, "2000 MiB of 10000 MiB (20 %) are free on the disk of /data."}, // ends what an earlier process left open
		{1000, false, false, ""},
		{999, true, true, "999 MiB of 10000 MiB (9 %) are free on the disk of /data. Below the reserve of 5 % (500 MiB) the stores push back"},
		{990, false, true, ""},
		{800, true, true, "(8 %)"},
		{1050, true, true, "(10 %)"}, // not until it is a point above
		{1100, true, true, "(11 %)"},
		{1101, true, false, "1101 MiB"},
		{1050, false, false, ""},
	} {
		c, report := d.look(step.free*mib, 10_000*mib)
		if report != step.report || report && c.Firing != step.firing || d.firing != step.firing || !strings.Contains(c.Description, step.says) {
			t.Errorf("step %d, %d MiB free: reports %v, %+v", i, step.free, report, c)
		}
		if report && (c.Name != "DiskNearlyFull" || c.Subject != "collector data /data") {
			t.Errorf("step %d: %+v", i, c)
		}
	}
	if _, report := newDisk(DiskConfig{}, "/proc", 5).look(0, 0); report {
		t.Error("a file system without a size is nearly full")
	}
}

func TestWhereADiskFires(t *testing.T) {
	for _, tc := range []struct {
		cfg     DiskConfig
		reserve int
		warn    uint64
		path    string
	}{
		{DiskConfig{}, 5, 10, "/store"}, {DiskConfig{}, 0, 10, "/store"}, {DiskConfig{}, 90, 95, "/store"},
		{DiskConfig{Path: "/other", WarnPercent: 20}, 5, 20, "/other"},
	} {
		if d := newDisk(tc.cfg, "/store", tc.reserve); d.warn != tc.warn || d.path != tc.path {
			t.Errorf("%+v with a reserve of %d: %+v", tc.cfg, tc.reserve, d)
		}
	}
	d := newDisk(DiskConfig{}, "/store", 0)
	if c, _ := d.look(mib, 1000*mib); !strings.Contains(c.Description, "writes will fail when it is full") {
		t.Errorf("without a reserve: %q", c.Description)
	}
}

// full is a store extension that refuses when told to, and keeps a reserve.
type full struct {
	component.StartFunc
	component.ShutdownFunc
	reason atomic.Pointer[string]
}

func (f *full) Refusing() (bool, string) {
	if r := f.reason.Load(); r != nil {
		return true, *r
	}
	return false, ""
}

func (f *full) DiskReserve() (string, int) { return "/data", 8 }

func (f *full) refuse(reason string) { f.reason.Store(&reason) }

func TestARefusalIsOverOnceItIsCalm(t *testing.T) {
	f := &full{}
	s := &store{name: "store", asked: f}
	reports := func(n int) (all []alerts.Condition) {
		for range n {
			if c, report := s.look(); report {
				all = append(all, c)
			}
		}
		return all
	}
	if all := reports(20); len(all) != 1 || all[0].Firing {
		t.Errorf("a store that takes everything: %+v, want one report, for an alert that an earlier process left open", all)
	}
	f.refuse("log is full: 12 MiB free.")
	if all := reports(20); len(all) != 1 || !all[0].Firing || !strings.HasPrefix(all[0].Description, "log is full: 12 MiB free. Agents keep") {
		t.Errorf("refusing: %+v", all)
	}
	f.refuse("input/output error")
	if all := reports(2); len(all) != 1 || !all[0].Firing {
		t.Errorf("another reason: %+v", all)
	}
	for range 5 { // back and forth at its limit: one incident
		f.reason.Store(nil)
		all := reports(calmLooks - 1)
		f.refuse("input/output error")
		if all = append(all, reports(1)...); len(all) != 0 {
			t.Errorf("back and forth: %+v", all)
		}
	}
	f.reason.Store(nil)
	if all := reports(2 * calmLooks); len(all) != 1 || all[0].Firing {
		t.Errorf("over: %+v", all)
	}
}

type page struct {
	Status      string
	GroupLabels map[string]string
	Alerts      []struct {
		Status              string
		Labels, Annotations map[string]string
	}
}

// started is an extension that runs, with a disk of 1000 MiB of which free are free.
func started(t *testing.T, url, data string, free *atomic.Int64, h host, before ...alerts.Condition) *Alert {
	t.Helper()
	factory := NewFactory()
	cfg := factory.CreateDefaultConfig().(*Config)
	err := confmap.NewFromStringMap(map[string]any{
		"webhook": map[string]any{"url": url}, "data": data, "group_wait": "20ms", "group_interval": "50ms", "disk": map[string]any{"warn_percent": 20},
	}).Unmarshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	made, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := made.(*Alert)
	e.every = 5 * time.Millisecond
	e.free = func(dir string) (uint64, uint64, error) {
		if dir != "/data" {
			return 0, 0, errors.New("not the stores' folder: " + dir)
		}
		return uint64(free.Load()) * mib, 1000 * mib, nil
	}
	for _, c := range before {
		e.Condition(c)
	}
	if err := e.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConditionsReachTheWebhook(t *testing.T) {
	pages := make(chan page, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var p page
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			t.Error(err)
		}
		pages <- p
	}))
	defer receiver.Close()
	// until reads pages until an alert of this name has this status in one.
	until := func(name, status string) map[string]string {
		t.Helper()
		for deadline := time.After(20 * time.Second); ; {
			select {
			case p := <-pages:
				for _, a := range p.Alerts {
					if a.Labels["alertname"] == name && a.Status == status {
						if p.GroupLabels["service"] != "collector" {
							t.Errorf("page: %+v", p)
						}
						for k, v := range a.Labels {
							a.Annotations["label "+k] = v
						}
						return a.Annotations
					}
				}
			case <-deadline:
				t.Fatalf("never: %s %s", name, status)
			}
		}
	}
	var free atomic.Int64
	free.Store(150)
	data, stores := t.TempDir(), &full{}
	h := host{component.MustNewID("health"): &judge{}, component.MustNewID("store"): stores}
	e := started(t, receiver.URL, data, &free, h, alerts.Condition{Name: "Early", Subject: "x", Service: "collector", Firing: true})
	until("Early", "firing")
	e.Condition(alerts.Condition{Name: "Early", Subject: "x"})
	until("Early", "resolved")
	stores.refuse("log is full")
	got := until("StoreRefuses", "firing")
	if got["label severity"] != "critical" || got["label subject"] != "collector store" || !strings.HasPrefix(got["description"], "log is full. Agents keep") {
		t.Errorf("refusal: %v", got)
	}
	if active := e.Alerts().Active(); len(active) != 2 {
		t.Errorf("active: %+v", active)
	}
	if err := e.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	e.Condition(alerts.Condition{Name: "Late", Subject: "x", Firing: true}) // harmless

	// The next process finds room on the disk, and the store still refusing.
	free.Store(900)
	e = started(t, receiver.URL, data, &free, h)
	got = until("DiskNearlyFull", "resolved")
	if !strings.HasPrefix(got["description"], "150 MiB of 1000 MiB (15 %) are free on the disk of /data. Below the reserve of 8 % (80 MiB) the stores push back") ||
		got["resolution"] != "900 MiB of 1000 MiB (90 %) are free on the disk of /data." || !strings.HasSuffix(got["console_url"], ":7070/alerts") {
		t.Errorf("disk: %v", got)
	}
	if active := e.Alerts().Active(); len(active) != 1 || active[0].AlertName != "StoreRefuses" {
		t.Errorf("active after the restart: %+v", active)
	}
	stores.reason.Store(nil)
	until("StoreRefuses", "resolved")
	if err := e.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}
