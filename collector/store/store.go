// Package store is the collector's three stores as one Set: spans, log records and metrics under one folder.
package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/collector/store/logstore"
	"weft/collector/store/metricstore"
	"weft/collector/store/pins"
	"weft/collector/store/segment"
	"weft/collector/store/segment/retention"
	"weft/collector/store/tracestore"
	"weft/internal/config"
	"weft/internal/wal"
)

// ErrFull is a refusal for want of space, by any of the stores: push back, the sender is to come again.
var ErrFull = wal.ErrFull

// ErrTooLarge is a refusal for ever: the batch exceeds what one record may hold.
var ErrTooLarge = wal.ErrTooLarge

// Config is the collector's stores.
type Config struct {
	// Dir is the folder of all three.
	Dir string `yaml:"dir" mapstructure:"dir"`
	// Durability of spans and log records: what is acknowledged survives a crash of the "process" or a loss of "power".
	Durability wal.Durability `yaml:"durability" mapstructure:"durability"`
	// ReservePercent of the disk stays free; beyond it the stores push back.
	ReservePercent int `yaml:"reserve_percent" mapstructure:"reserve_percent"`
	// Traces, Logs and Metrics say how much of each is kept.
	Traces  retention.Policy   `yaml:"traces" mapstructure:"traces"`
	Logs    retention.Policy   `yaml:"logs" mapstructure:"logs"`
	Metrics metricstore.Config `yaml:"metrics" mapstructure:"metrics"`
}

// DefaultConfig keeps three days of spans and log records, within 10 GiB each, and fifteen days of metrics. Errors, slow
// requests and evidence outlive the bulk: they stay thirty days, within another 2 GiB each.
func DefaultConfig() Config {
	keep := retention.Policy{
		Age: 72 * time.Hour, Bytes: 10 << 30,
		Tail: retention.Tail{Age: 30 * 24 * time.Hour, Bytes: 2 << 30, Slow: 5 * time.Second},
	}
	return Config{
		Durability: wal.Process, ReservePercent: 5,
		Traces: keep, Logs: keep, Metrics: metricstore.DefaultConfig(),
	}
}

// Validate joins all faults, each with its YAML key.
func (c Config) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, config.Faultf("dir", "is required"))
	}
	if c.Durability != wal.Process && c.Durability != wal.Power {
		faults = append(faults, config.Faultf("durability", `must be "process" or "power"`))
	}
	if c.ReservePercent < 0 || c.ReservePercent > 90 {
		faults = append(faults, config.Faultf("reserve_percent", "must be between 0 and 90"))
	}
	return errors.Join(append(faults, c.Traces.Validate("traces."), c.Logs.Validate("logs."), c.Metrics.Validate("metrics."))...)
}

// Set is the open stores.
type Set struct {
	Traces  *tracestore.Store
	Logs    *logstore.Store
	Metrics *metricstore.Store
	Pins    *pins.Pins
	Epoch   time.Time // when they were opened: their ledgers begin then
	lock    *lock
}

// Open opens or creates the stores. One process at a time may: a second one is told so.
func Open(cfg Config) (set *Set, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	set = &Set{Epoch: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, set.Close())
			set = nil
		}
	}()
	if set.lock, err = lockFolder(cfg.Dir); err != nil {
		return set, err
	}
	tail := max(cfg.Traces.Tail.Age, cfg.Logs.Tail.Age)
	if set.Pins, err = pins.Open(wal.OS{}, filepath.Join(cfg.Dir, "pins"), tail, time.Now()); err != nil {
		return set, err
	}
	turn := &segment.Turn{} // one segment is made at a time, of whichever signal
	log := func(name string, keep retention.Policy) segment.Config {
		return segment.Config{
			Dir: filepath.Join(cfg.Dir, name), Retention: keep, Durability: cfg.Durability, Reserve: cfg.ReservePercent,
			Turn: turn, Pinned: set.Pins.All,
		}
	}
	if set.Traces, err = tracestore.Open(log("traces", cfg.Traces)); err != nil {
		return set, err
	}
	if set.Logs, err = logstore.Open(log("logs", cfg.Logs), set.Traces.Worth); err != nil {
		return set, err
	}
	metrics := cfg.Metrics
	metrics.Dir, metrics.Reserve = filepath.Join(cfg.Dir, "metrics"), cfg.ReservePercent
	set.Metrics, err = metricstore.Open(metrics)
	return set, err
}

// Run seals, merges and drops files until ctx ends.
func (s *Set) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.Traces.Run(ctx) })
	group.Go(func() error { return s.Logs.Run(ctx) })
	return group.Wait()
}

// Check proves every file of spans and log records; see segment.Log.
func (s *Set) Check(ctx context.Context) error {
	return errors.Join(s.Traces.Check(ctx), s.Logs.Check(ctx))
}

// Repair makes anew what can be, and sets aside what cannot be read.
func (s *Set) Repair(ctx context.Context) error {
	return errors.Join(s.Traces.Repair(ctx), s.Logs.Repair(ctx))
}

// Erase removes every span and log record of the request that id names, for good. It says how many of each there were.
func (s *Set) Erase(ctx context.Context, id string) (spans, logs int64, err error) {
	traces, err := s.Traces.TracesOf(ctx, id)
	if err != nil {
		return 0, 0, err
	}
	names := []string{id}
	for _, trace := range traces {
		if hex := trace.String(); hex != id {
			names = append(names, hex) // records of the trace need not carry the ID
		}
	}
	for _, name := range names {
		n, err := s.Logs.Erase(ctx, name)
		if logs += n; err != nil {
			return 0, logs, err
		}
	}
	spans, err = s.Traces.Erase(ctx, id)
	return spans, logs, err
}

// Stats counts what each store holds and what happened to it.
type Stats struct {
	Traces, Logs segment.Stats
	Metrics      metricstore.Stats
	Pinned       int // requests
}

// Stats is a snapshot.
func (s *Set) Stats() Stats {
	pinned, _ := s.Pins.Len()
	return Stats{s.Traces.Stats(), s.Logs.Stats(), s.Metrics.Stats(), pinned}
}

// Close closes the stores. Nothing may be appended any more, and Run must have returned.
func (s *Set) Close() error {
	var faults []error
	if s.Traces != nil {
		faults = append(faults, s.Traces.Close())
	}
	if s.Logs != nil {
		faults = append(faults, s.Logs.Close())
	}
	if s.Metrics != nil {
		faults = append(faults, s.Metrics.Close())
	}
	if s.Pins != nil {
		faults = append(faults, s.Pins.Close())
	}
	if s.lock != nil {
		faults = append(faults, s.lock.release())
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("close stores: %w", err)
	}
	return nil
}
