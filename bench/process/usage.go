package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on every architecture that Go runs on with Linux.
const tick = 10 * time.Millisecond

// CPU is the user and system time that a process has spent, all its threads together (proc(5), utime and stime).
func CPU(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])) // a name may contain spaces
	const utime, stime = 14 - 3, 15 - 3                                     // the first field here is the third
	if len(fields) <= stime {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// OwnCPU is what this process has spent.
func OwnCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Memory is the resident memory of a process and the most that it has been, in bytes.
func Memory(pid int) (now, most int64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			now = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			most = kib << 10
		}
	}
	return now, most, nil
}

// Disk is what the files under a folder take, in bytes of allocated blocks, in all and by the folder they are in.
func Disk(folder string) (total int64, parts map[string]int64, err error) {
	parts = map[string]int64{}
	err = eachFile(folder, func(path string, size int64) error {
		relative, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		total += size
		parts[filepath.Dir(relative)] += size
		return nil
	})
	return total, parts, err
}

// Sealed is what the Parquet files under a folder take.
func Sealed(folder string) (total int64, err error) {
	err = eachFile(folder, func(path string, size int64) error {
		if filepath.Ext(path) == ".parquet" {
			total += size
		}
		return nil
	})
	return total, err
}

// eachFile skips what is sealed, dropped or renamed while it walks.
func eachFile(folder string, each func(path string, size int64) error) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		size := info.Size()
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			size = stat.Blocks * 512
		}
		return each(path, size)
	})
}

// Sample is one look at a process.
type Sample struct {
	At       time.Time
	CPU      time.Duration
	Resident int64
}

// Watch looks at a process once a second until ctx ends or the process does.
func Watch(ctx context.Context, pid int, each func(Sample)) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		cpu, err := CPU(pid)
		if err != nil {
			return
		}
		now, _, err := Memory(pid)
		if err != nil {
			return
		}
		each(Sample{time.Now(), cpu, now})
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Slope is how fast resident memory grows, in bytes a minute: least squares over all samples.
func Slope(samples []Sample) float64 {
	if len(samples) < 2 {
		return 0
	}
	var n, sx, sy, sxx, sxy float64
	for _, s := range samples {
		x, y := s.At.Sub(samples[0].At).Minutes(), float64(s.Resident)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}
