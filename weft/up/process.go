package up

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"weft/weft/up/plan"
)

// spawner starts children from one locked thread: the kernel's parent-death signal is sent when the *thread* that
// forked ends, and Go ends threads as it likes.
type spawner struct{ jobs chan spawnJob }

type spawnJob struct {
	cmd  *exec.Cmd
	done chan error
}

func newSpawner() *spawner { return &spawner{jobs: make(chan spawnJob)} }

// run blocks until stop is closed, and must outlive every child.
func (s *spawner) run(stop <-chan struct{}) {
	runtime.LockOSThread()
	for {
		select {
		case job := <-s.jobs:
			job.done <- job.cmd.Start()
		case <-stop:
			return
		}
	}
}

func (s *spawner) start(cmd *exec.Cmd) error {
	done := make(chan error)
	s.jobs <- spawnJob{cmd, done}
	return <-done
}

// process is one child, alive or not. It is started again by making a new one.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // why it ended; valid once exited is closed
}

// launch starts the part's program with its output appended to a log file of its own.
func (s *spawner) launch(part *plan.Part) (*process, error) {
	log, err := os.OpenFile(part.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", part.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(part.Program, part.Args...)
	cmd.Env = append(os.Environ(), part.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own keeps a Ctrl-C in the terminal from reaching the children before weft up stops them in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := s.start(cmd); err != nil {
		return nil, fmt.Errorf("%s: %w", part.Name, err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() { // ends with the child, which never outlives us
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop asks, then insists. A stopped (SIGSTOP) child cannot act on SIGTERM before it is continued.
func (p *process) stop(grace time.Duration) {
	if !p.alive() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-p.exited:
	case <-time.After(grace):
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// stopAll stops processes at the same time and waits for every one.
func stopAll(processes []*process, grace time.Duration) {
	var wg sync.WaitGroup
	for _, p := range processes {
		wg.Go(func() { p.stop(grace) })
	}
	wg.Wait()
}

// await polls ready until it is nil, the part has ended, or ctx has.
func await(ctx context.Context, part *plan.Part, p *process) error {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		err := part.Ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s: died at start (%v): %s", part.Name, p.err, lastWords(part.Log))
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready: %w; its log is %s", part.Name, err, part.Log)
		case <-pause.C:
		}
	}
}

// lastWords are the final lines of a log, for the one-line error about a child that died.
func lastWords(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	words := strings.TrimSpace(string(lines[len(lines)-1]))
	if len(words) > 400 {
		words = words[:400] + "…"
	}
	return words
}
