package sealed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/collector/signal"
	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

// sealThrough writes and publishes a file through fs.
func sealThrough(fs wal.FS, path string, batches []Batch) error {
	if _, err := WriteSpans(fs, path, batches, Options{}); err != nil {
		return err
	}
	return Publish(fs, path)
}

// whole says that a file is there with all its rows, or not at all; an index alone does not count.
func whole(t *testing.T, path string, rows int) bool {
	t.Helper()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return false
	}
	f, err := Open(wal.OS{}, path, testCache)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if int(f.Rows) != rows {
		t.Fatalf("%d rows, want %d", f.Rows, rows)
	}
	if err := Check(context.Background(), wal.OS{}, path); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestAFileIsThereWholeOrNotAtAll(t *testing.T) {
	batches := manySpans(700)
	counted := faultfs.New()
	if err := sealThrough(counted, filepath.Join(t.TempDir(), "a.parquet"), batches); err != nil {
		t.Fatal(err)
	}
	for n := range counted.Changes() {
		for _, power := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "a.parquet")
			fs := faultfs.New()
			fs.CrashAt(n + 1)
			if err := sealThrough(fs, path, batches); err == nil {
				t.Fatalf("change %d of %d: no error", n+1, counted.Changes())
			}
			if power {
				if err := fs.PowerCut(); err != nil {
					t.Fatal(err)
				}
			}
			whole(t, path, 700)
			if err := sealThrough(faultfs.New(), path, batches); err != nil { // after the restart
				t.Fatal(err)
			}
			if !whole(t, path, 700) {
				t.Fatal("it is not there")
			}
		}
	}
}

func TestAFullDiskLeavesNothing(t *testing.T) {
	batches := manySpans(700)
	for _, fault := range []error{faultfs.ErrNoSpace, errors.New("input/output error")} {
		for n := 1; ; n++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.parquet")
			fs := faultfs.New()
			fs.FailAt(n, fault)
			_, err := WriteSpans(fs, path, batches, Options{})
			if err == nil {
				break
			}
			if !errors.Is(err, fault) {
				t.Fatal(err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Fatalf("change %d: %v left behind, %v", n, left, err)
			}
		}
	}
}

// flip changes a byte of a file.
func flip(t testing.TB, path string, at int64) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 0x41
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedPageCostsItsRowsOnly(t *testing.T) {
	batches := manySpans(9000)
	f, _ := sealSpans(t, t.TempDir(), batches)
	defer f.Close()
	want, _ := modelSpans(t, batches)
	size := f.data.Size()
	for at := int64(4); at < size-60_000; at += size / 12 {
		copied := filepath.Join(t.TempDir(), "a.parquet")
		for from, to := range map[string]string{f.Path(): copied, IndexPath(f.Path()): IndexPath(copied)} {
			raw, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		flip(t, copied, at)
		checkDamaged(t, copied, want)
	}
}

func checkDamaged(t *testing.T, path string, want []signal.Span) {
	t.Helper()
	if err := Check(context.Background(), wal.OS{}, path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Fatalf("check: %v", err)
	}
	f, err := Open(wal.OS{}, path, NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, lost := 0, int64(0)
	for i := range want {
		if i > 0 && want[i].TraceID == want[i-1].TraceID {
			continue
		}
		read, err := f.SpansOf(context.Background(), want[i].TraceID, func(s *signal.Span) bool { found++; return true })
		if err != nil {
			t.Fatal(err)
		}
		lost += read.Damaged
	}
	if found == 0 && lost == 0 || found < len(want) && lost == 0 {
		t.Errorf("%d of %d spans found, %d counted as lost", found, len(want), lost)
	}
	// Only the rows of one page are gone, or of a column's row group if it was a dictionary.
	if found+int(lost) > len(want) || found == len(want) && lost > 0 {
		t.Errorf("%d found, %d lost, of %d", found, lost, len(want))
	}
}

func TestADamagedIndexSaysSo(t *testing.T) {
	f, _ := sealSpans(t, t.TempDir(), manySpans(3000))
	path := f.Path()
	f.Close()
	raw, err := os.ReadFile(IndexPath(path))
	if err != nil {
		t.Fatal(err)
	}
	for at := range raw {
		if at%97 != 0 {
			continue
		}
		flip(t, IndexPath(path), int64(at))
		if err := Check(context.Background(), wal.OS{}, path); !errors.Is(err, ErrIndex) && !padding(raw, at) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if err := os.WriteFile(IndexPath(path), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flip(t, IndexPath(path), 20)
	if damaged, err := RebuildIndex(wal.OS{}, path); err != nil || damaged != 0 {
		t.Fatal(damaged, err)
	}
	if err := Check(context.Background(), wal.OS{}, path); err != nil {
		t.Error(err)
	}
}

// padding says whether a byte lies between the parts of an index, where nothing is.
func padding(raw []byte, at int) bool { return raw[at] == 0 && at < 8192 }

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	file, _ := sealSpans(f, dir, manySpans(300))
	file.Close()
	rows, err := os.ReadFile(file.Path())
	if err != nil {
		f.Fatal(err)
	}
	ids, err := os.ReadFile(IndexPath(file.Path()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{1}, false, uint32(0))
	f.Add(uint32(len(rows)-20), []byte("x"), false, uint32(0))
	f.Add(uint32(9), []byte{255, 255}, true, uint32(100))
	f.Fuzz(func(t *testing.T, at uint32, bytes []byte, inIndex bool, cut uint32) {
		path := filepath.Join(t.TempDir(), "a.parquet")
		a, b := append([]byte{}, rows...), append([]byte{}, ids...)
		into := &a
		if inIndex {
			into = &b
		}
		copy((*into)[int(at)%len(*into):], bytes)
		*into = (*into)[:len(*into)-int(cut)%len(*into)]
		if err := errors.Join(os.WriteFile(path, a, 0o600), os.WriteFile(IndexPath(path), b, 0o600)); err != nil {
			t.Fatal(err)
		}
		readAll(t, path)
		_, _ = RebuildIndex(wal.OS{}, path)
		readAll(t, path)
	})
}

// readAll reads what can be read; damage must be an error that names the file.
func readAll(t *testing.T, path string) {
	_ = Check(context.Background(), wal.OS{}, path)
	f, err := Open(wal.OS{}, path, NewCache(1<<16))
	if err != nil {
		if !strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Fatalf("which file? %v", err)
		}
		return
	}
	defer f.Close()
	_, _ = f.SpansOf(context.Background(), manyTrace(3), func(*signal.Span) bool { return true })
	c, _ := queryAll.Compile()
	_, _ = f.ScanSpans(context.Background(), c, func(*signal.Span) bool { return true })
}
