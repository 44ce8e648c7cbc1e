package distro

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"

	"weft/internal/distro/pushback"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const builtIn = `
extensions:
  door: {endpoint: "127.0.0.1:0", name: "${env:DOOR_NAME:-first}"}
receivers: {nop: {}}
processors: {pushback: {}}
exporters: {nop: {}}
service:
  extensions: [door]
  pipelines:
    traces: {receivers: [nop], processors: [pushback], exporters: [nop]}
`

// door is an extension with a port, so that a start can fail, and a memory of who opened it.
type door struct {
	doorConfig
	hall     *hall
	listener net.Listener
}

type doorConfig struct {
	Endpoint string `mapstructure:"endpoint"`
	Name     string `mapstructure:"name"`
	Count    int    `mapstructure:"count"`
}

func (c *doorConfig) Validate() error {
	var faults []error
	if c.Name == "" {
		faults = append(faults, errors.New("name: is required"))
	}
	if c.Count < 0 {
		faults = append(faults, errors.New("count: must not be negative"))
	}
	return errors.Join(faults...)
}

func (d *door) Start(_ context.Context, host component.Host) (err error) {
	if d.listener, err = net.Listen("tcp", d.Endpoint); err != nil {
		return err
	}
	d.hall.enter(d.Name, host)
	return nil
}

func (d *door) Shutdown(context.Context) error {
	if d.listener == nil {
		return nil
	}
	d.hall.enter("", nil)
	return d.listener.Close()
}

// hall knows which door is open, and how often one was opened.
type hall struct {
	mu     sync.Mutex
	open   string
	opened int
	host   component.Host
}

func (h *hall) enter(name string, host component.Host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open, h.host = name, host
	if name != "" {
		h.opened++
	}
}

func (h *hall) state() (string, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open, h.opened
}

func testSettings(h *hall) Settings {
	return Settings{Name: "test", Version: "0", Defaults: []byte(builtIn), Factories: func(*Process) (f otelcol.Factories, err error) {
		doors := extension.NewFactory(component.MustNewType("door"), func() component.Config { return &doorConfig{} },
			func(_ context.Context, _ extension.Settings, cfg component.Config) (extension.Extension, error) {
				return &door{doorConfig: *cfg.(*doorConfig), hall: h}, nil
			}, component.StabilityLevelStable)
		var errs [4]error
		f.Receivers, errs[0] = otelcol.MakeFactoryMap[receiver.Factory](receivertest.NewNopFactory())
		f.Processors, errs[1] = otelcol.MakeFactoryMap[processor.Factory](pushback.NewFactory())
		f.Exporters, errs[2] = otelcol.MakeFactoryMap[exporter.Factory](exportertest.NewNopFactory())
		f.Extensions, errs[3] = otelcol.MakeFactoryMap[extension.Factory](doors)
		return f, errors.Join(errs[:]...)
	}}
}

