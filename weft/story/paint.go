package story

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Terminal is Options for a writer: colours and the real width when it is a terminal and NO_COLOR is not set.
func Terminal(w io.Writer) Options {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return Options{}
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width < 40 {
		width = 0
	}
	_, plain := os.LookupEnv("NO_COLOR")
	return Options{Colour: !plain && os.Getenv("TERM") != "dumb", Width: width}
}

// page is what is being printed. The first error sticks.
type page struct {
	w     io.Writer
	opts  Options
	err   error
	width int
}

func newPage(w io.Writer, opts Options) *page {
	p := &page{w: w, opts: opts, width: opts.Width}
	if p.width == 0 {
		p.width = 100
	}
	p.width = min(max(p.width, 60), 200)
	return p
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
}

// Colours, as their SGR number.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (p *page) paint(colour, text string) string {
	if !p.opts.Colour || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// pad fills text to a number of columns.
func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-utf8.RuneCountInString(text)))
}

func padLeft(text string, columns int) string {
	return strings.Repeat(" ", max(0, columns-utf8.RuneCountInString(text))) + text
}

// stateColour is how a state looks.
func stateColour(state string) string {
	switch state {
	case "healthy":
		return green
	case "degraded", "probing":
		return yellow
	case "ejected":
		return red
	}
	return dim
}

// table prints rows under heads; the colour of a cell is asked for by its place.
func (p *page) table(rows [][]string, colour func(row, column int) string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i >= len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for r, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			filled := cell
			if i < len(row)-1 {
				filled = pad(cell, widths[i]+2)
			}
			line.WriteString(p.paint(colour(r, i), filled))
		}
		p.line("%s", line.String())
	}
}

// milliseconds writes a duration with three digits that count.
func milliseconds(ms float64) string {
	switch {
	case ms >= 10_000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 1000:
		return fmt.Sprintf("%.2f s", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.0f µs", ms*1000)
}

// percent writes a ratio; a small one is not rounded to nothing.
func percent(ratio float64) string {
	switch {
	case ratio == 0:
		return "0 %"
	case ratio < 0.0005:
		return "< 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", ratio*100)
}

// ago says how long ago a moment was.
func ago(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case then.IsZero():
		return "at an unknown time"
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s ago", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min ago", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
