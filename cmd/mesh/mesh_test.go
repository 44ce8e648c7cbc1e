package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the mesh command, so that these tests run real processes.
func TestMain(m *testing.M) {
	if os.Getenv("MESH_TEST_COMMAND") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// town is a control and sidecars, each a process, with applications in the test itself.
type town struct {
	t       *testing.T
	dir     string
	control string
}

type process struct {
	*exec.Cmd
	log    *bytes.Buffer
	exited chan struct{}
}

func newTown(t *testing.T, control string) *town {
	t.Helper()
	dir, err := os.MkdirTemp("", "mesh") // short: it holds Unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &town{t: t, dir: dir, control: freePort(t)}
	w.start("control", fmt.Sprintf("listen: %s\nops: %s\ndata: %s/control\nsocket: %s/id.sock\n%s", w.control, freePort(t), dir, dir, control))
	return w
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *town) start(name, yaml string) *process {
	w.t.Helper()
	path := filepath.Join(w.dir, name+".yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		w.t.Fatal(err)
	}
	role := "sidecar"
	if name == "control" {
		role = "control"
	}
	p := &process{Cmd: exec.Command(os.Args[0], role, "--config", path), log: &bytes.Buffer{}, exited: make(chan struct{})}
	p.Env = append(os.Environ(), "MESH_TEST_COMMAND=1")
	p.Stderr = p.log
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.Wait() // some are killed on purpose
	}()
	w.t.Cleanup(func() {
		_ = p.Process.Signal(syscall.SIGTERM)
		<-p.exited
		if w.t.Failed() {
			w.t.Logf("%s:\n%s", name, p.log)
		}
	})
	return p
}

// companion is a running sidecar with its addresses.
type companion struct {
	*process
	town                   *town
	yaml                   string
	path                   string
	inbound, outbound, ops string
	client                 *http.Client // the application's: by way of the sidecar
}

// sidecar starts one beside app, or beside a TCP echo when app is nil, and waits until it serves.
func (w *town) sidecar(instance string, app http.HandlerFunc, more string) *companion {
	w.t.Helper()
	service, _, _ := strings.Cut(instance, "-")
	protocol := "http"
	if app == nil {
		protocol = "tcp"
	}
	socket := filepath.Join(w.dir, instance+".sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		w.t.Fatal(err)
	}
	if app != nil {
		server := &httptest.Server{Listener: l, Config: &http.Server{Handler: app}}
		server.Start()
		w.t.Cleanup(server.Close)
	} else {
		w.serveEcho(l)
	}
	s := &companion{town: w, inbound: freePort(w.t), outbound: freePort(w.t), ops: freePort(w.t), path: filepath.Join(w.dir, instance+".yaml")}
	s.yaml = fmt.Sprintf("service: %s\ninstance: %s\nops: %s\ncontrol: %s\nidentity: {socket: %s/id.sock}\n"+
		"inbound: {listen: %s, app: 'unix://%s', protocol: %s}\noutbound: {listen: %s, response_timeout: 2s}\n%s",
		service, instance, s.ops, w.control, w.dir, s.inbound, socket, protocol, s.outbound, more)
	s.process = w.start(instance, s.yaml)
	proxy, err := url.Parse("http://" + s.outbound)
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	w.t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	w.eventually(instance+" is ready", func() bool { return status("http://"+s.ops+"/readyz") == http.StatusOK })
	return s
}

func (w *town) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("not within 20 s: %s", what)
}

func status(url string) int {
	res, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// get asks a service by way of the sidecar.
func (s *companion) get(target string, header ...string) (int, string, http.Header) {
	req, err := http.NewRequest("GET", target, nil)
	if err != nil {
		s.town.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return res.StatusCode, string(raw), res.Header
}

func (s *companion) endpoints(service string) map[string]map[string]any {
	res, err := http.Get("http://" + s.ops + "/endpoints")
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var list []map[string]any
	if json.NewDecoder(res.Body).Decode(&list) != nil {
		return nil
	}
	out := map[string]map[string]any{}
	for _, e := range list {
		if e["service"] == service {
			out[e["instance"].(string)] = e
		}
	}
	return out
}

// knows waits until the sidecar has n endpoints of the service.
func (s *companion) knows(service string, n int) {
	s.town.t.Helper()
	s.town.eventually(fmt.Sprintf("%d endpoints of %s", n, service), func() bool { return len(s.endpoints(service)) == n })
}

func (s *companion) metrics() string {
	res, err := http.Get("http://" + s.ops + "/metrics")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	return string(raw)
}

func answering(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text) }
}

