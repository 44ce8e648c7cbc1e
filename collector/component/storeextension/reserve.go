package storeextension

// DiskReserve is the stores' folder, and how many percent of its disk they leave free. The alert extension watches it.
func (e *Extension) DiskReserve() (dir string, percent int) { return e.cfg.Dir, e.cfg.ReservePercent }
