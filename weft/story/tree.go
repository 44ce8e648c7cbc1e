package story

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// node is a span with what hangs under it.
type node struct {
	*span
	children []*node
	logs     []record
	lost     bool // its parent is not known
}

// maxLogs of one span are printed; maxIndent is how deep the tree is drawn to the right.
const (
	maxLogs   = 20
	maxIndent = 16
)

type key struct{ trace, span string }

// forest hangs every span under its parent, and every log record under its span. A span that began a trace of its own
// hangs under the span that adopted it. What belongs nowhere is returned.
func forest(a *requestAnswer) (roots []*node, loose []record) {
	all := make(map[key]*node, len(a.Spans))
	bySpan := make(map[string]*node, len(a.Spans))
	var nodes []*node
	for i := range a.Spans {
		n := &node{span: &a.Spans[i]}
		if all[key{n.TraceID, n.SpanID}] == nil {
			all[key{n.TraceID, n.SpanID}], bySpan[n.SpanID] = n, n
			nodes = append(nodes, n)
		}
	}
	for _, n := range nodes {
		parent := all[key{n.TraceID, n.ParentSpanID}]
		if n.AdoptedParent != "" {
			parent = bySpan[n.AdoptedParent]
		}
		if parent == nil || parent == n {
			n.lost = n.ParentSpanID != ""
			roots = append(roots, n)
			continue
		}
		parent.children = append(parent.children, n)
	}
	roots = append(roots, rings(all, roots)...)
	for _, l := range a.Logs {
		if n := all[key{l.TraceID, l.SpanID}]; n != nil && l.SpanID != "" {
			n.logs = append(n.logs, l)
		} else {
			loose = append(loose, l)
		}
	}
	slices.SortStableFunc(roots, byStart)
	return roots, loose
}

func byStart(a, b *node) int {
	return cmp.Or(cmp.Compare(a.StartUnixNano, b.StartUnixNano), strings.Compare(a.SpanID, b.SpanID))
}

// rings cuts rings of spans that are their own ancestors: hostile, but no reason not to print them.
func rings(all map[key]*node, roots []*node) (cut []*node) {
	reached := map[*node]bool{}
	var walk func([]*node)
	walk = func(nodes []*node) {
		for _, n := range nodes {
			if reached[n] {
				continue
			}
			reached[n] = true
			n.children = slices.DeleteFunc(n.children, func(c *node) bool { return reached[c] })
			walk(n.children)
		}
	}
	walk(roots)
	rest := []*node{}
	for _, n := range all {
		if !reached[n] {
			rest = append(rest, n)
		}
	}
	slices.SortFunc(rest, byStart)
	for _, n := range rest {
		if !reached[n] {
			cut = append(cut, n)
			walk([]*node{n})
		}
	}
	return cut
}

// canvas is where bars are drawn: columns over the time from begin to end.
type canvas struct {
	begin, end int64
	columns    int
	label      int
}

func (p *page) tree(a *requestAnswer) {
	roots, loose := forest(a)
	if len(roots) > 0 {
		c := canvas{begin: roots[0].StartUnixNano, end: roots[0].StartUnixNano + 1, columns: max(12, p.width/5)}
		for i := range a.Spans {
			c.begin = min(c.begin, a.Spans[i].StartUnixNano)
			c.end = max(c.end, a.Spans[i].StartUnixNano+a.Spans[i].DurationNS)
		}
		c.label = p.width - c.columns - 12
		for _, root := range roots {
			p.branch(root, c, "", "")
		}
	}
	for i, l := range loose {
		if i == 0 {
			p.line("%s", p.paint(bold, "logs of no span"))
		}
		if i >= 5*maxLogs {
			p.line("  … %d more", len(loose)-i)
			break
		}
		p.line("  %s %s", clean(l.Service), p.log(l, p.width-len(l.Service)-4))
	}
}

