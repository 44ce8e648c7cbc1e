package alerts

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"

	"weft/internal/sample"
)

// AlertName is the alertname of an alert made from a verdict.
const AlertName = "EndpointUnhealthy"

// Labels of an alert. They stay the same for the whole incident: an alert whose labels change is another alert, and
// would page again on the way from degraded to ejected.
const (
	labelService  model.LabelName = "service"
	labelEndpoint model.LabelName = "endpoint"
	labelSeverity model.LabelName = "severity"
)

// Annotations of an alert.
const (
	annotationSummary     model.LabelName = "summary"
	annotationDescription model.LabelName = "description"
	annotationEvidence    model.LabelName = "evidence"
	annotationRouting     model.LabelName = "routing"
	annotationRequestIDs  model.LabelName = "request_ids"
	annotationRequests    model.LabelName = "request_urls"
	annotationConsole     model.LabelName = "console_url"
	annotationRunbook     model.LabelName = "runbook_url"
	annotationState       model.LabelName = "state"
	annotationWeight      model.LabelName = "weight"
	annotationVerdict     model.LabelName = "verdict_version"
)

// Tests of the health engine that change what is said: a service's only endpoint, which is never ejected since there
// is nowhere to go; a fault that all endpoints share; one that comes and goes; and an endpoint back after slow start.
const (
	testSingleEndpoint = "single-endpoint"
	testServiceWide    = "service-wide"
	testFlapping       = "flapping"
	testReturned       = "slow-start"
)

const (
	maxRequestIDs  = 4
	maxText        = 600 // runes of one annotation
	maxNamesListed = 6
)

// pages reports whether a verdict opens an alert, or keeps one open with new evidence. Faults that follow a caller, a
// route or a service further down are not enforced against the endpoint, so they never do.
func pages(v sample.Verdict) bool {
	bad := v.State == sample.Ejected || v.State == sample.Degraded
	return bad && (v.Enforced || v.Evidence.Test == testSingleEndpoint)
}

// holds reports whether a verdict only tells of the way back: an endpoint on probation, or given more than before, has
// not recovered, but why it was taken out still stands.
func holds(open *alert.Alert, v sample.Verdict) bool {
	if open == nil || !v.Enforced {
		return false
	}
	before, err := strconv.Atoi(string(open.Annotations[annotationWeight]))
	return v.State == sample.Probing || v.State == sample.Degraded && err == nil && v.Weight > before
}

// next is the alert after verdict v, given the one open before (nil = none); nil means there is none to speak of.
// It never changes open: alerts are shared with the pipeline.
func next(open *alert.Alert, v sample.Verdict, links string, now time.Time) *alert.Alert {
	switch {
	case holds(open, v):
		a := again(open, now)
		a.Annotations = a.Annotations.Merge(standing(v))
		return a
	case pages(v):
		return fire(open, v, links, now)
	case open == nil:
		return nil
	default:
		return resolve(open, routing(v), now)
	}
}

func fire(open *alert.Alert, v sample.Verdict, links string, now time.Time) *alert.Alert {
	starts := now
	if open != nil {
		starts = open.StartsAt
	}
	a := &alert.Alert{UpdatedAt: now, Alert: model.Alert{
		StartsAt: starts,
		Labels: model.LabelSet{
			model.AlertNameLabel: AlertName, labelService: value(v.Endpoint.Service), labelEndpoint: value(v.Endpoint.Instance),
			labelSeverity: SeverityCritical,
		},
		GeneratorURL: endpointURL(links, v.Endpoint),
		Annotations:  annotate(v, links),
	}}
	if open != nil && v.Evidence.Failures == 0 {
		// Once traffic has left, the newest window is empty. What on-call needs is why it left.
		for _, name := range []model.LabelName{annotationDescription, annotationEvidence, annotationRequestIDs, annotationRequests} {
			a.Annotations[name] = open.Annotations[name]
		}
	}
	return a
}

// resolve ends an alert; how says why it is over.
func resolve(open *alert.Alert, how string, now time.Time) *alert.Alert {
	a := again(open, now)
	a.EndsAt = now
	a.Annotations[annotationRouting] = model.LabelValue(text(how))
	a.Annotations[annotationState] = "healthy"
	return a
}

func again(open *alert.Alert, now time.Time) *alert.Alert {
	a := *open
	a.UpdatedAt = now
	a.Annotations = open.Annotations.Clone()
	return &a
}

func annotate(v sample.Verdict, links string) model.LabelSet {
	out := model.LabelSet{
		annotationSummary:     model.LabelValue(summary(v)),
		annotationDescription: model.LabelValue(text(v.Reason)),
		annotationEvidence:    model.LabelValue(text(evidence(v.Evidence))),
		annotationConsole:     model.LabelValue(endpointURL(links, v.Endpoint)),
		annotationRunbook:     runbookURL(links, AlertName),
	}
	ids := requestIDs(v.Evidence.RequestIDs)
	if len(ids) > 0 {
		pages := make([]string, len(ids))
		for i, id := range ids {
			pages[i] = links + "/requests/" + url.PathEscape(id)
		}
		out[annotationRequestIDs] = model.LabelValue(strings.Join(ids, " "))
		out[annotationRequests] = model.LabelValue(strings.Join(pages, " "))
	}
	return out.Merge(standing(v))
}