const trace = "0af7651916cd43dd8448eb211c80319c"

func TestARequestThroughTheMesh(t *testing.T) {
	w := newTown(t, "")
	var atPayment, atOrders http.Header
	payment := w.sidecar("payment-1", func(_ http.ResponseWriter, r *http.Request) { atPayment = r.Header.Clone() }, "")
	var orders *companion
	orders = w.sidecar("orders-1", func(rw http.ResponseWriter, r *http.Request) {
		atOrders = r.Header.Clone()
		var keep []string
		for _, name := range strings.Split(r.Header.Get("Keep"), ",") {
			if name != "" {
				keep = append(keep, name, r.Header.Get(name))
			}
		}
		code, _, _ := orders.get("http://payment/charge", keep...)
		rw.Header().Set("X-Weft-Cause", "an application's own word")
		rw.WriteHeader(code)
	}, "")
	cart := w.sidecar("cart-1", answering("cart"), "")
	cart.get("http://orders/")
	cart.knows("orders", 1)
	w.eventually("orders knows payment", func() bool { code, _, _ := orders.get("http://payment/"); return code == 200 })

	for _, test := range []struct {
		keep  string // what the application passes on
		whole bool   // whether payment gets the trace
	}{{"Traceparent,X-Request-Id", true}, {"Traceparent", true}, {"X-Request-Id", true}, {"Accept", false}} {
		code, _, header := cart.get("http://orders/buy", "Traceparent", "00-"+trace+"-b7ad6b7169203331-01", "X-Request-Id", "buy.1", "Keep", test.keep,
			"X-Weft-Attempt", "3")
		if code != 200 || header.Get("X-Request-Id") != "buy.1" || header.Get("X-Weft-Cause") != "" {
			t.Fatalf("%s kept: %d %v", test.keep, code, header)
		}
		if atOrders.Get("X-Request-Id") != "buy.1" || atOrders.Get("Traceparent")[3:35] != trace || atOrders.Get("X-Weft-Attempt") != "" ||
			atOrders.Get("X-Weft-Timeout-Ms") != "" {
			t.Fatalf("orders got %v", atOrders)
		}
		got := atPayment.Get("X-Request-Id") == "buy.1" && atPayment.Get("Traceparent")[3:35] == trace
		if got != test.whole {
			t.Errorf("with only %s kept, payment got %v", test.keep, atPayment)
		}
	}

	if code := status("http://" + payment.inbound + "/"); code == 200 {
		t.Error("payment answered without a mesh identity")
	}
	if code, body, _ := cart.get("http://nobody/"); code != 503 || !strings.Contains(body, "urn:weft:problem:no-endpoint") {
		t.Errorf("a service that nobody serves: %d %s", code, body)
	}
	for name, s := range map[string]*companion{"payment": payment, "orders": orders, "cart": cart} {
		t.Logf("%s: %d KiB resident", name, s.resident())
		if kib := s.resident(); kib > 40<<10 && !raceDetector() {
			t.Errorf("%s holds %d KiB", name, kib)
		}
	}
}

// raceDetector says whether this binary carries it: it doubles the memory.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// resident is the process' memory in KiB.
func (p *process) resident() int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	for _, line := range strings.Split(string(raw), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			n, _ := strconv.Atoi(fields[1])
			return n
		}
	}
	return 0
}

func TestTheFaultOfAnotherIsNotOnesOwn(t *testing.T) {
	database := freePort(t) // where nobody listens
	w := newTown(t, "services:\n  mysql: {protocol: tcp, endpoints: [{instance: mysql-1, address: '"+database+"'}]}\n")
	w.sidecar("payment-1", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }, "")
	var orders *companion
	orders = w.sidecar("orders-1", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/own" {
			orders.get("http://payment/charge", "Traceparent", r.Header.Get("Traceparent"))
		}
		rw.WriteHeader(500)
	}, "")
	sql := freePort(t)
	stock := w.sidecar("stock-1", func(rw http.ResponseWriter, _ *http.Request) {
		conn, err := net.Dial("tcp", sql)
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		if err != nil {
			rw.WriteHeader(500)
		}
	}, "tcp_routes: [{listen: '"+sql+"', service: mysql}]\n")
	stock.knows("mysql", 1)
	cart := w.sidecar("cart-1", answering("cart"), "retry: {attempts: 0, budget_percent: 20}\n")
	for _, target := range []string{"http://orders/own", "http://orders/buy", "http://stock/"} {
		w.eventually(target+" answers 500", func() bool { code, _, _ := cart.get(target); return code == 500 })
	}
	seen := cart.metrics()
	for _, want := range []string{
		`weft_endpoint="orders-1",weft_outcome="error"`, `weft_endpoint="orders-1",weft_outcome="downstream"`, `weft_endpoint="stock-1",weft_outcome="downstream"`,
	} {
		found := false
		for _, line := range strings.Split(seen, "\n") {
			found = found || strings.HasPrefix(line, "http_client_request_duration_seconds_count") && sameLabels(line, want)
		}
		if !found {
			t.Errorf("no %s in cart's metrics:\n%s", want, seen)
		}
	}
}

