package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Health prints the services and how they are.
func Health(ctx context.Context, w io.Writer, base string, opts Options) error {
	var a struct {
		Services []serviceAnswer `json:"services"`
	}
	raw, err := ask(ctx, base, "/api/services", &a)
	if err != nil {
		return err
	}
	if opts.JSON {
		return printJSON(w, raw)
	}
	var alerts struct {
		Alerts []alert `json:"alerts"`
	}
	if _, err := ask(ctx, base, "/api/alerts", &alerts); err != nil {
		return err
	}
	p := newPage(w, opts)
	if len(a.Services) == 0 {
		p.line("no service has answered a request yet")
	} else {
		p.services(a.Services)
	}
	open := slices.DeleteFunc(alerts.Alerts, func(a alert) bool { return a.Status == "resolved" })
	if len(open) > 0 {
		p.line("")
		p.line("%s", p.paint(bold, plural(len(open), "alert", "alerts")))
		p.alerts(open)
		if slices.ContainsFunc(open, func(a alert) bool { return a.Endpoint != "" }) {
			p.line("%s", p.paint(dim, "weft why ENDPOINT shows the evidence"))
		}
	}
	return p.err
}

func (p *page) services(services []serviceAnswer) {
	rows := [][]string{{"SERVICE", "STATE", "HEALTHY", "RATE", "ERRORS", "P99", "CALLS"}}
	for _, s := range services {
		row := []string{clean(s.Service), clean(s.State), fmt.Sprintf("%d/%d", s.Healthy, s.Endpoints), fmt.Sprintf("%.1f/s", s.Rate), percent(s.ErrorRatio), milliseconds(s.P99MS), clean(strings.Join(s.Calls, ", "))}
		if s.Rate == 0 {
			row[4], row[5] = "-", "-"
		}
		rows = append(rows, row)
	}
	p.table(rows, func(row, column int) string {
		switch {
		case row == 0:
			return bold
		case column == 1:
			return stateColour(services[row-1].State)
		case column == 4 && services[row-1].ErrorRatio >= 0.01:
			return red
		}
		return ""
	})
}

// Why prints the verdicts on an endpoint ("payment-2" or "payment/payment-2") with their evidence, or those on every
// endpoint of a service.
func Why(ctx context.Context, w io.Writer, base, endpoint string, opts Options) error {
	var a struct {
		Verdicts []verdict `json:"verdicts"`
	}
	raw, err := ask(ctx, base, "/api/verdicts?history=true&endpoint="+url.QueryEscape(endpoint), &a)
	if err != nil {
		return err
	}
	if len(a.Verdicts) == 0 {
		raw, err = ask(ctx, base, "/api/services/"+url.PathEscape(endpoint), &a)
		if errors.Is(err, errUnknown) || err == nil && len(a.Verdicts) == 0 {
			return fmt.Errorf("nothing is concluded of an endpoint or service %q; weft health lists the services", endpoint)
		}
		if err != nil {
			return err
		}
	}
	if opts.JSON {
		return printJSON(w, raw)
	}
	p := newPage(w, opts)
	slices.SortStableFunc(a.Verdicts, func(x, y verdict) int { return strings.Compare(x.Endpoint, y.Endpoint) })
	last := ""
	for i := range a.Verdicts {
		v := &a.Verdicts[i]
		switch {
		case v.Current:
			if last != "" {
				p.line("")
			}
			p.judged(v)
		case v.Endpoint != last || i > 0 && a.Verdicts[i-1].Current:
			p.line("%s", p.paint(bold, "before"))
			p.earlier(v)
		default:
			p.earlier(v)
		}
		last = v.Endpoint
	}
	return p.err
}

func (p *page) earlier(v *verdict) {
	p.line("  %s %s weight %d  %s", v.Since.Local().Format("15:04:05"), p.paint(stateColour(v.State), pad(clean(v.State), 8)), v.Weight, cut(clean(v.Reason), p.width-34))
}

// judged prints the verdict that stands, with its evidence.
func (p *page) judged(v *verdict) {
	e := &v.Evidence
	p.line("%s is %s, weight %d, since %s (%s)", p.paint(bold, clean(v.Endpoint)), p.paint(stateColour(v.State), clean(v.State)), v.Weight,
		v.Since.Local().Format("15:04:05"), ago(time.Now(), v.Since))
	if v.Reason != "" {
		p.line("  %s", clean(v.Reason))
	}
	if !v.Enforced {
		p.line("  %s", p.paint(yellow, "observed only: no proxy was told"))
	}
	rows := [][]string{}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{"  " + name, value})
		}
	}
	if e.Attempts > 0 {
		add("attempts", fmt.Sprintf("%d in %s, %d failed", e.Attempts, time.Duration(e.Window).Round(100*time.Millisecond), e.Failures))
		add("errors", fmt.Sprintf("%s, usually %s", percent(e.ErrorRatio), percent(e.BaselineErrorRatio)))
	}
	if e.P99 > 0 {
		rest := ""
		if e.RestP99 > 0 {
			rest = ", the rest of its service " + milliseconds(float64(e.RestP99)/1e6)
		}
		add("p99", milliseconds(float64(e.P99)/1e6)+rest)
	}
	add("reporters", clean(strings.Join(e.Reporters, ", ")))
	add("witnesses", clean(strings.Join(e.Witnesses, ", ")))
	add("test", clean(e.Test))
	add("address", clean(v.Address))
	add("version", fmt.Sprint(v.Version))
	for i, id := range e.RequestIDs {
		if i >= 5 {
			break
		}
		add([]string{"requests", ""}[min(i, 1)], "weft request "+clean(id))
	}
	p.table(rows, func(_, column int) string { return []string{dim, ""}[column] })
}