// standing is what changes from verdict to verdict while an incident lasts.
func standing(v sample.Verdict) model.LabelSet {
	return model.LabelSet{
		annotationRouting: model.LabelValue(routing(v)),
		annotationState:   model.LabelValue(v.State.String()),
		annotationWeight:  model.LabelValue(strconv.Itoa(v.Weight)),
		annotationVerdict: model.LabelValue(strconv.FormatUint(v.Version, 10)),
	}
}

func summary(v sample.Verdict) string {
	what := "is degraded"
	switch {
	case v.Evidence.Test == testSingleEndpoint:
		what = "is failing and is its only endpoint"
	case v.Evidence.Test == testServiceWide:
		what = "is failing like the rest of its service"
	case v.Evidence.Test == testFlapping:
		what = "is flapping"
	case v.State == sample.Ejected:
		what = "is failing and was ejected"
	}
	return text(fmt.Sprintf("%s of %s %s", v.Endpoint.Instance, v.Endpoint.Service, what))
}

// routing says what has been done already, so that on-call need not.
func routing(v sample.Verdict) string {
	switch {
	case v.Evidence.Test == testSingleEndpoint && v.State != sample.Healthy:
		return text(fmt.Sprintf("Nothing was moved: %s has no other endpoint to carry its traffic.", v.Endpoint.Service))
	case v.State == sample.Ejected:
		return text(fmt.Sprintf("Every proxy has been told to leave it; the other endpoints of %s carry its traffic. It returns by one probe and a slow start.", v.Endpoint.Service))
	case v.State == sample.Degraded && v.Enforced && v.Weight >= 100:
		return text(fmt.Sprintf("It keeps its normal share: moving traffic within %s would not help now.", v.Endpoint.Service))
	case v.State == sample.Degraded && v.Enforced:
		return fmt.Sprintf("Proxies send it %d %% of its normal share.", v.Weight)
	case v.State == sample.Probing:
		return fmt.Sprintf("It is on probation at %d %% of its normal share.", v.Weight)
	case v.State == sample.Healthy && (v.Evidence.Test == testReturned || v.Reason == ""):
		return "It is healthy again and carries its normal share."
	case v.State == sample.Healthy:
		return text("It carries its normal share: " + v.Reason)
	default:
		return text("The fault is not held against this endpoint: " + v.Reason)
	}
}

func evidence(e sample.Evidence) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d attempts failed (%s, usually %s)", e.Failures, e.Attempts, percent(e.ErrorRatio), percent(e.BaselineErrorRatio))
	if e.Window > 0 {
		fmt.Fprintf(&b, " within %s", e.Window.Round(100*time.Millisecond))
	}
	if e.P99 > 0 {
		fmt.Fprintf(&b, "; p99 %s, the rest of its service %s", e.P99.Round(time.Millisecond), e.RestP99.Round(time.Millisecond))
	}
	list(&b, "; reported by ", e.Reporters)
	list(&b, "; witnessed by ", e.Witnesses)
	if e.Test != "" {
		b.WriteString("; test: " + e.Test)
	}
	return b.String()
}

func percent(ratio float64) string { return strconv.FormatFloat(ratio*100, 'f', 1, 64) + " %" }

func list(b *strings.Builder, before string, names []string) {
	if len(names) == 0 {
		return
	}
	b.WriteString(before + strings.Join(names[:min(len(names), maxNamesListed)], ", "))
	if more := len(names) - maxNamesListed; more > 0 {
		fmt.Fprintf(b, " and %d more", more)
	}
}

// requestIDs keeps the first few that are request IDs; anything else came from a broken or hostile reporter.
func requestIDs(ids []string) []string {
	var out []string
	for _, id := range ids {
		if len(out) < maxRequestIDs && isRequestID(id) {
			out = append(out, id)
		}
	}
	return out
}

func isRequestID(id string) bool {
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-' {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 128
}

func endpointURL(links string, k sample.Key) string {
	return links + "/endpoints/" + url.PathEscape(k.Service) + "/" + url.PathEscape(k.Instance)
}

func runbookURL(links, name string) model.LabelValue {
	return model.LabelValue(links + "/runbooks/" + url.PathEscape(name))
}

func value(s string) model.LabelValue { return model.LabelValue(text(s)) }

// text bounds what came from outside and keeps it to one printable line: it ends in terminals, chats and pages.
func text(s string) string {
	runes := make([]rune, 0, min(len(s), maxText))
	for _, r := range strings.ToValidUTF8(s, "�") {
		if len(runes) == maxText {
			return string(runes) + "…"
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		runes = append(runes, r)
	}
	return strings.TrimSpace(string(runes))
}
