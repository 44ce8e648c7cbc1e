package segment

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"weft/collector/store/key"
	"weft/collector/store/segment/manifest"
	"weft/internal/wal"
)

// A test's batch is its number, then its keys, then bytes to fill it up. A test's segment is a checksum, then those
// batches as JSON: the real form has tests of its own, here it is the log's turn.
type batch struct {
	number uint32
	keys   []key.Key
	fill   int
}

func (b batch) encode() []byte {
	raw := binary.LittleEndian.AppendUint32(nil, b.number)
	raw = binary.LittleEndian.AppendUint32(raw, uint32(len(b.keys)))
	for _, k := range b.keys {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(k))
	}
	return append(raw, make([]byte, b.fill)...)
}

func numberOf(raw []byte) uint32 { return binary.LittleEndian.Uint32(raw) }

func testKeys(raw []byte, add func(key.Key)) (int, error) {
	if len(raw) < 8 {
		return 0, errors.New("short batch")
	}
	for i := range binary.LittleEndian.Uint32(raw[4:]) {
		add(key.Key(binary.LittleEndian.Uint64(raw[8+8*i:])))
	}
	return 1, nil
}

type testFile struct {
	batches []Batch
	summary manifest.Summary
}

func (f testFile) Close() error { return nil }

const testExtension = ".seg"

func testForm(fs wal.FS) Form[testFile] {
	if fs == nil {
		fs = wal.OS{}
	}
	f := forms{fs}
	return Form[testFile]{
		Extensions: []string{testExtension}, Keys: testKeys, Seal: f.write, Open: f.open,
		Summary: func(f testFile) manifest.Summary { return f.summary },
		Join: func(_ context.Context, base string, files []testFile) (manifest.Summary, error) {
			return f.write(base, all(files))
		},
		Keep: func(_ context.Context, base string, files []testFile, worth Worth) (manifest.Summary, error) {
			return f.write(base, slices.DeleteFunc(all(files), func(b Batch) bool { return !slices.Contains(worth.Pinned, fmt.Sprint(numberOf(b.Raw))) }))
		},
		Without: func(_ context.Context, base string, file testFile, id string) (manifest.Summary, error) {
			return f.write(base, slices.DeleteFunc(slices.Clone(file.batches), func(b Batch) bool { return fmt.Sprint(numberOf(b.Raw)) == id }))
		},
		Salvage: func(_ context.Context, base string, file testFile) (manifest.Summary, error) {
			return f.write(base, file.batches)
		},
		Check:  func(_ context.Context, base string) error { _, err := f.open(base); return err },
		Repair: func(context.Context, string) error { return errors.New("nothing can be made anew") },
	}
}

func all(files []testFile) (out []Batch) {
	for _, f := range files {
		out = append(out, f.batches...)
	}
	return out
}

type forms struct{ fs wal.FS }

func (f forms) write(base string, batches []Batch) (s manifest.Summary, err error) {
	if len(batches) == 0 {
		return s, nil
	}
	s = manifest.Summary{Rows: int64(len(batches)), FirstReceived: batches[0].Received, LastReceived: batches[0].Received}
	for _, b := range batches {
		s.FirstReceived, s.LastReceived = min(s.FirstReceived, b.Received), max(s.LastReceived, b.Received)
	}
	body, err := json.Marshal(batches)
	if err != nil {
		return s, err
	}
	raw := append(fmt.Appendf(nil, "%08x", crc32.ChecksumIEEE(body)), body...)
	s.Bytes = int64(len(raw))
	file, err := f.fs.OpenFile(base+testExtension+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return s, err
	}
	_, err = file.WriteAt(raw, 0)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return s, err
	}
	return s, f.fs.Rename(base+testExtension+".tmp", base+testExtension)
}

func (f forms) open(base string) (file testFile, err error) {
	raw, err := os.ReadFile(base + testExtension)
	if err != nil {
		return file, err
	}
	if len(raw) < 8 {
		return file, errors.New("short segment")
	}
	sum, err := strconv.ParseUint(string(raw[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.ChecksumIEEE(raw[8:]) {
		return file, errors.New("segment does not check")
	}
	err = json.Unmarshal(raw[8:], &file.batches)
	file.summary = manifest.Summary{Rows: int64(len(file.batches)), Bytes: int64(len(raw))}
	for i, b := range file.batches {
		if s := &file.summary; i == 0 {
			s.FirstReceived, s.LastReceived = b.Received, b.Received
		} else {
			s.FirstReceived, s.LastReceived = min(s.FirstReceived, b.Received), max(s.LastReceived, b.Received)
		}
	}
	return file, err
}

func open(t rapid.TB, cfg Config) *Log[testFile] {
	t.Helper()
	l, err := Open(cfg, testForm(cfg.FS))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func add(l *Log[testFile], b batch) error {
	return l.Append(context.Background(), b.encode(), slices.Clone(b.keys), 1)
}

// found is the numbers of the batches with this key, in order.
func found(t rapid.TB, l *Log[testFile], k key.Key) (out []uint32) {
	t.Helper()
	view := l.View()
	defer view.Release()
	take := func(raw []byte) {
		match := false
		_, _ = testKeys(raw, func(have key.Key) { match = match || have == k })
		if match {
			out = append(out, numberOf(raw))
		}
	}
	err := view.EachBatch(ctx, k, func(_ time.Time, raw []byte) error { take(raw); return nil })
	err = errors.Join(err, view.EachSegment(ctx, nil, func(f testFile) error {
		for _, b := range f.batches {
			take(b.Raw)
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// held is the numbers of all batches, in order.
func held(t rapid.TB, l *Log[testFile]) (out []uint32) {
	t.Helper()
	view := l.View()
	defer view.Release()
	err := view.EachUnsealed(ctx, func(_ time.Time, raw []byte) error { out = append(out, numberOf(raw)); return nil })
	err = errors.Join(err, view.EachSegment(ctx, nil, func(f testFile) error {
		for _, b := range f.batches {
			out = append(out, numberOf(b.Raw))
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}
