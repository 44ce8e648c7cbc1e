package query

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"weft/collector/correlate"
	"weft/internal/sample"
)

// inForce is the verdicts that stood when the request ran: on every endpoint it touched, and those that speak against
// another endpoint of a service or database it touched, since they say why it did not go there.
func (a *api) inForce(t touch, whole *correlate.Whole) []verdictJSON {
	begin, end := at(whole.Start), at(whole.Start+whole.Duration)
	out := []verdictJSON{}
	for _, v := range a.current() {
		key := v.Endpoint
		if !t.services[key.Service] && !t.databases[key.Service] {
			continue
		}
		for _, past := range during(a.timeline(v), begin, end) {
			if t.endpoints[key.String()] || past.State != sample.Healthy {
				out = append(out, verdict(&past, past.Version == v.Version))
			}
		}
	}
	slices.SortStableFunc(out, worstFirst)
	return out
}

// timeline is an endpoint's verdicts, oldest first, the one that stands now last.
func (a *api) timeline(now sample.Verdict) []sample.Verdict {
	past := slices.DeleteFunc(slices.Clone(a.history(now.Endpoint)), func(v sample.Verdict) bool { return v.Version >= now.Version })
	return append(past, now)
}

// during is the verdicts of a timeline that stood at some moment from begin to end.
func during(timeline []sample.Verdict, begin, end time.Time) []sample.Verdict {
	var out []sample.Verdict
	for i, v := range timeline {
		over := i+1 < len(timeline) && !timeline[i+1].Since.After(begin)
		if !v.Since.After(end) && !over {
			out = append(out, v)
		}
	}
	return out
}

// worst orders states by how much they keep a request away.
func worst(s sample.State) int {
	return [...]int{sample.Healthy: 3, sample.Degraded: 2, sample.Ejected: 0, sample.Probing: 1}[s&3]
}

func worstFirst(a, b verdictJSON) int {
	return cmp.Or(cmp.Compare(worst(a.State), worst(b.State)), b.Since.Compare(a.Since), cmp.Compare(a.Endpoint, b.Endpoint))
}

// alertLag is how long after the failures that it rests on an alert may begin.
const alertLag = time.Minute

// naming is the alerts that name the request, or an endpoint it touched and were open about when it ran.
func (a *api) naming(t touch, whole *correlate.Whole) []Alert {
	begin, end := at(whole.Start), at(whole.Start+whole.Duration)
	out := []Alert{}
	for _, alert := range a.allAlerts() {
		open := !alert.StartsAt.Add(-alertLag).After(end) && (alert.EndsAt == nil || !alert.EndsAt.Before(begin))
		service, _, _ := strings.Cut(alert.Endpoint, "/")
		about := t.endpoints[alert.Endpoint] || t.databases[service]
		if open && about || slices.Contains(alert.RequestIDs, whole.RequestID) {
			out = append(out, fill(alert))
		}
	}
	return out
}

// fill makes the alert's lists and maps never null.
func fill(alert Alert) Alert {
	alert.RequestIDs = list(alert.RequestIDs)
	if alert.Labels == nil {
		alert.Labels = map[string]string{}
	}
	if alert.Annotations == nil {
		alert.Annotations = map[string]string{}
	}
	return alert
}

type serviceJSON struct {
	ratesJSON
	State     string   `json:"state"` // of its worst endpoint; "unknown" when nobody judges them
	Endpoints int      `json:"endpoints"`
	Healthy   int      `json:"endpoints_healthy"`
	Proxied   bool     `json:"proxied"`
	Calls     []string `json:"calls"`
	CalledBy  []string `json:"called_by"`
}

type serviceDetailJSON struct {
	ratesJSON
	State     string         `json:"state"`
	Proxied   bool           `json:"proxied"`
	Calls     []string       `json:"calls"`
	CalledBy  []string       `json:"called_by"`
	Endpoints []endpointJSON `json:"endpoints"`
	Verdicts  []verdictJSON  `json:"verdicts"`
	Alerts    []Alert        `json:"alerts"`
}

type endpointJSON struct {
	Endpoint string       `json:"endpoint"`
	Instance string       `json:"instance"`
	Address  string       `json:"address"`
	State    string       `json:"state"`
	Weight   int          `json:"weight"`
	Verdict  *verdictJSON `json:"verdict"` // null when nobody judges it
}

// known is one service from what it answered and from what is concluded of its endpoints.
type known struct {
	red      correlate.RED
	verdicts []sample.Verdict
}

func (a *api) known() map[string]*known {
	all := map[string]*known{}
	for _, r := range a.RED.RED(a.Now()) {
		all[r.Name] = &known{red: r}
	}
	for _, v := range a.current() {
		k := all[v.Endpoint.Service]
		if k == nil {
			k = &known{red: correlate.RED{Name: v.Endpoint.Service}}
			all[v.Endpoint.Service] = k
		}
		k.verdicts = append(k.verdicts, v)
	}
	return all
}

