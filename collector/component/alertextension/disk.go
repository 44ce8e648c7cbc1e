package alertextension

import (
	"fmt"

	"weft/alerts"
	"weft/internal/config"
)

// defaultReserve is the stores' reserve in percent when no extension says what it is.
const defaultReserve = 5

// DiskConfig says which disk is watched, and when it counts as nearly full.
type DiskConfig struct {
	// Path is a folder on the disk; empty is the stores' folder.
	Path string `mapstructure:"path"`
	// WarnPercent is the share of the disk below which an alert fires; 0 is twice the stores' reserve. The alert ends
	// once more than a percentage point above it is free.
	WarnPercent int `mapstructure:"warn_percent"`
}

func (c DiskConfig) validate() error {
	if c.WarnPercent < 0 || c.WarnPercent > 95 {
		return config.Faultf("disk.warn_percent", "must be between 0 and 95, not %d", c.WarnPercent)
	}
	return nil
}

// reserved is an extension that keeps part of a disk free, and pushes back beyond it.
type reserved interface {
	DiskReserve() (dir string, percent int)
}

// disk judges the free space of one folder's disk.
type disk struct {
	path    string
	reserve uint64 // percent
	warn    uint64 // percent
	spoke   bool   // the first look always reports: an earlier process may have left an alert open
	firing  bool
	percent uint64 // free at the last report, so that a disk that only fluctuates reports nothing new
}

func newDisk(cfg DiskConfig, dir string, reserve int) *disk {
	d := &disk{path: cfg.Path, reserve: uint64(reserve), warn: uint64(cfg.WarnPercent)}
	if d.path == "" {
		d.path = dir
	}
	if d.warn == 0 && reserve == 0 {
		d.warn = 2 * defaultReserve
	} else if d.warn == 0 {
		d.warn = min(2*d.reserve, 95)
	}
	return d
}

// look is the report to make when so many bytes are free, if there is anything to say.
func (d *disk) look(free, total uint64) (alerts.Condition, bool) {
	if total == 0 {
		return alerts.Condition{}, false
	}
	percent := free * 100 / total
	low, enough := free*100 < total*d.warn, free*100 > total*(d.warn+1)
	firing := low || d.firing && !enough
	if d.spoke && firing == d.firing && (!firing || percent == d.percent) {
		return alerts.Condition{}, false
	}
	d.spoke, d.firing, d.percent = true, firing, percent
	return d.condition(free, total), true
}

func (d *disk) condition(free, total uint64) alerts.Condition {
	c := alerts.Condition{
		Name: "DiskNearlyFull", Subject: "collector data " + d.path, Service: "collector", Severity: alerts.SeverityWarning,
		Summary: fmt.Sprintf("The disk of the collector's data has less than %d %% free", d.warn), Firing: d.firing,
	}
	room := fmt.Sprintf("%d MiB of %d MiB (%d %%) are free on the disk of %s.", free>>20, total>>20, d.percent, d.path)
	switch {
	case !d.firing:
		c.Description = room
	case d.reserve == 0:
		c.Description = room + " The stores keep no reserve: writes will fail when it is full. Free space, lower retention, or give it a larger disk."
	default:
		c.Description = room + fmt.Sprintf(" Below the reserve of %d %% (%d MiB) the stores push back: nothing acknowledged is lost, "+
			"agents keep what they have and send it later. Free space, lower retention, or give it a larger disk.", d.reserve, total/100*d.reserve>>20)
	}
	return c
}
