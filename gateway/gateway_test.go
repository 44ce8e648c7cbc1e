package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"weft/internal/forward"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

// shop is a service behind the gateway: it says what it saw, and misbehaves on request.
func shop(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "the-service-s-own")
		w.Header().Set("X-Weft-Cause", "orders/orders-1")
		seen := map[string]any{"path": r.URL.Path, "raw": r.URL.EscapedPath(), "host": r.Host, "query": r.URL.RawQuery, "header": r.Header}
		_ = json.NewEncoder(w).Encode(seen)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/pause", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-time.After(300 * time.Millisecond)
		_, _ = io.WriteString(w, "whole")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		_ = control.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintln(w, lines.Text())
			_ = control.Flush()
		}
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			kind, message, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(kind, bytes.ToUpper(message)) != nil {
				return
			}
		}
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// running is a gateway with its file.
type running struct {
	*Gateway
	t    *testing.T
	file string
	stop func()
}

const head = `
listen: 127.0.0.1:0
ops: 127.0.0.1:0
`

func start(t *testing.T, yaml string) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	r := &running{t: t, file: file}
	r.write(yaml)
	g, err := New(file)
	if err != nil {
		t.Fatal(err)
	}
	r.Gateway = g
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

func (r *running) write(yaml string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(yaml), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// shopYAML routes everything under / to the shop, and some paths more specifically.
func shopYAML(address string) string {
	return head + `
services:
  shop: {endpoints: [{instance: shop-1, address: ` + address + `}]}
  gone: {endpoints: [{instance: gone-1, address: 127.0.0.1:1}]}
  empty: {endpoints: []}
routes:
- {name: all, path_prefix: /, service: shop, response_timeout: 5s}
- {name: item, path: "/api/items/{id}", methods: [GET], service: shop}
- {name: slow, path: /slow, service: shop, response_timeout: 100ms}
- {name: gone, path: /gone, service: gone}
- {name: empty, path: /empty, service: empty}
- {name: strip, path_prefix: /stripped/here, strip_prefix: /stripped, service: shop}
`
}

func client(t *testing.T, transport *http.Transport) *http.Client {
	t.Helper()
	if transport == nil {
		transport = &http.Transport{}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func do(t *testing.T, c *http.Client, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if request.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			request.Host = header[i+1]
		}
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestCarries(t *testing.T) {
	g := start(t, shopYAML(shop(t)))
	c := client(t, nil)
	base := "http://" + g.Addr()
	response, body := do(t, c, "GET", base+"/api/items/7%2F8?q=1", "X-Request-Id", "mine", "X-Forwarded-For", "6.6.6.6",
		"X-Weft-Attempt", "3", "Tracestate", "a=b", "Baggage", "a=b", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	id := response.Header.Get("X-Request-Id")
	if response.StatusCode != 200 || len(id) != 32 || len(response.Header.Values("X-Request-Id")) != 1 || response.Header.Get("X-Weft-Cause") != "" {
		t.Fatalf("%s %v", response.Status, response.Header)
	}
	var seen struct {
		Path, Raw, Query, Host string
		Header                 http.Header
	}
	if err := json.Unmarshal([]byte(body), &seen); err != nil {
		t.Fatal(err)
	}
	parent := seen.Header.Get("Traceparent")
	if seen.Raw != "/api/items/7%2F8" || seen.Query != "q=1" || seen.Host != g.Addr() || seen.Header.Get("X-Request-Id") != id ||
		!strings.HasPrefix(parent, "00-"+id+"-") || !strings.HasSuffix(parent, "-01") {
		t.Fatalf("the service saw %+v", seen)
	}
	for _, name := range []string{"Tracestate", "Baggage", "X-Weft-Attempt"} {
		if v := seen.Header.Get(name); v != "" {
			t.Fatalf("the service saw %s: %s", name, v)
		}
	}
	if v := seen.Header.Get("X-Forwarded-For"); v != "127.0.0.1" {
		t.Fatalf("X-Forwarded-For %q", v)
	}
	for path, want := range map[string]string{
		"/stripped/here": "/here", "/stripped/here/a%2Fb/": "/here/a%2Fb/", "//stripped//here/x": "/here/x", "/any/thing": "/any/thing",
	} {
		if _, body = do(t, c, "GET", base+path); !strings.Contains(body, `"raw":"`+want+`"`) {
			t.Fatalf("%s: the service saw %s, want %s", path, body, want)
		}
	}
}

func TestProblems(t *testing.T) {
	yaml := strings.Replace(shopYAML(shop(t)), "path_prefix: /,", "path_prefix: /open,", 1)
	g := start(t, yaml)
	c := client(t, nil)
	for name, test := range map[string]struct {
		method, path string
		status       int
		kind         string
		allow        string
	}{
		"no route":    {"GET", "/nowhere", 404, "no-route", ""},
		"method":      {"POST", "/api/items/7", 405, "method-not-allowed", "GET, HEAD"},
		"dots":        {"GET", "/open/%2e%2e/api", 400, "bad-path", ""},
		"backslash":   {"GET", "/open/%5c..", 400, "bad-path", ""},
		"no endpoint": {"GET", "/empty", 503, "no-endpoint", ""},
		"refused":     {"POST", "/gone", 502, "connect-failure", ""},
		"timeout":     {"POST", "/slow", 504, "timeout", ""},
		"odd method":  {"FROB", "/nowhere", 404, "no-route", ""},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := do(t, c, test.method, "http://"+g.Addr()+test.path)
			var p forward.Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%s %s: %v", response.Status, body, err)
			}
			if response.StatusCode != test.status || p.Status != test.status || p.Type != forward.ProblemType(test.kind) ||
				response.Header.Get("Allow") != test.allow || response.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%s %v %+v", response.Status, response.Header, p)
			}
			if id := response.Header.Get("X-Request-Id"); id == "" || p.RequestID != id {
				t.Fatalf("request ID %q in the header, %q in the body", id, p.RequestID)
			}
		})
	}
}

