package query

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/collector/correlate"
	"weft/collector/signal"
	"weft/internal/semconv"
)

// patience bounds one question to the stores.
const patience = 10 * time.Second

// request answers GET /api/requests/{id}.
func (a *api) request(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if len(id) > 256 {
		fail(w, problem{Status: http.StatusBadRequest, Detail: "an ID has at most 256 characters", Parameter: "id"})
		return
	}
	root, bad := spanParameter(r.URL.Query().Get("span"))
	if bad != nil {
		fail(w, *bad)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	began := time.Now()
	found, err := a.gather(ctx, id)
	w.Header().Set("Server-Timing", fmt.Sprintf("store;dur=%.3f", float64(time.Since(began).Microseconds())/1e3))
	if err != nil {
		w.Header().Set("Retry-After", "1")
		fail(w, problem{Status: http.StatusServiceUnavailable, Detail: "the stores did not answer: " + err.Error()})
		return
	}
	whole, ok := correlate.Assemble(id, found.spans, found.logs)
	if ok && !root.IsZero() {
		whole, ok = whole.Only(root)
	}
	if !ok {
		fail(w, problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("no request, trace or client request ID %q is known", id)})
		return
	}
	answer(w, a.spell(&whole, found))
}

func spanParameter(value string) (id signal.SpanID, bad *problem) {
	if value == "" {
		return id, nil
	}
	n, err := strconv.ParseUint(value, 16, 64)
	if err != nil || len(value) != 16 {
		return id, &problem{Status: http.StatusBadRequest, Detail: "span: want the 16 hex digits of a span ID", Parameter: "span"}
	}
	for i := range id {
		id[i] = byte(n >> (56 - 8*i))
	}
	return id, nil
}

// spell writes down the request with what was known of its endpoints when it ran.
func (a *api) spell(whole *correlate.Whole, found *gathered) requestJSON {
	s := summary(&whole.Exchange)
	out := requestJSON{
		RequestID: s.RequestID, TraceID: s.TraceID, TraceIDs: s.TraceIDs, ClientRequestID: s.ClientRequestID, Start: s.Start, DurationMS: s.DurationMS,
		Status: s.Status, Method: s.Method, Route: s.Route, Service: s.Service, Error: s.Error, Attempts: s.Attempts, DroppedBy: s.DroppedBy,
		Spans: make([]spanJSON, len(whole.Spans)), Logs: make([]logJSON, len(whole.Logs)), Requests: make([]summaryJSON, len(whole.Requests)),
		Links:      map[string]string{"self": s.Href, "page": "/requests/" + url.PathEscape(s.RequestID)},
		Incomplete: list(found.incomplete), Truncated: found.truncated,
	}
	for i := range whole.Spans {
		sp := &whole.Spans[i]
		out.Spans[i] = span(sp, whole.Adopted[sp.TraceID][sp.SpanID])
	}
	for i := range whole.Logs {
		out.Logs[i] = logRecord(&whole.Logs[i])
	}
	for i := range whole.Requests {
		out.Requests[i] = summary(&whole.Requests[i])
		out.Requests[i].Href = requestPath(cmp.Or(out.Requests[i].TraceID, out.Requests[i].RequestID)) + "?span=" + out.Requests[i].SpanID
	}
	t := touched(whole)
	out.Services, out.ServicesAt = a.ratesOf(t, whole)
	out.Verdicts = a.inForce(t, whole)
	out.Alerts = a.naming(t, whole)
	return out
}

// recent is how far back rates are kept by the minute.
const recent = 9 * time.Minute

