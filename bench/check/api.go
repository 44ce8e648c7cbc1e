package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Story is the answer of /api/requests/{id}, as far as it is compared.
type Story struct {
	RequestID  string   `json:"request_id"`
	TraceID    string   `json:"trace_id"`
	Spans      []Span   `json:"spans"`
	Logs       []Record `json:"logs"`
	Incomplete []string `json:"incomplete"`
}

// Span is one span of a Story.
type Span struct {
	SpanID     string         `json:"span_id"`
	ParentID   string         `json:"parent_span_id"`
	Service    string         `json:"service"`
	Instance   string         `json:"instance"`
	Name       string         `json:"name"`
	Start      int64          `json:"start_unix_nano"`
	Duration   int64          `json:"duration_ns"`
	Status     string         `json:"status"`
	Attributes map[string]any `json:"attributes"`
}

// Record is one log record of a Story.
type Record struct {
	Time       int64          `json:"time_unix_nano"`
	Service    string         `json:"service"`
	Instance   string         `json:"instance"`
	Severity   string         `json:"severity"`
	Body       string         `json:"body"`
	SpanID     string         `json:"span_id"`
	RequestID  string         `json:"request_id"`
	Attributes map[string]any `json:"attributes"`
}

// Answer is how a question went.
type Answer struct {
	Status int
	Took   time.Duration // as the asker sees it
	Store  time.Duration // as the Server-Timing header's "store" says; 0 when there is none
	Body   []byte
}

// API asks one collector.
type API struct {
	base   string
	client *http.Client
}

// NewAPI asks the collector whose HTTP address is host:port.
func NewAPI(address string) *API {
	return &API{"http://" + address, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

// Close lets go of idle connections.
func (a *API) Close() { a.client.CloseIdleConnections() }

// Ask asks for a request, trace or client request ID.
func (a *API) Ask(ctx context.Context, id string) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/api/requests/"+url.PathEscape(id), http.NoBody)
	if err != nil {
		return Answer{}, err
	}
	start := time.Now()
	response, err := a.client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return Answer{response.StatusCode, time.Since(start), serverTiming(response.Header.Values("Server-Timing"), "store"), body}, err
}

// Story asks, and reads the answer; one other than 200 is an error.
func (a *API) Story(ctx context.Context, id string) (Story, error) {
	var s Story
	answer, err := a.Ask(ctx, id)
	if err != nil {
		return s, err
	}
	if answer.Status != http.StatusOK {
		return s, fmt.Errorf("%d: %s", answer.Status, answer.Body)
	}
	decoder := json.NewDecoder(bytes.NewReader(answer.Body))
	decoder.UseNumber() // an attribute's 64 bits do not fit a float
	return s, decoder.Decode(&s)
}

// serverTiming is the duration of one metric of a Server-Timing header (W3C), which is in milliseconds.
func serverTiming(values []string, name string) time.Duration {
	for _, value := range values {
		for metric := range strings.SplitSeq(value, ",") {
			fields := strings.Split(metric, ";")
			if strings.TrimSpace(fields[0]) != name {
				continue
			}
			for _, field := range fields[1:] {
				if text, ok := strings.CutPrefix(strings.TrimSpace(field), "dur="); ok {
					ms, err := strconv.ParseFloat(text, 64)
					if err == nil {
						return time.Duration(ms * 1e6)
					}
				}
			}
		}
	}
	return 0
}