// endpoints are those that are judged, then those that were only seen to answer.
func (k *known) endpoints() []endpointJSON {
	out := []endpointJSON{}
	judged := map[string]bool{}
	for i := range k.verdicts {
		v := verdict(&k.verdicts[i], true)
		judged[v.Instance] = true
		out = append(out, endpointJSON{Endpoint: v.Endpoint, Instance: v.Instance, Address: v.Address, State: v.State.String(), Weight: v.Weight, Verdict: &v})
	}
	for _, instance := range k.red.Instances {
		if !judged[instance] {
			out = append(out, endpointJSON{Endpoint: k.red.Name + "/" + instance, Instance: instance, State: unknown, Weight: 100})
		}
	}
	slices.SortFunc(out, func(a, b endpointJSON) int { return cmp.Compare(a.Instance, b.Instance) })
	return out
}

const unknown = "unknown"

// state is that of the worst endpoint.
func (k *known) state() string {
	if len(k.verdicts) == 0 {
		return unknown
	}
	return slices.MinFunc(k.verdicts, func(a, b sample.Verdict) int { return cmp.Compare(worst(a.State), worst(b.State)) }).State.String()
}

// services answers GET /api/services.
func (a *api) services(w http.ResponseWriter, _ *http.Request) {
	out := []serviceJSON{}
	for _, k := range a.known() {
		s := serviceJSON{ratesJSON: rates(&k.red), State: k.state(), Proxied: k.red.Proxied, Calls: list(k.red.Calls), CalledBy: list(k.red.CalledBy)}
		for _, e := range k.endpoints() {
			s.Endpoints++
			if e.State == sample.Healthy.String() || e.State == unknown {
				s.Healthy++
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b serviceJSON) int { return cmp.Compare(a.Service, b.Service) })
	answer(w, map[string]any{"services": out})
}

// service answers GET /api/services/{name}.
func (a *api) service(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	k := a.known()[name]
	if k == nil {
		fail(w, problem{Status: http.StatusNotFound, Detail: "no service " + name + " is known"})
		return
	}
	out := serviceDetailJSON{ratesJSON: rates(&k.red), State: k.state(), Proxied: k.red.Proxied, Calls: list(k.red.Calls), CalledBy: list(k.red.CalledBy),
		Endpoints: k.endpoints(), Verdicts: []verdictJSON{}, Alerts: []Alert{}}
	for _, v := range k.verdicts {
		out.Verdicts = append(out.Verdicts, a.told(v)...)
	}
	slices.SortStableFunc(out.Verdicts, func(a, b verdictJSON) int { return b.Since.Compare(a.Since) })
	for _, alert := range a.allAlerts() {
		if service, _, _ := strings.Cut(alert.Endpoint, "/"); service == name {
			out.Alerts = append(out.Alerts, fill(alert))
		}
	}
	answer(w, out)
}

// told is an endpoint's verdicts, newest first.
func (a *api) told(now sample.Verdict) []verdictJSON {
	var out []verdictJSON
	for i, v := range slices.Backward(a.timeline(now)) {
		_ = i
		out = append(out, verdict(&v, v.Version == now.Version))
	}
	return out
}

// verdicts answers GET /api/verdicts.
func (a *api) verdicts(w http.ResponseWriter, r *http.Request) {
	endpoint, past := r.URL.Query().Get("endpoint"), r.URL.Query().Get("history")
	if past != "" && past != "true" && past != "false" {
		fail(w, problem{Status: http.StatusBadRequest, Detail: "history: want true or false, not " + past, Parameter: "history"})
		return
	}
	current, earlier := []verdictJSON{}, []verdictJSON{}
	for _, v := range a.current() {
		if endpoint != "" && endpoint != v.Endpoint.String() && endpoint != v.Endpoint.Instance {
			continue
		}
		all := a.told(v)
		current = append(current, all[0])
		if past == "true" {
			earlier = append(earlier, all[1:]...)
		}
	}
	slices.SortStableFunc(current, worstFirst)
	slices.SortStableFunc(earlier, func(a, b verdictJSON) int { return b.Since.Compare(a.Since) })
	answer(w, map[string]any{"verdicts": append(current, earlier...)})
}

// alerts answers GET /api/alerts.
func (a *api) alerts(w http.ResponseWriter, _ *http.Request) {
	out := map[string]any{"alerts": []Alert{}}
	if a.Alerts != nil {
		all := a.Alerts.Alerts()
		filled := make([]Alert, len(all))
		for i := range all {
			filled[i] = fill(all[i])
		}
		out["alerts"] = filled
		if outbox := a.Alerts.Outbox(); outbox != nil {
			out["outbox"] = outbox
		}
	}
	answer(w, out)
}