func sameLabels(line, want string) bool {
	for _, label := range strings.Split(want, ",") {
		if !strings.Contains(line, label) {
			return false
		}
	}
	return true
}

func TestInboundAllowIsReloaded(t *testing.T) {
	w := newTown(t, "")
	payment := w.sidecar("payment-1", answering("paid"), "")
	cart := w.sidecar("cart-1", answering("cart"), "")
	w.eventually("cart may call", func() bool { code, _, _ := cart.get("http://payment/"); return code == 200 })
	rewrite := func(yaml string) {
		t.Helper()
		if err := os.WriteFile(payment.path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = payment.Process.Signal(syscall.SIGHUP)
	}
	closed := strings.Replace(payment.yaml, "inbound: {", "inbound: {allow: [orders], ", 1)
	rewrite(closed)
	w.eventually("cart may not call", func() bool {
		code, body, _ := cart.get("http://payment/")
		return code == 403 && strings.Contains(body, "not-allowed")
	})
	rewrite(strings.Replace(closed, "allow: [orders]", "alow: []", 1)) // a bad file changes nothing
	rewrite(strings.Replace(payment.yaml, "inbound: {", "inbound: {allow: [cart], ", 1))
	w.eventually("cart may call again", func() bool { code, _, _ := cart.get("http://payment/"); return code == 200 })
}

// No GET may fail, whether an endpoint's sidecar is killed, its application dies, or it leaves in order.
func TestEndpointsThatGo(t *testing.T) {
	for name, strike := range map[string]func(s *companion, alive *atomic.Bool){
		"sidecar killed":   func(s *companion, _ *atomic.Bool) { _ = s.Process.Kill() },
		"sidecar leaves":   func(s *companion, _ *atomic.Bool) { _ = s.Process.Signal(syscall.SIGTERM) },
		"application dies": func(_ *companion, alive *atomic.Bool) { alive.Store(false) },
		"sidecar stopped":  func(s *companion, _ *atomic.Bool) { _ = s.Process.Signal(syscall.SIGSTOP) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, "")
			alive := atomic.Bool{}
			alive.Store(true)
			victim := w.sidecar("payment-1", func(rw http.ResponseWriter, _ *http.Request) {
				if !alive.Load() {
					panic(http.ErrAbortHandler)
				}
				time.Sleep(3 * time.Millisecond) // work
			}, "")
			w.sidecar("payment-2", answering("paid"), "")
			w.sidecar("payment-3", answering("paid"), "")
			cart := w.sidecar("cart-1", answering("cart"), "")
			cart.get("http://payment/")
			cart.knows("payment", 3)
			var failed sync.Map
			var clients sync.WaitGroup
			var requests atomic.Int64
			struck, stop := time.Now().Add(500*time.Millisecond), time.Now().Add(4*time.Second)
			for range 4 {
				clients.Go(func() {
					for time.Now().Before(stop) {
						requests.Add(1)
						if code, body, _ := cart.get("http://payment/"); code != 200 {
							failed.Store(fmt.Sprintf("%v after: %d %s", time.Since(struck), code, body), true)
						}
						time.Sleep(5 * time.Millisecond) // a rate, not a wait
					}
				})
			}
			time.Sleep(time.Until(struck))
			strike(victim, &alive)
			clients.Wait()
			_ = victim.Process.Signal(syscall.SIGCONT)
			failed.Range(func(what, _ any) bool { t.Errorf("GET failed %v", what); return true })
			t.Logf("%d requests; %v", requests.Load(), cart.endpoints("payment")["payment-1"])
			if name == "sidecar killed" || name == "sidecar leaves" {
				cart.knows("payment", 2)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sidecar.yaml")
	for yaml, want := range map[string]string{
		"service: a\ninstance: a-1\nidentity: {socket: /x}\ninbound: {app: '127.0.0.1:1'}\n":                                  "",
		"service: a\ninstance: a-1\nidentity: {socket: /x}\ninbound: {app: nowhere}\noutbound: {listen: '0.0.0.0:1'}\n":       "sidecar.yaml:4: inbound.app",
		"service: a\ninstance: a-1\nidentity: {socket: /x}\ninbound: {app: '127.0.0.1:1', aloow: []}\n":                       "sidecar.yaml:4: aloow: unknown key",
		"service: a\ninstance: a-1\nidentity: {socket: /x}\ninbound: {app: '127.0.0.1:1'}\noutbound: {listen: '0.0.0.0:1'}\n": "sidecar.yaml:5: outbound.listen",
	} {
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(os.Args[0], "sidecar", "check", "--config", path)
		command.Env = append(os.Environ(), "MESH_TEST_COMMAND=1")
		out, err := command.CombinedOutput()
		if (want == "") != (err == nil) || !strings.Contains(string(out), want) {
			t.Errorf("%s\nerror %v, output %s; want %q", yaml, err, out, want)
		}
	}
}

// serveEcho sends back what it gets, on every connection.
func (w *town) serveEcho(l net.Listener) {
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	w.t.Cleanup(func() { l.Close(); open.Wait() })
}

func TestATCPServiceInTheMesh(t *testing.T) {
	w := newTown(t, "")
	queue, front := w.sidecar("queue-1", nil, ""), freePort(t)
	cart := w.sidecar("cart-1", answering("cart"), "tcp_routes: [{listen: '"+front+"', service: queue}]\n")
	cart.knows("queue", 1)
	conn, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "hello")
	_ = conn.(*net.TCPConn).CloseWrite()
	if raw, err := io.ReadAll(conn); string(raw) != "hello" || err != nil {
		t.Fatalf("%q %v", raw, err)
	}
	plain, err := net.Dial("tcp", queue.inbound)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_ = plain.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(plain, "hello, without an identity")
	if raw, _ := io.ReadAll(plain); strings.Contains(string(raw), "hello") {
		t.Fatalf("%q without an identity", raw)
	}
}

func TestAWebSocketThroughTheMesh(t *testing.T) {
	w := newTown(t, "")
	w.sidecar("chat-1", func(rw http.ResponseWriter, _ *http.Request) {
		conn, both, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(both, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		both.Flush()
		_, _ = io.Copy(conn, both)
	}, "")
	cart := w.sidecar("cart-1", answering("cart"), "")
	cart.get("http://chat/")
	cart.knows("chat", 1)
	conn, err := net.Dial("tcp", cart.outbound)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	fmt.Fprint(conn, "frame\n")
	if line, err := in.ReadString('\n'); line != "frame\n" {
		t.Fatalf("%q %v", line, err)
	}
}

// When the last in a row hangs, each caller gives up in time to say so, and the blame stays with the one that hangs.
func TestWhoHangsIsBlamed(t *testing.T) {
	hung := make(chan struct{})
	w := newTown(t, "")
	w.sidecar("payment-1", func(http.ResponseWriter, *http.Request) { <-hung }, "")
	var orders *companion
	orders = w.sidecar("orders-1", func(rw http.ResponseWriter, r *http.Request) {
		code, _, _ := orders.get("http://payment/", "Traceparent", r.Header.Get("Traceparent"))
		rw.WriteHeader(max(code, 500))
	}, "")
	t.Cleanup(func() { close(hung) })
	cart := w.sidecar("cart-1", answering("cart"), "")
	cart.get("http://orders/")
	cart.knows("orders", 1)
	orders.knows("payment", 1)
	code, _, _ := cart.get("http://orders/", "Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	if code < 500 {
		t.Fatal(code)
	}
	if seen := orders.metrics(); !strings.Contains(seen, `weft_outcome="timeout"`) {
		t.Error("orders has not counted a timeout of payment")
	}
	if seen := cart.metrics(); strings.Contains(seen, `weft_outcome="timeout"`) || !strings.Contains(seen, `weft_outcome="downstream"`) {
		t.Errorf("cart blames orders:\n%s", seen)
	}
}
