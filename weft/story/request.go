package story

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// Request prints what happened to a request: by its request ID, trace ID or the client's own ID.
func Request(ctx context.Context, w io.Writer, base, id string, opts Options) error {
	var a requestAnswer
	raw, err := ask(ctx, base, "/api/requests/"+url.PathEscape(id), &a)
	if err != nil {
		return err
	}
	if opts.JSON {
		return printJSON(w, raw)
	}
	p := newPage(w, opts)
	p.heading(&a)
	p.line("")
	p.tree(&a)
	p.around(&a)
	p.line("%s", p.paint(dim, "console: "+strings.TrimSuffix(base, "/")+"/requests/"+url.PathEscape(a.RequestID)))
	return p.err
}

func (p *page) heading(a *requestAnswer) {
	what := strings.TrimSpace(clean(a.Method) + " " + clean(a.Route))
	p.line("%s %s in %s", p.paint(bold, cmp.Or(what, "a request")), p.outcome(a.Status, a.Error), milliseconds(a.DurationMS))
	p.line("  request %s", p.paint(cyan, clean(a.RequestID)))
	for _, trace := range a.TraceIDs {
		if trace != a.RequestID || len(a.TraceIDs) > 1 {
			p.line("  trace   %s", clean(trace))
		}
	}
	if a.ClientRequestID != "" {
		p.line("  the client called it %s", clean(a.ClientRequestID))
	}
	where := ""
	if a.Service != "" {
		where = " at " + clean(a.Service)
	}
	p.line("  began %s%s", a.Start.Local().Format("2006-01-02 15:04:05.000 MST"), where)
	if a.Attempts > 1 {
		p.line("  %s", p.paint(yellow, fmt.Sprintf("one hop needed %d attempts", a.Attempts)))
	}
	for _, service := range a.DroppedBy {
		p.line("  %s", p.paint(yellow, clean(service)+" did not pass traceparent on; its calls were joined by the request ID"))
	}
	for _, missing := range a.Incomplete {
		p.line("  %s", p.paint(red, "incomplete: "+clean(missing)))
	}
	for _, one := range a.Requests {
		what := strings.TrimSpace(clean(one.Method) + " " + clean(one.Route))
		p.line("  holds %s  %s %s in %s, at %s", clean(one.RequestID), what, p.outcome(one.Status, one.Error), milliseconds(one.DurationMS), one.Start.Local().Format("15:04:05.000"))
	}
}

func (p *page) outcome(status int, failed bool) string {
	text, colour := fmt.Sprint(status), green
	if status == 0 {
		text = "ok"
		if failed {
			text = "failed"
		}
	}
	switch {
	case failed || status >= 500:
		colour = red
	case status >= 400:
		colour = yellow
	}
	return p.paint(colour, text)
}

// around prints what was known of the request's surroundings.
func (p *page) around(a *requestAnswer) {
	if len(a.Services) > 0 {
		p.line("")
		p.line("%s", p.paint(bold, "services in that minute"))
	}
	rows := [][]string{}
	for _, s := range a.Services {
		rows = append(rows, []string{"  " + clean(s.Service), fmt.Sprintf("%.1f/s", s.Rate), percent(s.ErrorRatio) + " errors", "p99 " + milliseconds(s.P99MS)})
	}
	p.table(rows, func(int, int) string { return "" })
	if len(a.Verdicts) > 0 {
		p.line("")
		p.line("%s", p.paint(bold, "verdicts in force"))
		for i := range a.Verdicts {
			p.verdictLine(&a.Verdicts[i])
		}
	}
	if len(a.Alerts) > 0 {
		p.line("")
		p.line("%s", p.paint(bold, "alerts"))
		p.alerts(a.Alerts)
	}
	p.line("")
}

func (p *page) verdictLine(v *verdict) {
	note := ""
	if !v.Enforced {
		note = " (observed, not enforced)"
	}
	p.line("  %s %s weight %d, version %d%s  %s", pad(clean(v.Endpoint), 22), p.paint(stateColour(v.State), pad(clean(v.State), 8)), v.Weight, v.Version, note, cut(clean(v.Reason), p.width-20))
}

func (p *page) alerts(alerts []alert) {
	for _, a := range alerts {
		colour := red
		if a.Status != "firing" {
			colour = dim
		}
		p.line("  %s %s %s  %s", p.paint(colour, pad(clean(a.Status), 8)), pad(clean(cmp.Or(a.Endpoint, a.Subject)), 22), cut(cmp.Or(clean(a.Summary), clean(a.Name)), p.width-34),
			p.paint(dim, ago(time.Now(), a.StartsAt)))
	}
}
