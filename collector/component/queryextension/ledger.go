package queryextension

import (
	"weft/collector/query"
	"weft/collector/store"
	"weft/collector/store/segment"
)

// ledger shows the stores' counts as the API does.
func ledger(set *store.Set) query.Ledger {
	s := set.Stats()
	return query.Ledger{Epoch: set.Epoch, Signals: []query.LedgerSignal{page("traces", &s.Traces), page("logs", &s.Logs)}}
}

func page(signal string, s *segment.Stats) query.LedgerSignal {
	return query.LedgerSignal{
		Signal: signal, Accepted: s.Accepted, Recovered: s.Recovered, Stored: s.Stored, Deduplicated: s.Deduplicated, Lost: s.Lost,
		Queued: uint64(s.UnsealedItems), Segments: s.Segments, SegmentRows: s.Rows, SegmentBytes: s.SegmentBytes, LogBytes: s.Log.Bytes,
		Oldest: s.Oldest, Newest: s.Newest, ExpiredRows: s.DroppedRow, OutlivingRows: s.KeptRows, Damaged: s.Damaged, Quarantined: s.Quarantine,
	}
}
