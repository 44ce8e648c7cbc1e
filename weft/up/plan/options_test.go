package plan

import (
	"net"
	"reflect"
	"strings"
	"testing"
)

func TestOptionsValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*Options)
		want   string // part of the error; empty for none
	}{
		"defaults":          {func(*Options) {}, ""},
		"no folder":         {func(o *Options) { o.Data = "" }, "data:"},
		"no nodes":          {func(o *Options) { o.Nodes = 0 }, "nodes: 0"},
		"webhook":           {func(o *Options) { o.Webhook = "http://127.0.0.1:1/hook" }, ""},
		"webhook not a URL": {func(o *Options) { o.Webhook = "pager" }, "webhook:"},
		"bare part name":    {func(o *Options) { o.Addresses["gateway"] = "127.0.0.1:0" }, ""},
		"slash":             {func(o *Options) { o.Addresses["agent/otlp_http"] = "127.0.0.1:0" }, ""},
		"all":               {func(o *Options) { o.Addresses["all"] = "127.0.0.1:0" }, ""},
		"unknown part":      {func(o *Options) { o.Addresses["gatway"] = "127.0.0.1:0" }, "addresses.gatway: no such address"},
		"unknown address":   {func(o *Options) { o.Addresses["gateway.grpc"] = "127.0.0.1:0" }, "no such address"},
		"not HOST:PORT":     {func(o *Options) { o.Addresses["gateway"] = "8080" }, "not HOST:PORT"},
		"server path":       {func(o *Options) { o.Demo.ServerPath = []string{"sbin"} }, "demo.server_path:"},
		"not loopback":      {func(o *Options) { o.Addresses["gateway"] = "0.0.0.0:8080" }, "not a loopback address"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			options := DefaultOptions()
			test.change(&options)
			err := options.Validate()
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	a := newAddresses(map[string]string{"all": "127.0.0.1:0", "gateway": taken.Addr().String()})
	if _, err := a.of("gateway.http"); err == nil || !strings.Contains(err.Error(), "gateway: cannot listen on "+taken.Addr().String()) {
		t.Errorf("a taken port: %v", err)
	}
	first, err := a.of("sidecar/payment-1.inbound")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.of("sidecar/payment-1.inbound"); err != nil || again != first {
		t.Errorf("asked twice: %s, then %s (%v): a restarted part would move", first, again, err)
	}
}

func TestMerge(t *testing.T) {
	base := map[string]any{"listen": "a", "breaker": map[string]any{"enabled": true, "open": "5s"}, "routes": []any{1}}
	overlay := map[string]any{"breaker": map[string]any{"enabled": false}, "routes": []any{2}, "new": 1}
	want := map[string]any{"listen": "a", "breaker": map[string]any{"enabled": false, "open": "5s"}, "routes": []any{2}, "new": 1}
	if got := merge(base, overlay); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if base["breaker"].(map[string]any)["enabled"] != true {
		t.Error("merge changed its input")
	}
}
