package sealed

import "slices"

// Summary is what is known of a file without reading its rows. Times are Unix nanoseconds.
type Summary struct {
	Rows          int64 `json:"rows"`
	Duplicates    int64 `json:"duplicates,omitempty"` // left out, because a row is the same
	Faulty        int64 `json:"faulty,omitempty"`     // items that could not be kept; what the log holds has none
	Malformed     int64 `json:"malformed,omitempty"`  // batches that could not be read to their end
	Lost          int64 `json:"lost,omitempty"`       // rows of the files it was made from that could not be read any more
	First         int64 `json:"first"`                // least and greatest start of a span or time of a record
	Last          int64 `json:"last"`
	FirstReceived int64 `json:"firstReceived"`
	LastReceived  int64 `json:"lastReceived"`
	// Services that the rows are from, sorted; nil when there are more than MaxServices.
	Services []string `json:"services"`
	Bytes    int64    `json:"-"` // of both files
	more     bool     // there are more services than MaxServices
}

// MaxServices bounds the list of a summary.
const MaxServices = 256

// observe adds a row.
func (s *Summary) observe(time, received int64) {
	if s.Rows++; s.Rows == 1 {
		s.First, s.Last, s.FirstReceived, s.LastReceived = time, time, received, received
	}
	s.First, s.Last = min(s.First, time), max(s.Last, time)
	s.FirstReceived, s.LastReceived = min(s.FirstReceived, received), max(s.LastReceived, received)
}

// addServices adds services, unless there are too many already.
func (s *Summary) addServices(names []string) {
	if s.Services == nil && s.more {
		return
	}
	s.Services = append(s.Services, names...)
	slices.Sort(s.Services)
	if s.Services = slices.Compact(s.Services); len(s.Services) > MaxServices {
		s.Services, s.more = nil, true
	} else if s.Services == nil {
		s.Services = []string{}
	}
}
