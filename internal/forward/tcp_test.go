package forward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/internal/endpoints"
	"weft/internal/sample"
)

// tcpFront carries connections to service "shop".
func tcpFront(t *testing.T, r *rig) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { r.forward.ServeTCP(ctx, conn, &Route{Service: "shop", ConnectTimeout: time.Second}) })
		}
	})
	t.Cleanup(func() { stop(); l.Close(); open.Wait() })
	return l.Addr().String()
}

func echo(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			fmt.Fprint(conn, "bye\n")
			return
		}
		fmt.Fprint(conn, line)
	}
}

func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func counts(r *rig, instance string) (first, retries sample.Counts) {
	for _, s := range r.table.Report(time.Now()).Samples {
		if s.Endpoint.Instance == instance {
			return s.FirstAttempts, s.Retries
		}
	}
	return first, retries
}

func TestTCPPassesBothWaysAndHalfCloses(t *testing.T) {
	r := newRig(t, nil, broken(t, echo))
	conn := dialTCP(t, tcpFront(t, r))
	fmt.Fprint(conn, "hello\n")
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q %v", line, err)
	}
	_ = conn.CloseWrite()
	if rest, err := io.ReadAll(in); string(rest) != "bye\n" || err != nil {
		t.Fatalf("%q %v", rest, err)
	}
	if first, _ := counts(r, "shop-1"); first != (sample.Counts{sample.OK: 1}) {
		t.Fatalf("counts %v", first)
	}
	eventually(t, func() bool { return r.table.View(time.Now())[0].InFlight == 0 })
}

func TestTCPConnectsElsewhere(t *testing.T) {
	r := newRig(t, nil, refuses(t), broken(t, echo))
	front := tcpFront(t, r)
	for range 50 {
		conn := dialTCP(t, front)
		fmt.Fprint(conn, "hello\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\n" {
			t.Fatalf("%q %v", line, err)
		}
		conn.Close()
	}
	first, _ := counts(r, "shop-1")
	_, retries := counts(r, "shop-2")
	if n := first[sample.ConnectFailure]; n == 0 || n != retries[sample.OK] {
		t.Fatalf("%d connect failures, %d retries", n, retries[sample.OK])
	}
}

func TestTCPFailures(t *testing.T) {
	tests := map[string]struct {
		endpoint func(*testing.T) string
		client   func(*testing.T, *net.TCPConn)
		want     sample.Counts
	}{
		"nobody there": {refuses,
			func(t *testing.T, c *net.TCPConn) {
				if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("%v: the service must not take this for an orderly end", err)
				}
			}, sample.Counts{sample.ConnectFailure: 1}},
		"reset in mid-stream": {
			func(t *testing.T) string {
				return broken(t, func(c net.Conn) {
					_, _ = c.Read(make([]byte, 5))
					_ = c.(*net.TCPConn).SetLinger(0)
				})
			},
			func(t *testing.T, c *net.TCPConn) {
				fmt.Fprint(c, "query")
				if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("%v: the service must not take this for an orderly end", err)
				}
			}, sample.Counts{sample.OK: 1, sample.Error: 1}},
		"no answer until the service gives up": {
			func(t *testing.T) string { return broken(t, hangs) },
			func(t *testing.T, c *net.TCPConn) {
				fmt.Fprint(c, "query")
				_ = c.SetReadDeadline(time.Now().Add(unansweredFor + 100*time.Millisecond)) // the service's own timeout
				_, _ = c.Read(make([]byte, 1))
				c.Close()
			}, sample.Counts{sample.OK: 1, sample.Timeout: 1}},
		"a last word and a close are no failure": {
			func(t *testing.T) string { return broken(t, hangs) },
			func(t *testing.T, c *net.TCPConn) { fmt.Fprint(c, "QUIT"); c.Close() },
			sample.Counts{sample.OK: 1}},
		"the endpoint closes in order": {
			func(t *testing.T) string { return broken(t, func(net.Conn) {}) },
			func(t *testing.T, c *net.TCPConn) {
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
				c.Close()
			}, sample.Counts{sample.OK: 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, test.endpoint(t))
			// A reset may come before the dial is over; that is a failure the service sees, too.
			if conn, err := net.Dial("tcp", tcpFront(t, r)); err == nil {
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				test.client(t, conn.(*net.TCPConn))
				conn.Close()
			} else if !errors.Is(err, syscall.ECONNRESET) {
				t.Fatal(err)
			}
			eventually(t, func() bool {
				first, _ := counts(r, "shop-1")
				return first.Total() >= test.want.Total() && r.table.View(time.Now())[0].InFlight == 0
			})
			if first, _ := counts(r, "shop-1"); first != test.want {
				t.Fatalf("counts %v, want %v", first, test.want)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if blamed := len(r.calls) > 0 && r.calls[0].Cause == "shop/shop-1"; blamed != (test.want.Failures() > 0) {
				t.Fatalf("blamed: %v, calls %+v", blamed, r.calls)
			}
		})
	}
}

func TestTCPEndsWithItsContext(t *testing.T) {
	r := newRig(t, nil, broken(t, hangs))
	ctx, stop := context.WithCancel(context.Background())
	near, far := net.Pipe()
	defer near.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.forward.ServeTCP(ctx, far, &Route{Service: "shop", ConnectTimeout: time.Second})
	}()
	eventually(t, func() bool { return r.table.View(time.Now())[0].InFlight == 1 })
	stop()
	<-done
	if l := r.table.View(time.Now())[0]; l.LocalBreaker != "closed" || l.State != sample.Healthy || l.Source != endpoints.SourceDefault {
		t.Fatalf("%+v", l)
	}
}