func testDistribution(t *testing.T, h *hall) (*distribution, *bytes.Buffer) {
	t.Helper()
	d, err := newDistribution(testSettings(h))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	d.telemetry = newTelemetry("test", &log)
	d.process.Log, d.factories.Telemetry = d.telemetry.log, d.telemetry.factory()
	return d, &log
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckNamesFileLineAndKey(t *testing.T) {
	t.Setenv("DOOR_COUNT", "seven")
	tests := map[string]struct {
		text string
		want string // the error; FILE stands for the file's path; empty for none
	}{
		"nothing added":     {"", ""},
		"overlay":           {"extensions:\n  door:\n    name: other\n", ""},
		"unknown key":       {"extensions:\n  door:\n    nam: other\n", "FILE:3: extensions.door.nam: unknown key"},
		"two unknown keys":  {"extensions:\n  door:\n    a: 1\n    b: 1\n", "FILE:3: extensions.door.a: unknown key\nFILE:4: extensions.door.b: unknown key"},
		"unknown section":   {"extension: {}\n", "FILE:1: extension: unknown key"},
		"unknown component": {"processors:\n  pushbak: {}\n", "FILE:2: processors.pushbak: unknown component (valid values: [pushback])"},
		"wrong type":        {"extensions:\n  door:\n    count: many\n", "FILE:3: extensions.door.count: expected type 'int', got unconvertible type 'string'"},
		"wrong environment": {"extensions:\n  door:\n    count: ${DOOR_COUNT}\n", "FILE:3: extensions.door.count: expected type 'int', got unconvertible type 'string'"},
		"unset environment": {"extensions:\n  door:\n    name: ${DOOR_NOT_SET}\n", "FILE:3: environment variable DOOR_NOT_SET is not set"},
		"joined faults":     {"extensions:\n  door:\n    name: ''\n    count: -1\n", "FILE:3: extensions.door.name: is required\nFILE:4: extensions.door.count: must not be negative"},
		"too short a pause": {"processors:\n  pushback: {retry_after: 10ms}\n", "FILE:2: processors.pushback.retry_after: at least 1s, for senders over HTTP see whole seconds"},
		"unknown reference": {"service:\n  extensions: [door, gate]\n", "FILE:2: service.extensions: references extension \"gate\" which is not configured"},
		"not YAML":          {"extensions:\n  door: [\n", "FILE: line 2: did not find expected node content"},
		"not a mapping":     {"- a\n", "FILE: unmarshal errors: line 1: cannot unmarshal !!seq into map[string]interface {}"},
		"missing pipeline":  {"service:\n  pipelines:\n    logs: {receivers: [nop]}\n", "FILE:3: service.pipelines.logs: must have at least one exporter"},
	}
	d, _ := testDistribution(t, &hall{})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "test.yaml")
			write(t, file, test.text)
			err := d.check(t.Context(), []string{file})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if want := strings.ReplaceAll(test.want, "FILE", file); got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("extensions: {door: {name: a, count: 1}}")
	f.Add("processors:\n  pushback: {retry_after: 10ms}\nservice: {pipelines: {a: 1}}")
	f.Add("a: [${b}, ${env:c:-d}]\n? {}: x\n")
	d, err := newDistribution(testSettings(&hall{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		documents, err := d.read(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.load(t.Context(), append(documents, document{"fuzz.yaml", []byte(text)}))
		if err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Error("an error without a word")
		}
	})
}

func TestReloadChangesNothingUnlessItCanStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	tests := map[string]struct {
		text         string
		open, logged string
		opened       int
	}{
		"unchanged":      {"", "first", "nothing to reload", 1},
		"good":           {"extensions: {door: {name: second}}", "second", "configuration reloaded", 2},
		"bad key":        {"extensions: {door: {nam: second}}", "first", "extensions.door.nam: unknown key", 1},
		"bad YAML":       {"extensions: {", "first", "configuration rejected", 1},
		"cannot start":   {"extensions: {door: {name: second, endpoint: \"" + taken.Addr().String() + "\"}}", "first", "going back to the old one", 2},
		"bad reference":  {"service: {extensions: [gate]}", "first", "references extension", 1},
		"log level only": {"service: {telemetry: {logs: {level: debug}}}", "first", "configuration reloaded", 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &hall{}
			d, log := testDistribution(t, h)
			file := filepath.Join(t.TempDir(), "test.yaml")
			write(t, file, "")
			documents, err := d.read([]string{file})
			if err != nil {
				t.Fatal(err)
			}
			running, err := d.start(t.Context(), documents)
			if err != nil {
				t.Fatal(err)
			}
			write(t, file, test.text)
			running, err = d.reload(t.Context(), running, []string{file})
			if err != nil {
				t.Fatal(err)
			}
			if open, opened := h.state(); open != test.open || opened != test.opened {
				t.Errorf("open %q after %d starts, want %q after %d", open, opened, test.open, test.opened)
			}
			if !strings.Contains(log.String(), test.logged) {
				t.Errorf("log does not say %q:\n%s", test.logged, log)
			}
			if err := running.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRunFollowsItsFileAndStops(t *testing.T) {
	h := &hall{}
	d, _ := testDistribution(t, h)
	file := filepath.Join(t.TempDir(), "test.yaml")
	write(t, file, "extensions: {door: {name: one}}")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx, []string{file}) }()
	await(t, func() bool { open, _ := h.state(); return open == "one" })
	write(t, file, "extensions: {door: {name: two}}")
	await(t, func() bool { open, _ := h.state(); return open == "two" })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if open, _ := h.state(); open != "" {
		t.Errorf("door %q is still open", open)
	}
}

func TestRunEndsWhenAComponentFailsForGood(t *testing.T) {
	h := &hall{}
	d, _ := testDistribution(t, h)
	done := make(chan error, 1)
	go func() { done <- d.run(t.Context(), nil) }()
	await(t, func() bool { open, _ := h.state(); return open == "first" })
	componentstatus.ReportStatus(h.host, componentstatus.NewFatalErrorEvent(errors.New("disk on fire")))
	if err := <-done; err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Fatalf("got %v", err)
	}
}

func TestOwnMetricsFollowTheRunningPipelines(t *testing.T) {
	d, _ := testDistribution(t, &hall{})
	registry := prometheus.NewRegistry()
	registry.MustRegister(d.telemetry)
	for range 2 { // a second start brings the same names again, in place of the first
		documents, _ := d.read(nil)
		running, err := d.start(t.Context(), documents)
		if err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil || len(families) == 0 {
			t.Errorf("%d metric families, error %v", len(families), err)
		}
		if err := running.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestArguments(t *testing.T) {
	tests := map[string]struct {
		args  []string
		check bool
		files string
		fault string
	}{
		"none":    {nil, false, "", ""},
		"files":   {[]string{"--config", "a", "--config=b"}, false, "a,b", ""},
		"check":   {[]string{"check", "--config", "a"}, true, "a", ""},
		"unknown": {[]string{"chek"}, false, "", "unknown argument \"chek\""},
		"flag":    {[]string{"--conf"}, false, "", "flag provided but not defined"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			check, files, err := arguments("test", test.args, io.Discard)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Fatalf("error %v, want %q", err, test.fault)
				}
				return
			}
			if err != nil || check != test.check || strings.Join(files, ",") != test.files {
				t.Fatalf("check %v files %v error %v", check, files, err)
			}
		})
	}
}

func await(t *testing.T, reached func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !reached() {
		if time.Now().After(deadline) {
			t.Fatal("not reached in 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
