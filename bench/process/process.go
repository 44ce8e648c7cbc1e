package process

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Program is what to run.
type Program struct {
	Name  string // in tables and errors
	Path  string
	Args  []string
	Env   []string // beside the caller's
	Data  string   // its folder, whose size is measured; the caller makes it
	Log   string   // a file that its output is appended to
	Ready string   // a URL that answers 200 when it can serve, or tcp://host:port that can be connected to

	OTLP   string // as load.Config.Endpoint
	HTTP   string // our query API, host:port; may be empty
	Ops    string // our ops port, host:port; may be empty
	Lookup string // the URL of a trace, with %s for its ID in hex; may be empty
}

// Process is one run of a program.
type Process struct {
	Program
	PID     int
	Started time.Time
	cmd     *exec.Cmd
	log     *os.File
	exited  chan struct{}
	ready   time.Duration // what AwaitReady has found; 0 before
}

// Start runs the program. It dies with its parent: a benchmark that is interrupted leaves nothing behind.
func Start(p Program) (*Process, error) {
	log, err := os.OpenFile(p.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	run := &Process{Program: p, PID: cmd.Process.Pid, Started: time.Now(), cmd: cmd, log: log, exited: make(chan struct{})}
	go func() { // ends with the process; Kill and Stop wait for it
		defer close(run.exited)
		_ = cmd.Wait()
		_ = log.Close()
	}()
	return run, nil
}

// AwaitReady polls until the program can serve, and says how long after its start that was.
func (p *Process) AwaitReady(ctx context.Context) (time.Duration, error) {
	client := http.Client{Timeout: 2 * time.Second}
	for p.ready == 0 {
		if answers(&client, p.Program.Ready) {
			p.ready = time.Since(p.Started)
			break
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s is not ready: %w; its log ends with:\n%s", p.Name, ctx.Err(), p.Tail())
		case <-p.exited:
			return 0, fmt.Errorf("%s ended by itself (%v); its log ends with:\n%s", p.Name, p.cmd.ProcessState, p.Tail())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return p.ready, nil
}

func answers(client *http.Client, url string) bool {
	if address, tcp := strings.CutPrefix(url, "tcp://"); tcp {
		conn, err := net.DialTimeout("tcp", address, client.Timeout)
		return err == nil && conn.Close() == nil
	}
	answer, err := client.Get(url)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// Tail is the end of the program's log.
func (p *Process) Tail() string {
	raw, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// Alive says whether it still runs.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Kill ends it as kill -9 does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Stop asks it to end, and kills it after a minute.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return nil
	case <-time.After(time.Minute):
		p.Kill()
		return fmt.Errorf("%s did not end within a minute of SIGTERM", p.Name)
	}
}
