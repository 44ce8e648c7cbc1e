package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DropCache asks the kernel to forget the cached pages of every file under a folder, and says how many bytes it kept
// nevertheless, of how many: pages that a process has mapped and read stay.
func DropCache(folder string) (kept, size int64, err error) {
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !entry.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) { // it was sealed or dropped while we walked
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		// Only pages that are on disk can be forgotten.
		if err := errors.Join(file.Sync(), unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
			return err
		}
		in, of, err := cached(file)
		kept, size = kept+in, size+of
		return err
	})
	return kept, size, err
}

// cached is how much of a file is in the page cache (mincore(2)).
func cached(file *os.File) (in, of int64, err error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return 0, 0, err
	}
	mapped, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, 0, err
	}
	page := os.Getpagesize()
	pages := make([]byte, (len(mapped)+page-1)/page)
	if _, _, no := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)), uintptr(unsafe.Pointer(&pages[0]))); no != 0 {
		err = no
	}
	for _, p := range pages {
		in += int64(p&1) * int64(page)
	}
	return in, info.Size(), errors.Join(err, unix.Munmap(mapped))
}
