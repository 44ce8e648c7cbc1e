package gateway

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft/mesh/control"
)

// freeAddress is one that was free a moment ago: control's address must be known before it listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startControl runs a real control with one static service.
func startControl(t *testing.T, dir, address, endpoint string) (stop func()) {
	t.Helper()
	file := filepath.Join(dir, "control.yaml")
	yaml := "listen: " + address + "\nops: 127.0.0.1:0\ndata: " + dir + "/control\nsocket: " + dir + "/control/identity.sock\n" +
		"services:\n  shop: {protocol: http, endpoints: [{instance: shop-1, address: " + endpoint + "}]}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Run(ctx, file) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("control: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// The gateway gets its identity and its endpoints from control, is not ready before, and goes on without it after.
func TestEndpointsFromControl(t *testing.T) {
	dir, err := os.MkdirTemp("", "weft") // a Unix socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address := freeAddress(t)
	g := start(t, head+`
identity: {socket: `+dir+`/control/identity.sock}
control: `+address+`
routes:
- {name: all, path_prefix: /, service: shop}
`)
	c := client(t, nil)
	status := func(url string) int {
		response, _ := do(t, c, "GET", url)
		return response.StatusCode
	}
	if code := status("http://" + g.OpsAddr() + "/readyz"); code != 503 {
		t.Fatalf("ready without control: %d", code)
	}
	stop := startControl(t, dir, address, shop(t))
	eventually(t, "ready", func() bool { return status("http://"+g.OpsAddr()+"/readyz") == 200 })
	if code := status("http://" + g.Addr() + "/x"); code != 200 {
		t.Fatalf("with control: %d", code)
	}
	stop()
	for range 5 {
		if code := status("http://" + g.Addr() + "/x"); code != 200 {
			t.Fatalf("after control: %d", code)
		}
		time.Sleep(20 * time.Millisecond) // time for the streams to notice
	}
	if code := status("http://" + g.OpsAddr() + "/readyz"); code != 200 {
		t.Fatalf("not ready any more: %d", code)
	}
}
