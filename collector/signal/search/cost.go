package search

// Cost says what an answer cost.
type Cost struct {
	Bytes    int64 `json:"bytes"`    // read from files
	Rows     int64 `json:"rows"`     // that were found
	Segments int   `json:"segments"` // that were asked; the others were passed over by their summary
	Groups   int64 `json:"groups"`   // row groups that had to be looked into
	Blocks   int64 `json:"blocks"`   // and blocks of rows in them
	Batches  int   `json:"batches"`  // of the log, not sealed yet
	Damaged  int64 `json:"damaged"`  // rows that cannot be read any more, as far as is known
}

// Add adds what another answer cost.
func (c *Cost) Add(o Cost) {
	c.Bytes, c.Rows, c.Damaged = c.Bytes+o.Bytes, c.Rows+o.Rows, c.Damaged+o.Damaged
	c.Segments, c.Groups, c.Blocks, c.Batches = c.Segments+o.Segments, c.Groups+o.Groups, c.Blocks+o.Blocks, c.Batches+o.Batches
}