func TestWebSocket(t *testing.T) {
	g := start(t, shopYAML(shop(t)))
	conn, response, err := websocket.DefaultDialer.Dial("ws://"+g.Addr()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if response.Header.Get("X-Request-Id") == "" {
		t.Fatalf("header %v", response.Header)
	}
	for _, message := range []string{"hello", "again"} {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.ReadMessage(); err != nil || string(got) != strings.ToUpper(message) {
			t.Fatalf("%q %v", got, err)
		}
	}
	// An open upgrade does not keep the gateway from stopping.
	g.stop()
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Fatal("the connection outlived the gateway")
	}
}

func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"}, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pemCert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, content := range map[string][]byte{cert: pemCert, key: pemKey} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pemCert)
	return cert, key, pool
}

// What a request comes in as, and a body that flows both ways at once, pass in every protocol.
func TestProtocolsAndStreams(t *testing.T) {
	address := shop(t)
	cert, key, pool := certificate(t)
	plain := start(t, shopYAML(address))
	secure := start(t, shopYAML(address)+"tls: {cert: "+cert+", key: "+key+"}\n")
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	for name, test := range map[string]struct {
		base      string
		transport *http.Transport
		proto     string
	}{
		"HTTP/1.1":          {"http://" + plain.Addr(), &http.Transport{}, "HTTP/1.1"},
		"h2c":               {"http://" + plain.Addr(), &http.Transport{Protocols: h2c}, "HTTP/2.0"},
		"HTTP/1.1 over TLS": {"https://" + secure.Addr(), &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, "HTTP/1.1"},
		"h2":                {"https://" + secure.Addr(), &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}, "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, test.transport)
			var hints textproto.MIMEHeader
			trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error { hints = header; return nil }}
			request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", test.base+"/hints", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := c.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.Proto != test.proto || response.StatusCode != http.StatusTeapot || hints.Get("Link") == "" {
				t.Fatalf("%s %s, hints %v", response.Proto, response.Status, hints)
			}
			stream(t, c, test.base)
		})
	}
}

