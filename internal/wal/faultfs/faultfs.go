// Package faultfs is a wal.FS that fails where a test tells it to: at the n-th change, by a crash, by a power cut that
// loses what was not synced, or by a full disk.
package faultfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"weft/internal/wal"
)

// ErrCrashed is what every change answers after a crash: the process that made it is no more.
var ErrCrashed = errors.New("faultfs: crashed")

// FS counts the changes (writes, truncations, syncs, new files and folders, renames, removals) made through it and fails
// one of them. Files live in the system below.
type FS struct {
	wal.FS

	mu      sync.Mutex
	changes int
	failAt  int   // 0 never; else the number of the change that fails, from 1
	failBy  error // what it fails with; nil = it crashes
	crashed bool
	full    bool
	zeros   bool
	space   func() (free, total uint64)
	synced  map[string]int64 // bytes of each file written through us that would survive a power cut
	undo    []dirChange      // not yet synced, oldest first
}

type dirChange struct {
	dir    string
	revert func()
}

// New wraps the operating system's file system.
func New() *FS { return &FS{FS: wal.OS{}, synced: map[string]int64{}} }

// CrashAt makes the n-th change from now on half done (a write) or not done, and every later one fail.
func (f *FS) CrashAt(n int) { f.set(n, nil) }

// FailAt makes the n-th change from now on answer err; a write is half done before it fails. Others succeed.
func (f *FS) FailAt(n int, err error) { f.set(n, err) }

func (f *FS) set(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes, f.failAt, f.failBy = 0, n, err
}

// Changes counts the changes since the last CrashAt or FailAt.
func (f *FS) Changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// Crashed says whether the crash point was reached.
func (f *FS) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// Space sets what Free answers.
func (f *FS) Space(space func() (free, total uint64)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.space = space
}

// Free answers what Space said, or the disk's own.
func (f *FS) Free(dir string) (uint64, uint64, error) {
	f.mu.Lock()
	space := f.space
	f.mu.Unlock()
	if space == nil {
		return f.FS.Free(dir)
	}
	free, total := space()
	return free, total, nil
}

// Fill makes the disk full, or gives it room again. While it is full nothing that takes space succeeds: writes are half
// done at best, and no file is made. Removals and truncations work.
func (f *FS) Fill(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

// KeepZeros makes a power cut leave zeros where bytes were not synced, as file systems do that write the size first.
func (f *FS) KeepZeros() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.zeros = true
}

// PowerCut crashes and takes back everything that no sync has made durable: bytes, names that came and names that went.
func (f *FS) PowerCut() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
	for i := len(f.undo) - 1; i >= 0; i-- {
		f.undo[i].revert()
	}
	f.undo = nil
	var faults []error
	for name, size := range f.synced {
		if info, err := os.Stat(name); err == nil && info.Size() > size {
			faults = append(faults, os.Truncate(name, size))
			if f.zeros {
				faults = append(faults, os.Truncate(name, info.Size()))
			}
		}
	}
	return errors.Join(faults...)
}

// change accounts for one change; the error says that it must not happen. fails is true for the one that only half
// happens.
func (f *FS) change() (fails bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return false, ErrCrashed
	}
	f.changes++
	if f.changes != f.failAt {
		return false, nil
	}
	if f.failBy != nil {
		return true, f.failBy
	}
	f.crashed = true
	return true, ErrCrashed
}

// grow is change for what takes space.
func (f *FS) grow() (fails bool, err error) {
	f.mu.Lock()
	full := f.full && !f.crashed
	f.mu.Unlock()
	if full {
		return true, ErrNoSpace
	}
	return f.change()
}

// MkdirAll counts as one change when it makes a folder.
func (f *FS) MkdirAll(dir string) error {
	var made []string // outermost last
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		made = append(made, at)
	}
	if len(made) == 0 {
		return nil
	}
	if _, err := f.grow(); err != nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range made {
		f.undo = append(f.undo, dirChange{filepath.Dir(at), func() { os.RemoveAll(at) }})
	}
	return f.FS.MkdirAll(dir)
}

// OpenFile counts as a change when it makes a file.
func (f *FS) OpenFile(name string, flag int) (wal.File, error) {
	_, statErr := os.Stat(name)
	creates := flag&os.O_CREATE != 0 && errors.Is(statErr, fs.ErrNotExist)
	if creates {
		if _, err := f.grow(); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	file, err := f.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	if creates {
		f.synced[name] = 0
		f.undo = append(f.undo, dirChange{filepath.Dir(name), func() { os.Remove(name) }})
	} else if _, known := f.synced[name]; !known {
		size, _ := file.Size()
		f.synced[name] = size
	}
	f.mu.Unlock()
	return &handle{File: file, fs: f, name: name}, nil
}

func (f *FS) Rename(from, to string) error {
	if _, err := f.change(); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	if err := f.FS.Rename(from, to); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced[to] = f.synced[from]
	delete(f.synced, from)
	f.undo = append(f.undo, dirChange{filepath.Dir(to), func() {
		os.Rename(to, from) //nolint:errcheck // nothing to revert when it is gone
		f.synced[from] = f.synced[to]
		delete(f.synced, to)
	}})
	return nil
}

func (f *FS) Remove(name string) error {
	if _, err := f.change(); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	was, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := f.FS.Remove(name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	size, known := f.synced[name]
	if !known {
		size = int64(len(was)) // it was there before us
	}
	delete(f.synced, name)
	f.undo = append(f.undo, dirChange{filepath.Dir(name), func() {
		if os.WriteFile(name, was, 0o600) == nil {
			f.synced[name] = size
		}
	}})
	return nil
}

func (f *FS) SyncDir(dir string) error {
	if _, err := f.change(); err != nil {
		return &fs.PathError{Op: "sync", Path: dir, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.undo[:0]
	for _, c := range f.undo {
		if c.dir != filepath.Clean(dir) {
			kept = append(kept, c)
		}
	}
	f.undo = kept
	return nil // tests are about order, not about this machine's disk
}

type handle struct {
	wal.File
	fs   *FS
	name string
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	fails, err := h.fs.grow()
	if err == nil {
		return h.File.WriteAt(p, off)
	}
	n := 0
	if fails {
		n, _ = h.File.WriteAt(p[:len(p)/2], off)
	}
	return n, &fs.PathError{Op: "write", Path: h.name, Err: err}
}

func (h *handle) Truncate(size int64) error {
	if _, err := h.fs.change(); err != nil {
		return &fs.PathError{Op: "truncate", Path: h.name, Err: err}
	}
	h.fs.mu.Lock()
	h.fs.synced[h.name] = min(h.fs.synced[h.name], size)
	h.fs.mu.Unlock()
	return h.File.Truncate(size)
}

// Sync makes the file's bytes survive a power cut; it asks nothing of the disk below, so tests are fast.
func (h *handle) Sync() error {
	if _, err := h.fs.change(); err != nil {
		return &fs.PathError{Op: "sync", Path: h.name, Err: err}
	}
	size, err := h.File.Size()
	if err != nil {
		return err
	}
	h.fs.mu.Lock()
	h.fs.synced[h.name] = size
	h.fs.mu.Unlock()
	return nil
}

// ErrNoSpace is what a full disk answers.
var ErrNoSpace error = syscall.ENOSPC
