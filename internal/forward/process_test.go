package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weft/internal/sample"
)

// serveAsProcess is an endpoint in a process of its own; it ends with its standard input.
func serveAsProcess() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Millisecond) // work, so that some requests are always in flight
			ok(w, r)
		}))
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func startProcess(t *testing.T) (address string, p *os.Process) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "FORWARD_TEST_ENDPOINT=1")
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGCONT)
		in.Close()
		_ = command.Wait() // killed on purpose in some tests
	})
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address), command.Process
}

// beyondBudget is how many GETs may fail while nothing trips: a third of them meet the dead endpoint then, and only a
// fifth may be tried again. Picks avoid it, so that a busy machine's is one or two.
const beyondBudget = 3

// TestASignalledEndpoint sends a real process a signal in the middle of traffic. With the breaker no GET may fail.
func TestASignalledEndpoint(t *testing.T) {
	for name, signal := range map[string]os.Signal{"kill -9": syscall.SIGKILL, "SIGSTOP": syscall.SIGSTOP} {
		for _, breaker := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, breaker %v", name, breaker), func(t *testing.T) {
				one, victim := startProcess(t)
				two, _ := startProcess(t)
				three, _ := startProcess(t)
				r := newRig(t, func(c *Config, route *Route) {
					c.Balance.Breaker.Enabled = breaker
					route.ResponseTimeout = 400 * time.Millisecond
				}, one, two, three)
				failed := traffic(t, r, func() { _ = victim.Signal(signal) })
				var outcomes sample.Counts
				for _, s := range r.table.Report(time.Now()).Samples {
					if s.Endpoint.Instance == "shop-1" {
						outcomes = s.FirstAttempts
					}
				}
				if breaker && failed != 0 || failed > beyondBudget {
					t.Errorf("%d GETs failed; the victim's outcomes: %v", failed, outcomes)
				}
				if outcomes.Failures() == 0 {
					t.Errorf("the victim's failures were not counted: %v", outcomes)
				}
			})
		}
	}
}

// traffic sends GETs from several clients for two seconds, calls strike after half a second, and counts the failures.
func traffic(t *testing.T, r *rig, strike func()) int64 {
	t.Helper()
	var failed atomic.Int64
	var clients sync.WaitGroup
	stop := time.Now().Add(2 * time.Second)
	for range 8 {
		clients.Go(func() {
			for time.Now().Before(stop) {
				res, err := r.client.Get(r.front.URL)
				if err != nil || res.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				time.Sleep(5 * time.Millisecond) // a rate, not a wait
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	strike()
	clients.Wait()
	return failed.Load()
}