// branch prints a span, its logs and what hangs under it. first is what stands before its own line, rest before the
// lines below.
func (p *page) branch(n *node, c canvas, first, rest string) {
	label, colour := p.label(n)
	label = cut(first+label, c.label)
	painted := p.paint(dim, first) + p.paint(colour, strings.TrimPrefix(label, first))
	if !strings.HasPrefix(label, first) {
		painted = p.paint(dim, label)
	}
	fill := strings.Repeat(" ", max(0, c.label-utf8.RuneCountInString(label)))
	bar := dim
	if n.Status == "error" {
		bar = red
	} else if n.Proxy == "" {
		bar = cyan
	}
	p.line("%s%s %s %s", painted, fill, padLeft(milliseconds(float64(n.DurationNS)/1e6), 9), p.paint(bar, c.bar(n.span)))
	below := rest + "  "
	if len(n.children) > 0 {
		below = rest + "│ "
	}
	for i, l := range n.logs {
		if i >= maxLogs {
			p.line("%s", p.paint(dim, fmt.Sprintf("%s  … %d more", below, len(n.logs)-i)))
			break
		}
		p.line("%s  %s", p.paint(dim, below), p.log(l, p.width-utf8.RuneCountInString(below)-2))
	}
	slices.SortStableFunc(n.children, byStart)
	for i, child := range n.children {
		before, after := rest+"├ ", rest+"│ "
		if i == len(n.children)-1 {
			before, after = rest+"└ ", rest+"  "
		}
		if utf8.RuneCountInString(rest) >= 2*maxIndent {
			before, after = rest+"» ", rest
		}
		p.branch(child, c, before, after)
	}
}

// label is what a span is, in a few words.
func (p *page) label(n *node) (text, colour string) {
	text = clean(n.Service) + " " + clean(n.Name)
	switch {
	case n.Routing != nil:
		r := n.Routing
		text = fmt.Sprintf("%s → %s", clean(n.Service), cmp.Or(clean(r.Endpoint), clean(r.Service)))
		if n.Attempt > 0 {
			text += fmt.Sprintf(" (attempt %d)", n.Attempt+1)
		}
		if status := n.Attributes["http.response.status_code"]; status != nil {
			text += " " + clean(fmt.Sprint(status))
		}
		text += fmt.Sprintf(" %s · %s, weight %v", clean(r.Outcome), clean(r.Pick), weight(r.Weight))
		if r.VerdictVersion != "" && r.VerdictVersion != "0" {
			text += ", verdict " + clean(r.VerdictVersion)
		}
	case n.Proxy == "sidecar":
		text = clean(n.Service) + " ← its sidecar " + clean(n.Instance)
	}
	if cause, ok := n.Attributes["weft.cause"].(string); ok {
		text += ", because of " + clean(cause)
	}
	if n.lost {
		text += " (its caller is not known)"
	}
	switch {
	case n.Status == "error":
		if n.StatusMessage != "" {
			text += ": " + clean(n.StatusMessage)
		}
		return text, red
	case n.Proxy != "":
		return text, dim
	}
	return text, ""
}

func weight(w any) string {
	if w == nil {
		return "?"
	}
	return clean(fmt.Sprint(w))
}

// bar is the span's place in time. Times come from elsewhere and may be anything, so each is clamped.
func (c canvas) bar(s *span) string {
	scale := float64(c.columns) / max(1, float64(c.end)-float64(c.begin))
	place := func(columns float64, least, most int) int {
		return int(min(max(columns, float64(least)), float64(most)))
	}
	from := place((float64(s.StartUnixNano)-float64(c.begin))*scale, 0, c.columns-1)
	length := place(float64(s.DurationNS)*scale+0.5, 1, c.columns-from)
	return strings.Repeat("·", from) + strings.Repeat("█", length) + strings.Repeat("·", c.columns-from-length)
}

func (p *page) log(l record, columns int) string {
	severity, colour := clean(l.Severity), dim
	switch {
	case strings.HasPrefix(severity, "ERR"), strings.HasPrefix(severity, "FATAL"):
		colour = red
	case strings.HasPrefix(severity, "WARN"):
		colour = yellow
	}
	severity = pad(cut(severity, 5), 5)
	when := time.Unix(0, l.TimeUnixNano).Local().Format("15:04:05.000")
	return p.paint(dim, when) + " " + p.paint(colour, severity) + " " + cut(clean(l.Body), max(columns-20, 20))
}
