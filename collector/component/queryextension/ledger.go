package queryextension

import (
	"weft/collector/query"
	"weft/collector/store"
	"weft/collector/store/segment"
)

// ledger shows the stores' counts as the API does.
func ledger(set *store.Set) query.Ledger {
	s := set.Stats()
	return query.Ledger{Epoch: set.Epoch, Signals: []query.LedgerSignal{
		page("traces", &s.Traces), page("logs", &s.Logs),
		{Signal: "metrics", Accepted: s.Metrics.Points + s.Metrics.Rejected(), Stored: s.Metrics.Points, Dropped: s.Metrics.Dropped},
	}}
}

func page(signal string, s *segment.Stats) query.LedgerSignal {
	return query.LedgerSignal{
		Signal: signal, Dropped: map[string]uint64{}, Accepted: s.Accepted, Recovered: s.Recovered, Stored: s.Stored, Deduplicated: s.Deduplicated, Lost: s.Lost,
		Queued: uint64(s.UnsealedItems), Segments: s.Segments, SegmentRows: s.Rows, SegmentBytes: s.SegmentBytes, LogBytes: s.Log.Bytes,
		Oldest: s.Oldest, Newest: s.Newest, ExpiredRows: s.DroppedRow, OutlivingRows: s.KeptRows, Damaged: s.Damaged, Quarantined: s.Quarantine,
	}
}
