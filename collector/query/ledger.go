package query

import (
	"net/http"
	"time"
)

// Ledger says what became of all that the stores have taken since the process began. For every signal
//
//	accepted + recovered = stored + deduplicated + dropped + lost + queued
//
// counts spans, log records or samples of metrics: what was acknowledged, and what an earlier process had acknowledged but
// not sealed, is a row of a segment or a sample of a series, or was there already, or is of a kind that is never stored, or
// cannot be read any more, or is in the log and will be sealed.
type Ledger struct {
	Epoch   time.Time      `json:"epoch"`
	Signals []LedgerSignal `json:"signals"`
}

// LedgerSignal is one signal's page.
type LedgerSignal struct {
	Signal       string `json:"signal"`
	Accepted     uint64 `json:"accepted"`
	Recovered    uint64 `json:"recovered"`
	Stored       uint64 `json:"stored"`
	Deduplicated uint64 `json:"deduplicated"`
	// Dropped is by reason, of samples only: too_old, conflict, invalid, and unsupported, which counts metrics.
	Dropped  map[string]uint64 `json:"dropped"`
	Lost     uint64            `json:"lost"`
	Queued   uint64            `json:"queued"`
	Balanced bool              `json:"balanced"`

	Segments      int       `json:"segments"`
	SegmentRows   int64     `json:"segment_rows"`
	SegmentBytes  int64     `json:"segment_bytes"`
	LogBytes      int64     `json:"log_bytes"`
	Oldest        time.Time `json:"oldest"`
	Newest        time.Time `json:"newest"`
	ExpiredRows   uint64    `json:"expired_rows"`   // dropped by retention
	OutlivingRows uint64    `json:"outliving_rows"` // kept when their bulk was dropped
	Damaged       uint64    `json:"damaged"`
	Quarantined   uint64    `json:"quarantined"` // files
}

// Balance fills in whether the sums agree.
func (s *LedgerSignal) Balance() {
	out := s.Stored + s.Deduplicated + s.Lost + s.Queued
	for _, n := range s.Dropped {
		out += n
	}
	s.Balanced = s.Accepted+s.Recovered == out
}

func (a *api) ledger(w http.ResponseWriter, _ *http.Request) {
	if a.Ledger == nil {
		fail(w, problem{Status: http.StatusNotFound, Detail: "no ledger is kept here"})
		return
	}
	ledger := a.Ledger()
	for i := range ledger.Signals {
		ledger.Signals[i].Balance()
	}
	answer(w, ledger)
}
