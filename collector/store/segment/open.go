package segment

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"weft/collector/store/key"
	"weft/collector/store/segment/manifest"
	"weft/internal/wal"
)

// Open opens or creates the log in cfg.Dir, and indexes the log files that are not sealed.
func Open[F File](cfg Config, form Form[F]) (*Log[F], error) {
	cfg = cfg.withDefaults()
	l := &Log[F]{cfg: cfg, form: form, full: make(chan struct{}, 1)}
	var err error
	l.wal, err = wal.Open(wal.Config{
		Dir: cfg.Dir, FileBytes: cfg.FileBytes, MaxRecord: cfg.MaxRecord + stampLen, Reserve: cfg.Reserve,
		Durability: cfg.Durability, FS: cfg.FS, OnDamage: l.noteDamage,
	})
	if err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open segments in %s: %w", cfg.Dir, err), l.Close())
	}
	return l, nil
}

// noteDamage remembers which log file is harmed: what could be read of it is sealed, and the file is set aside.
func (l *Log[F]) noteDamage(d wal.Damage) {
	slog.Error("store: damaged range stepped over", "file", d.File, "offset", d.Offset, "bytes", d.Length)
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.parts {
		if p.path == d.File {
			p.mu.Lock()
			p.harmed = true
			p.mu.Unlock()
		}
	}
}

func (l *Log[F]) load() error {
	names, err := l.names()
	if err != nil {
		return err
	}
	l.manifest, err = manifest.Read(l.cfg.FS, l.cfg.Dir)
	if errors.Is(err, manifest.ErrNone) {
		err = l.recoverManifest(names)
	}
	if err != nil {
		return err
	}
	for _, e := range l.manifest.Segments {
		if missing := l.missing(e, names); missing != "" {
			l.warn("a segment's file is missing; what it held is lost", "dir", l.cfg.Dir, "file", missing, "rows", e.Rows)
			l.counts.damaged.Add(1)
			continue
		}
		l.segments = append(l.segments, newSegment(l, e))
	}
	if err := l.sweep(names); err != nil {
		return err
	}
	return l.indexParts()
}

// names is every file in the folder.
func (l *Log[F]) names() (map[string]bool, error) {
	entries, err := l.cfg.FS.ReadDir(l.cfg.Dir)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(entries))
	for _, e := range entries {
		if !e.IsDir() {
			names[e.Name()] = true
		}
	}
	return names, nil
}

func (l *Log[F]) missing(e manifest.Entry, names map[string]bool) string {
	for _, extension := range l.form.Extensions {
		if !names[e.Name()+extension] && extension == l.form.Extensions[0] {
			return e.Name() + extension // the others can be made anew from the first
		}
	}
	return ""
}

// recoverManifest makes the manifest from the segments' files when there is none that checks. Of two that hold the same
// log files the later made counts; a log file is sealed when a segment that can be opened holds it.
func (l *Log[F]) recoverManifest(names map[string]bool) error {
	var found []manifest.Entry
	for name := range names {
		e, ok := manifest.Parse(name)
		if !ok || !strings.HasSuffix(name, l.form.Extensions[0]) {
			continue
		}
		l.manifest.Generation = max(l.manifest.Generation, e.Generation)
		summary, err := l.summary(e)
		if err != nil {
			l.warn("a segment cannot be opened; it stays where it is", "file", name, "error", err)
			continue
		}
		e.Summary = summary
		found = append(found, e)
	}
	if len(found) == 0 {
		return nil
	}
	for _, e := range found {
		if !slices.ContainsFunc(found, e.SupersededBy) {
			l.manifest.Segments = append(l.manifest.Segments, e)
			l.manifest.Sealed = max(l.manifest.Sealed, e.To)
		}
	}
	slices.SortFunc(l.manifest.Segments, manifest.Older)
	l.warn("the manifest was missing or damaged; made anew from the segments", "dir", l.cfg.Dir, "segments", len(l.manifest.Segments))
	return l.manifest.Write(l.cfg.FS, l.cfg.Dir)
}

func (l *Log[F]) summary(e manifest.Entry) (manifest.Summary, error) {
	f, err := l.form.Open(l.base(e))
	if err != nil {
		return manifest.Summary{}, err
	}
	return l.form.Summary(f), f.Close()
}

// base is the path of a segment's files without their extension.
func (l *Log[F]) base(e manifest.Entry) string { return filepath.Join(l.cfg.Dir, e.Name()) }

// sweep removes what a crash left: files being written, segments that the manifest does not list.
func (l *Log[F]) sweep(names map[string]bool) error {
	listed := map[string]bool{}
	for _, e := range l.manifest.Segments {
		listed[e.Name()] = true
	}
	var faults []error
	for name := range names {
		_, isSegment := manifest.Parse(name)
		stem, _, _ := strings.Cut(name, ".")
		if strings.HasSuffix(name, ".tmp") || isSegment && !listed[stem] {
			faults = append(faults, removeFile(l.cfg.FS, filepath.Join(l.cfg.Dir, name)))
		}
	}
	return errors.Join(faults...)
}

// indexParts makes the index of every log file that is not sealed, of as many at once as there are processors.
func (l *Log[F]) indexParts() error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range l.wal.Files() {
		if f.Number <= l.manifest.Sealed {
			continue
		}
		p := &part{number: f.Number, path: f.Path, index: key.NewTable()}
		l.mu.Lock()
		l.parts = append(l.parts, p)
		l.mu.Unlock()
		group.Go(func() error { return l.indexPart(p) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if end := l.wal.End(); end.File <= l.manifest.Sealed {
		// The file that was written when the last one was sealed has vanished: a loss of power can do that. Nothing may
		// be appended to a file that counts as sealed.
		l.manifest.Sealed = end.File - 1
		if end.Offset > 0 {
			l.manifest.Sealed = end.File
			return l.wal.Rotate()
		}
		return l.manifest.Write(l.cfg.FS, l.cfg.Dir)
	}
	return nil
}

func (l *Log[F]) indexPart(p *part) error {
	var keys []key.Key
	return l.wal.Replay(wal.Position{File: p.number}, func(at wal.Position, record []byte) error {
		if at.File != p.number {
			return wal.ErrStop
		}
		received, batch, err := split(record)
		items := 0
		if err == nil {
			keys = keys[:0]
			items, err = l.form.Keys(batch, func(k key.Key) { keys = append(keys, k) })
		}
		if err != nil { // its checksum was right, so it came like this; its neighbours still count
			l.counts.damaged.Add(1)
			return nil
		}
		p.index.Add(compact(keys), uint32(at.Offset))
		p.add(received, items)
		l.counts.recovered.Add(uint64(items))
		return nil
	})
}