// stream writes a line, reads it back, and only then writes the next.
func stream(t *testing.T, c *http.Client, base string) {
	t.Helper()
	reader, writer := io.Pipe()
	defer time.AfterFunc(10*time.Second, func() { _ = writer.CloseWithError(os.ErrDeadlineExceeded) }).Stop()
	request, err := http.NewRequest("POST", base+"/echo", reader)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	back := bufio.NewScanner(response.Body)
	for i := range 3 {
		if _, err := fmt.Fprintf(writer, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
		if !back.Scan() || back.Text() != fmt.Sprintf("line %d", i) {
			t.Fatalf("%q %v", back.Text(), back.Err())
		}
	}
	_ = writer.Close()
	if back.Scan() {
		t.Fatalf("more: %q", back.Text())
	}
}

// A response that breaks off must reach the client as broken, never as whole.
func TestBrokenResponse(t *testing.T) {
	g := start(t, shopYAML(shop(t)))
	response, err := client(t, nil).Get("http://" + g.Addr() + "/broken")
	if err != nil {
		return // cut before the header was sent
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Fatalf("whole: %q", body)
	}
}

func TestDrain(t *testing.T) {
	g := start(t, shopYAML(shop(t)))
	response, err := client(t, nil).Get("http://" + g.Addr() + "/pause") // its header is there, its body is not
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	g.stop()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "whole" {
		t.Fatalf("%q %v", body, err)
	}
	if conn, err := net.Dial("tcp", g.Addr()); err == nil {
		_ = conn.Close()
		t.Fatal("still listening")
	}
}

func TestReload(t *testing.T) {
	address := shop(t)
	g := start(t, shopYAML(address))
	c := client(t, nil)
	status := func(path string) int {
		response, _ := do(t, c, "GET", "http://"+g.Addr()+path)
		return response.StatusCode
	}
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+g.Addr()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g.write(strings.Replace(shopYAML(address), "path_prefix: /,", "path_prefix: /elsewhere,", 1))
	eventually(t, "the new routes", func() bool { return status("/x") == 404 && status("/elsewhere/x") == 200 })
	if err := conn.WriteMessage(websocket.TextMessage, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.ReadMessage(); err != nil || string(got) != "STILL HERE" {
		t.Fatalf("an open stream did not live on: %q %v", got, err)
	}
	for name, bad := range map[string]string{
		"unknown key":   shopYAML(address) + "rotes: []\n",
		"two the same":  shopYAML(address) + `- {name: again, path: "/api/items/{other}", methods: [GET], service: shop}` + "\n",
		"needs restart": strings.Replace(shopYAML(address), "listen: 127.0.0.1:0", "listen: 127.0.0.1:1", 1),
	} {
		g.write(bad)
		if err := g.tryReload(); err == nil {
			t.Fatalf("%s: reloaded", name)
		}
		if status("/elsewhere/x") != 200 {
			t.Fatalf("%s: the old routes are gone", name)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestOpsPort(t *testing.T) {
	g := start(t, shopYAML(shop(t)))
	c := client(t, nil)
	do(t, c, "GET", "http://"+g.Addr()+"/api/items/7")
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/endpoints": `"instance": "shop-1"`,
		"/metrics": `http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/api/items/{id}"`,
	} {
		if response, body := do(t, c, "GET", "http://"+g.OpsAddr()+path); response.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
}

func TestAPIKeysAtTheGateway(t *testing.T) {
	g := start(t, shopYAML(shop(t))+`- {name: door, path: /door, service: shop, auth: {api_keys: [{name: ci, key: s3cret}]}}`+"\n")
	c := client(t, nil)
	for key, want := range map[string]int{"": 401, "wrong": 401, "s3cret": 200} {
		for _, path := range []string{"/door", "//door"} {
			header := []string{}
			if key != "" {
				header = []string{"X-Api-Key", key}
			}
			response, body := do(t, c, "GET", "http://"+g.Addr()+path, header...)
			if response.StatusCode != want || strings.Contains(body, "s3cret") {
				t.Errorf("key %q at %s: %s %s", key, path, response.Status, body)
			}
		}
	}
}

func TestCheckNamesTheFault(t *testing.T) {
	for name, test := range map[string]struct{ yaml, want string }{
		"unknown key":     {"lisen: x\n", "gateway.yaml:1: lisen: unknown key"},
		"control alone":   {"control: 127.0.0.1:7071\n", "identity: is required"},
		"listen":          {"listen: nowhere\n", "gateway.yaml:1: listen: want HOST:PORT"},
		"hops":            {"trusted_hops: [10.0.0.1]\n", "trusted_hops[0]: \"10.0.0.1\" is not a CIDR"},
		"no service":      {"routes:\n- {name: a, path: /a}\n", "gateway.yaml:2: routes[0].service"},
		"two paths":       {"routes:\n- {name: a, path: /a, path_prefix: /b, service: s}\n", "either path or path_prefix"},
		"pattern":         {"routes:\n- {name: a, path: \"/a{id}\", service: s}\n", "a parameter is a whole segment"},
		"rest not last":   {"routes:\n- {name: a, path: \"/{a...}/b\", service: s}\n", "is not at the end"},
		"same name":       {"routes:\n- {name: a, path: /a, service: s}\n- {name: a, path: /b, service: s}\n", "gateway.yaml:3: routes[1].name"},
		"same requests":   {"routes:\n- {name: a, path: \"/{x}\", service: s}\n- {name: b, path: \"/{y}\", service: s}\n", "takes the same requests as route \"a\""},
		"strip":           {"routes:\n- {name: a, path: /apiary, strip_prefix: /api, service: s}\n", "strip_prefix"},
		"method":          {"routes:\n- {name: a, path: /a, methods: [get], service: s}\n", "routes[0].methods[0]"},
		"jwks":            {"routes:\n- {name: a, path: /a, service: s, auth: {jwt: {jwks_url: nope}}}\n", "routes[0].auth.jwt.jwks_url"},
		"key":             {"routes:\n- {name: a, path: /a, service: s, auth: {api_keys: [{name: ci}]}}\n", "routes[0].auth.api_keys[0]"},
		"host":            {"routes:\n- {name: a, path: /a, service: s, host: \"a b\"}\n", "routes[0].host"},
		"tls half":        {"tls: {cert: a.pem}\n", "tls: needs both"},
		"breaker":         {"breaker: {consecutive_failures: 0}\n", "breaker.consecutive_failures"},
		"retry":           {"retry: {attempts: 9}\n", "retry.attempts"},
		"service address": {"services: {a: {endpoints: [{instance: a-1, address: nope}]}}\n", "services.a.endpoints[0].address"},
		"whole":           {shopYAML("127.0.0.1:1"), ""},
		"empty":           {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "gateway.yaml")
			if err := os.WriteFile(file, []byte(test.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Check(file)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestAPortInUseIsAnError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	for _, key := range []string{"listen", "ops"} {
		yaml := strings.Replace(head, key+": 127.0.0.1:0", key+": "+listener.Addr().String(), 1)
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(file); err == nil || !strings.Contains(err.Error(), key+":") || !strings.Contains(err.Error(), "in use") {
			t.Fatalf("%s: error %v", key, err)
		}
	}
}
