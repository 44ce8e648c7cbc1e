package demo

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// fault is what is wrong with this process, on purpose.
type fault struct {
	Errors float64 `json:"errors"` // share of requests answered with 500, 0 to 1
	Delay  string  `json:"delay"`  // added to every answer
	delay  time.Duration
}

// faults is the admin handler, and the middleware that does what was asked there.
type faults struct{ now atomic.Pointer[fault] }

func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		wanted, err := readFault(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.now.Store(&wanted)
	case http.MethodDelete:
		f.now.Store(nil)
	case http.MethodGet:
		reply(w, http.StatusOK, f.now.Load())
		return
	default:
		http.Error(w, "GET, POST or DELETE", http.StatusMethodNotAllowed)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func readFault(r *http.Request) (fault, error) {
	var wanted fault
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		return wanted, err
	}
	if wanted.Errors < 0 || wanted.Errors > 1 {
		return wanted, fmt.Errorf("errors: %v is not between 0 and 1", wanted.Errors)
	}
	if wanted.Delay == "" {
		return wanted, nil
	}
	var err error
	if wanted.delay, err = time.ParseDuration(wanted.Delay); err != nil || wanted.delay < 0 {
		return wanted, fmt.Errorf("delay: %q is not a duration such as 2s", wanted.Delay)
	}
	return wanted, nil
}

func (f *faults) wrap(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := f.now.Load()
		if now == nil {
			next.ServeHTTP(w, r)
			return
		}
		if now.delay > 0 {
			select {
			case <-time.After(now.delay):
			case <-r.Context().Done():
				return
			}
		}
		if rand.Float64() < now.Errors {
			log.ErrorContext(r.Context(), "internal error", "error", "the demo was told to break", requestID(r.Context()))
			reply(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
