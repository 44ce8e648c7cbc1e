package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"weft/internal/sample"
	"weft/mesh/control/atomicfile"
	"weft/mesh/control/bell"
	"weft/mesh/control/registry"
	"weft/mesh/control/steer"
)

// saved is registry.json: what a restarted control goes on with, so that it never tells proxies of an emptied mesh nor
// sends traffic to what is ejected.
type saved struct {
	At        time.Time           `json:"at"`
	Endpoints []registry.Endpoint `json:"endpoints"`
	Term      uint64              `json:"term"`
	Version   uint64              `json:"version"`
	TTL       time.Duration       `json:"ttl_ns"`
	Verdicts  []savedVerdict      `json:"verdicts"`
}

// savedVerdict leaves out the evidence: the collector has it.
type savedVerdict struct {
	Key      sample.Key `json:"key"`
	State    uint8      `json:"state"`
	Weight   int        `json:"weight"`
	Version  uint64     `json:"version"`
	Enforced bool       `json:"enforced"`
	Since    time.Time  `json:"since"`
}

const savePause = 250 * time.Millisecond // between two saves, when much changes

// keeper writes registry.json after every change.
type keeper struct {
	path     string
	changed  bell.Bell
	snapshot func() saved
}

// Run saves until ctx ends, and once more then: before the streams are closed, so the leases are still there.
func (k *keeper) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return k.save()
		case <-k.changed:
			if err := k.save(); err != nil { // goes on: proxies are served from memory
				slog.ErrorContext(ctx, "registry not saved", "error", err)
			}
			pause := time.NewTimer(savePause)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
		}
	}
}

func (k *keeper) save() error {
	raw, err := json.MarshalIndent(k.snapshot(), "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(k.path, raw, 0o600)
}

// load is empty for a first start.
func (k *keeper) load() (saved, error) {
	raw, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return saved{}, nil
	}
	if err != nil {
		return saved{}, err
	}
	s, err := parseSaved(raw)
	if err != nil {
		return saved{}, fmt.Errorf("%s: %w (remove it to start with an empty registry)", k.path, err)
	}
	return s, nil
}

func parseSaved(raw []byte) (saved, error) {
	var s saved
	if err := json.Unmarshal(raw, &s); err != nil {
		return saved{}, err
	}
	for _, e := range s.Endpoints {
		if err := address("address of "+e.Key.String(), e.Address); err != nil {
			return saved{}, err
		}
	}
	return s, nil
}

func newSaved(now time.Time, endpoints []registry.Endpoint, v steer.View) saved {
	s := saved{At: now, Endpoints: []registry.Endpoint{}, Verdicts: []savedVerdict{}}
	for _, e := range endpoints {
		if !e.Static {
			s.Endpoints = append(s.Endpoints, e)
		}
	}
	if !v.Live {
		return s
	}
	s.Term, s.Version, s.TTL = v.Term, v.Version, v.TTL
	for key, j := range v.Verdicts {
		s.Verdicts = append(s.Verdicts, savedVerdict{key, uint8(j.State), j.Weight, j.Version, j.Enforced, j.Since})
	}
	return s
}

// verdicts are those of the file, unless it is too old to say anything about now.
func (s saved) verdicts(now time.Time) (steer.View, bool) {
	if s.Term == 0 || now.Sub(s.At) > longestVerdictAge || now.Before(s.At) {
		return steer.View{}, false
	}
	out := steer.View{Term: s.Term, Version: s.Version, TTL: max(0, min(s.TTL, steer.LongestTTL)), Verdicts: map[sample.Key]steer.Judged{}}
	for _, v := range s.Verdicts {
		out.Verdicts[v.Key] = steer.Judged{Term: s.Term, Verdict: sample.Verdict{
			Endpoint: v.Key, State: sample.State(v.State & 3), Weight: v.Weight, Version: v.Version, Enforced: v.Enforced, Since: v.Since,
		}}
	}
	return out, true
}

const longestVerdictAge = 10 * time.Minute