// ratesOf is the rates of the request's services in the minute around it, or now when that is too long ago.
func (a *api) ratesOf(t touch, whole *correlate.Whole) ([]ratesJSON, time.Time) {
	now := a.Now()
	when := at(whole.Start + whole.Duration).Add(30 * time.Second)
	if when.After(now) || now.Sub(when) > recent {
		when = now
	}
	byName := map[string]ratesJSON{}
	for _, r := range a.RED.RED(when) {
		byName[r.Name] = rates(&r)
	}
	names := slices.Clone(whole.Services)
	for name := range t.databases {
		if _, known := byName[name]; known && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := make([]ratesJSON, len(names))
	for i, name := range names {
		out[i] = byName[name]
		out[i].Service = name
	}
	return out, when.UTC()
}

// touch is where a request went.
type touch struct {
	endpoints map[string]bool // "service/instance"
	services  map[string]bool
	databases map[string]bool // what client spans call the databases they ask
}

func touched(whole *correlate.Whole) touch {
	t := touch{endpoints: map[string]bool{}, services: map[string]bool{}, databases: map[string]bool{}}
	for i := range whole.Spans {
		s := &whole.Spans[i]
		a := s.Attributes
		if s.Service != "" && s.Instance != "" {
			t.endpoints[s.Service+"/"+s.Instance] = true
		}
		t.services[s.Service] = true
		if service := a.Text(semconv.WeftService); service != "" && s.Kind == signal.KindClient {
			t.services[service] = true
			t.endpoints[service+"/"+a.Text(semconv.WeftEndpoint)] = true
		}
		if cause := a.Text(semconv.WeftCause); cause != "" {
			service, _, _ := strings.Cut(cause, "/")
			t.services[service], t.endpoints[cause] = true, true
		}
		if s.Kind == signal.KindClient && cmp.Or(a.Text("db.system.name"), a.Text("db.system")) != "" {
			for _, key := range []string{"db.system.name", "db.system", "peer.service", semconv.ServerAddress} {
				if name := a.Text(key); name != "" {
					t.databases[name] = true
				}
			}
		}
	}
	for _, name := range whole.Services {
		t.services[name] = true
	}
	return t
}

// requests answers GET /api/requests: from memory, or for a time range from the stores.
func (a *api) requests(w http.ResponseWriter, r *http.Request) {
	filter, bad := parseFilter(r.URL.Query())
	if bad != nil {
		fail(w, *bad)
		return
	}
	if !filter.past() || a.History == nil {
		answer(w, map[string]any{"requests": summaries(a.Exchanges.List(filter.Filter))})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	h := history{api: a, filter: filter, incomplete: []string{}}
	began := time.Now()
	found, err := h.find(ctx)
	w.Header().Set("Server-Timing", fmt.Sprintf("store;dur=%.3f", float64(time.Since(began).Microseconds())/1e3))
	if err != nil {
		w.Header().Set("Retry-After", "1")
		fail(w, problem{Status: http.StatusServiceUnavailable, Detail: "the stores did not answer: " + err.Error()})
		return
	}
	answer(w, map[string]any{"requests": summaries(found), "read": h.cost, "incomplete": h.incomplete})
}

func summaries(found []correlate.Exchange) []summaryJSON {
	out := make([]summaryJSON, len(found))
	for i := range found {
		out[i] = summary(&found[i])
	}
	return out
}

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// listFilter is what the list's parameters say.
type listFilter struct {
	correlate.Filter
	from, to             time.Time
	statusFrom, statusTo int
}

// past says that a time range is asked for.
func (f *listFilter) past() bool { return !f.from.IsZero() || !f.to.IsZero() }

func parseFilter(q url.Values) (listFilter, *problem) {
	f := listFilter{Filter: correlate.Filter{Service: q.Get("service"), Route: q.Get("route"), Limit: defaultLimit}}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		var err error
		switch value := q.Get(name); name {
		case "service", "route":
		case "status":
			err = f.parseStatus(value)
		case "min_duration":
			f.MinDuration, err = parseDuration(value)
		case "limit":
			f.Limit, err = parseLimit(value)
		case "start":
			f.from, err = parseTime(value)
		case "end":
			f.to, err = parseTime(value)
		default:
			err = fmt.Errorf("no such parameter; there are service, route, status, min_duration, start, end and limit")
		}
		if err != nil {
			return f, &problem{Status: http.StatusBadRequest, Detail: name + ": " + err.Error(), Parameter: name}
		}
	}
	return f, nil
}

// parseTime reads RFC 3339, or Unix seconds with a fraction.
func parseTime(value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, value); err == nil {
		return t, nil
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || seconds < 0 || seconds > 1e11 {
		return time.Time{}, fmt.Errorf("want a time as 2026-01-02T15:04:05Z, or Unix seconds, not %q", value)
	}
	return time.Unix(0, int64(seconds*1e9)), nil
}

// parseStatus reads 503, 5xx or "error".
func (f *listFilter) parseStatus(value string) error {
	switch {
	case value == "":
		return nil
	case value == "error":
		f.Error = true
		return nil
	case len(value) == 3 && strings.HasSuffix(strings.ToLower(value), "xx") && value[0] >= '1' && value[0] <= '5':
		class := int(value[0]-'0') * 100
		f.statusFrom, f.statusTo = class, class+99
	default:
		want, err := strconv.Atoi(value)
		if err != nil || want < 100 || want > 599 {
			return fmt.Errorf("want an HTTP status as 503, a class as 5xx, or \"error\", not %q", value)
		}
		f.statusFrom, f.statusTo = want, want
	}
	from, to := f.statusFrom, f.statusTo
	f.Status = func(status int) bool { return status >= from && status <= to }
	return nil
}

// parseDuration reads "250ms", or a bare number of milliseconds.
func parseDuration(value string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(value)
	if ms, bare := strconv.ParseUint(value, 10, 31); bare == nil {
		d, err = time.Duration(ms)*time.Millisecond, nil
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("want a duration as 250ms or 1.5s, not %q", value)
	}
	return d, nil
}

func parseLimit(value string) (int, error) {
	if value == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxLimit {
		return 0, fmt.Errorf("want a number from 1 to %d, not %q", maxLimit, value)
	}
	return n, nil
}
