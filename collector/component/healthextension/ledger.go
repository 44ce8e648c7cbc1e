package healthextension

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"weft/internal/sample"
	"weft/internal/wire"
)

// ledger is the file that outlives the process: the lease term, and the verdicts that are not healthy.
type ledger struct {
	path string
	term uint64
}

// openLedger reads what an earlier process left and begins a new term: the time in nanoseconds, or one more than the
// last when the clock went back. The term is on disk before anyone hears of it.
func openLedger(folder string, now time.Time) (*ledger, []sample.Verdict, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, nil, err
	}
	l := &ledger{path: filepath.Join(folder, "verdicts.json")}
	raw, err := os.ReadFile(l.path)
	var last wire.VerdictUpdate
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, nil, err
	default:
		if err := protojson.Unmarshal(raw, &last); err != nil {
			return nil, nil, fmt.Errorf("%s: %w (remove it to start without the earlier verdicts)", l.path, err)
		}
	}
	l.term = max(uint64(now.UnixNano()), last.GetTerm()+1)
	var left []sample.Verdict
	for _, v := range last.GetVerdicts() {
		left = append(left, sample.VerdictFromWire(v))
	}
	return l, left, l.save(left)
}

// save replaces the file; a crash at any moment leaves the old content or the new.
func (l *ledger) save(verdicts []sample.Verdict) error {
	content := &wire.VerdictUpdate{Term: l.term, Full: true}
	for _, v := range verdicts {
		if v.State != sample.Healthy {
			content.Verdicts = append(content.Verdicts, v.ToWire())
		}
	}
	raw, err := protojson.MarshalOptions{Multiline: true}.Marshal(content)
	if err != nil {
		return err
	}
	return replaceFile(l.path, raw)
}

func replaceFile(path string, content []byte) error {
	temporary := path + ".tmp"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
