package wal

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// FS is the part of a file system that logs use, small so that tests can make every call of it fail.
type FS interface {
	OpenFile(name string, flag int) (File, error)
	ReadDir(dir string) ([]fs.DirEntry, error)
	MkdirAll(dir string) error
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
	Free(dir string) (free, total uint64, err error) // bytes
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error // data and the size, not the times
	Size() (int64, error)
}

// Prefetcher is a File that can be told what will be read soon, so that the disk fetches many pieces at once. It is a hint.
type Prefetcher interface {
	Prefetch(off, n int64)
}

// OS is the operating system's file system. Files are readable by their owner alone: telemetry holds what users sent.
type OS struct{}

func (OS) OpenFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }
func (OS) MkdirAll(dir string) error                 { return os.MkdirAll(dir, 0o700) }
func (OS) Rename(from, to string) error              { return os.Rename(from, to) }
func (OS) Remove(name string) error                  { return os.Remove(name) }

// SyncDir makes renames and new files in dir survive a crash of the machine.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (OS) Free(dir string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Prefetch tells the kernel.
func (f osFile) Prefetch(off, n int64) {
	if conn, err := f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, n, unix.FADV_WILLNEED) }) // it is only a hint
	}
}

func (f osFile) Sync() error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	if err := conn.Control(func(fd uintptr) {
		for {
			if syncErr = syscall.Fdatasync(int(fd)); syncErr != syscall.EINTR {
				return
			}
		}
	}); err != nil {
		return err
	}
	return syncErr
}
