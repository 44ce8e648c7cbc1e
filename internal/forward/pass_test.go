package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"weft/internal/sample"
)

func TestWebSocketUpgradePasses(t *testing.T) {
	r := newRig(t, nil, endpoint(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Upgrade") != "websocket" {
			w.WriteHeader(400)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		rw.Flush()
		_, _ = io.Copy(conn, rw)
	}))
	conn, err := net.Dial("tcp", r.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	for i := range 3 {
		fmt.Fprintf(conn, "frame %d\n", i)
		if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("frame %d\n", i) {
			t.Fatalf("%q %v", line, err)
		}
	}
	if a := r.recorded(1)[0]; a.Outcome != sample.OK || a.Status != 101 {
		t.Fatalf("attempt %+v", a) // counted while the connection is still open
	}
}

func TestStreamsArriveAsTheyAreSent(t *testing.T) {
	next := make(chan struct{})
	r := newRig(t, nil, endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Trailer", "X-Sum")
		for i := range 3 {
			fmt.Fprintf(w, "event %d\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
		w.Header().Set("X-Sum", "3")
	}))
	res, err := r.client.Get(r.front.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for i := range 3 {
		if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("event %d\n", i) {
			t.Fatalf("%q %v", line, err)
		}
		next <- struct{}{}
	}
	if _, err := in.ReadByte(); err != io.EOF || res.Trailer.Get("X-Sum") != "3" {
		t.Fatalf("%v, trailer %v", err, res.Trailer)
	}
	r.recorded(1)
}

func http2Client() *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: p}, Timeout: 20 * time.Second}
}

func TestHTTP2Passes(t *testing.T) {
	r := newRig(t, nil, endpoint(t, func(w http.ResponseWriter, q *http.Request) {
		fmt.Fprintf(w, "endpoint saw HTTP/%d", q.ProtoMajor)
	}))
	c := http2Client()
	defer c.CloseIdleConnections()
	res, err := c.Get(r.front.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	if res.ProtoMajor != 2 || string(raw) != "endpoint saw HTTP/1" {
		t.Fatalf("HTTP/%d, %s", res.ProtoMajor, raw)
	}
}

// A gRPC-like exchange: both directions at once over HTTP/2, with trailers, to an endpoint in clear text.
func TestBidirectionalHTTP2(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		in := bufio.NewReader(q.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			fmt.Fprintf(w, "echo %s", line)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("Grpc-Status", "0")
	})}
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	r := newRig(t, nil, l.Addr().String())
	c := http2Client()
	defer c.CloseIdleConnections()
	read, write := io.Pipe()
	req, _ := http.NewRequest("POST", r.front.URL, read)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	go fmt.Fprint(write, "0\n")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for i := range 3 {
		if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("echo %d\n", i) {
			t.Fatalf("%q %v", line, err)
		}
		if i < 2 {
			fmt.Fprintf(write, "%d\n", i+1)
		}
	}
	write.Close()
	if _, err := in.ReadByte(); err != io.EOF || res.Trailer.Get("Grpc-Status") != "0" {
		t.Fatalf("%v, trailer %v", err, res.Trailer)
	}
}

func BenchmarkForward(b *testing.B) {
	r := newBenchRig(b)
	defer r.stop()
	b.ReportAllocs()
	for b.Loop() {
		r.request(b)
	}
}
