package up

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/weft/up/plan"
)

const (
	startTimeout = 90 * time.Second
	stopGrace    = 5 * time.Second
	// maxRestartPause bounds the back-off of a part that keeps dying.
	maxRestartPause = 10 * time.Second
)

// Run starts everything, prints what there is to open, and blocks until ctx ends or a part dies at start. Nothing it
// started is alive when it returns.
func Run(ctx context.Context, options plan.Options, out io.Writer) error {
	began := time.Now()
	unlock, err := claim(options.Data)
	if err != nil {
		return err
	}
	defer unlock()
	run, err := os.MkdirTemp("", "weft-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(run)
	layout, err := plan.New(options, run)
	if err != nil {
		return err
	}
	fleet := newFleet(layout.Parts)
	threadStop := make(chan struct{})
	var thread sync.WaitGroup
	thread.Go(func() { fleet.spawner.run(threadStop) })
	defer thread.Wait()
	defer close(threadStop)
	defer fleet.stopAll()

	server, err := listen(fleet, layout)
	if err != nil {
		return err
	}
	defer server.close()
	if err := fleet.start(ctx); err != nil {
		return err
	}
	if err := firstAnswer(ctx, layout); err != nil {
		return err
	}
	printTable(out, layout, time.Since(began))
	return fleet.supervise(ctx)
}

// claim makes the data folder and holds it against a second weft up.
func claim(data string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Join(data, "logs"), 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", data, err)
	}
	path := filepath.Join(data, "up.lock")
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", data, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("data folder %s is in use by another weft up; stop it, or choose another with --data", data)
	}
	return func() { lock.Close() }, nil
}

// fleet is every part with its process.
type fleet struct {
	spawner *spawner
	members []*member
}

// member is a part and the process that plays it now.
type member struct {
	part    *plan.Part
	mu      sync.Mutex
	process *process
	// held down on purpose: by weft stop, or by weft demo break --kill.
	held bool
}

func newFleet(parts []*plan.Part) *fleet {
	f := &fleet{spawner: newSpawner()}
	for _, part := range parts {
		f.members = append(f.members, &member{part: part})
	}
	return f
}

func (f *fleet) find(name string) *member {
	for _, m := range f.members {
		if m.part.Name == name {
			return m
		}
	}
	return nil
}

// start brings the phases up in order; within a phase everything starts at once.
func (f *fleet) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for phase := plan.First; phase < plan.Phases; phase++ {
		group, ctx := errgroup.WithContext(ctx)
		for _, m := range f.members {
			if m.part.Phase == phase {
				group.Go(func() error { return f.bringUp(ctx, m) })
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// bringUp starts a part, unless it is up, and waits until it is ready.
func (f *fleet) bringUp(ctx context.Context, m *member) error {
	m.mu.Lock()
	m.held = false
	p := m.process
	if p == nil || !p.alive() {
		if m.part.Prepare != nil {
			if err := m.part.Prepare(); err != nil {
				m.mu.Unlock()
				return err
			}
		}
		started, err := f.spawner.launch(m.part)
		if err != nil {
			m.mu.Unlock()
			return err
		}
		m.process, p = started, started
	}
	m.mu.Unlock()
	return await(ctx, m.part, p)
}

// takeDown stops a part and keeps it down until it is brought up again. Zero grace is kill -9.
func (m *member) takeDown(grace time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || !m.process.alive() {
		m.held = true
		return fmt.Errorf("%s is not running", m.part.Name)
	}
	m.held = true
	if grace == 0 {
		m.process.kill()
	} else {
		m.process.stop(grace)
	}
	return nil
}

func (m *member) pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || !m.process.alive() {
		return 0
	}
	return m.process.pid()
}

// supervise starts Weft's own parts again when they die by themselves.
func (f *fleet) supervise(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range f.members {
		if m.part.Supervised {
			group.Go(func() error { f.keepUp(ctx, m); return nil })
		}
	}
	return group.Wait()
}

func (f *fleet) keepUp(ctx context.Context, m *member) {
	pause := time.Second
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if m.wanted() {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if m.wanted() {
			continue
		}
		attempt, cancel := context.WithTimeout(ctx, startTimeout)
		if f.bringUp(attempt, m) == nil {
			pause = time.Second
		} else {
			pause = min(2*pause, maxRestartPause)
		}
		cancel()
	}
}

// wanted is whether the part is as it should be: alive, or held down on purpose.
func (m *member) wanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held || (m.process != nil && m.process.alive())
}

// stopAll stops the phases in reverse, so that services finish what they are doing before their proxies go, and the
// collector is there for their last words.
func (f *fleet) stopAll() {
	for _, names := range f.stopOrder() {
		var processes []*process
		for _, m := range names {
			m.mu.Lock()
			m.held = true
			if m.process != nil {
				processes = append(processes, m.process)
			}
			m.mu.Unlock()
		}
		stopAll(processes, stopGrace)
	}
}

func (f *fleet) stopOrder() [][]*member {
	groups := make([][]*member, 5)
	for _, m := range f.members {
		switch {
		case m.part.Phase >= plan.Third:
			groups[0] = append(groups[0], m)
		case !m.part.Supervised || m.part.Name == "gateway":
			groups[1] = append(groups[1], m)
		case m.part.Name == "collector":
			groups[3] = append(groups[3], m)
		case m.part.Phase == plan.First:
			groups[4] = append(groups[4], m)
		default:
			groups[2] = append(groups[2], m)
		}
	}
	return slices.DeleteFunc(groups, func(g []*member) bool { return len(g) == 0 })
}
