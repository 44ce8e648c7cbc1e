// Package search says which spans or log records are wanted, and whether one is.
//
// The same Query is asked of sealed files, which read only what they must, and of items in memory (MatchSpan, MatchLog),
// and has the same answer.
package search

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weft/collector/signal"
)

// Query is a conjunction. The zero value matches everything.
type Query struct {
	From, To    int64         // of a span's start or a record's time, Unix ns, From <= time < To; 0 = no bound
	Services    []string      // any of them; none = all
	Names       []string      // of spans, any of them
	Kinds       []signal.Kind // of spans, any of them
	Statuses    []signal.Status
	MinDuration int64 // of spans, ns
	MaxDuration int64 // 0 = no bound
	MinSeverity int32 // of records, OTLP's number
	Body        []Line
	Attributes  []Match
	Resource    []Match
	// Limit is how many are wanted; 0 = all. Newest wants the newest of them, newest first, and needs a limit; else they
	// come in the order of the file.
	Limit  int
	Newest bool
}

// Op compares the text of an attribute's value, or its number, with that of a Match.
type Op uint8

// Operators. An attribute that is absent is the empty text, and no number.
const (
	Equal Op = iota
	NotEqual
	Matches    // the whole text, a regular expression (RE2)
	NotMatches //
	Greater    // both numbers
	GreaterEqual
	Less
	LessEqual
)

// Match is a condition on an attribute. Numbers are their shortest decimal text, lists and maps JSON, bytes base64.
type Match struct {
	Key   string
	Op    Op
	Value string
}

// Line is a condition on a record's body.
type Line struct {
	Text   string // that the body contains
	Regexp bool   // Text is a regular expression that some part of the body matches
	Not    bool
}

// Compiled is a query that is ready.
type Compiled struct {
	Query
	Attributes, Resource []*Matcher
	Lines                []*LineMatcher
}

// Matcher is a Match that is ready.
type Matcher struct {
	Match
	re     *regexp.Regexp
	number float64
	// Absent says whether an item without the attribute matches.
	Absent bool
}

// LineMatcher is a Line that is ready.
type LineMatcher struct {
	Line
	re *regexp.Regexp
}

// Compile makes a query ready, or says what is wrong with it.
func (q Query) Compile() (*Compiled, error) {
	c := &Compiled{Query: q}
	if q.Newest && q.Limit <= 0 {
		return nil, errors.New("the newest of all need a limit")
	}
	var faults []error
	compile := func(in []Match) (out []*Matcher) {
		for _, m := range in {
			x, err := m.compile()
			faults = append(faults, err)
			out = append(out, x)
		}
		return out
	}
	c.Attributes, c.Resource = compile(q.Attributes), compile(q.Resource)
	for _, l := range q.Body {
		x := &LineMatcher{Line: l}
		if l.Regexp {
			var err error
			x.re, err = regexp.Compile(l.Text)
			faults = append(faults, err)
		}
		c.Lines = append(c.Lines, x)
	}
	return c, errors.Join(faults...)
}

func (m Match) compile() (x *Matcher, err error) {
	x = &Matcher{Match: m}
	switch m.Op {
	case Matches, NotMatches:
		if x.re, err = regexp.Compile("^(?s:" + m.Value + ")$"); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", m.Key, err)
		}
	case Greater, GreaterEqual, Less, LessEqual:
		if x.number, err = strconv.ParseFloat(m.Value, 64); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", m.Key, err)
		}
	}
	x.Absent = x.Text("")
	return x, nil
}

// Text says whether a text matches.
func (m *Matcher) Text(text string) bool {
	switch m.Op {
	case Equal:
		return text == m.Value
	case NotEqual:
		return text != m.Value
	case Matches:
		return m.re.MatchString(text)
	case NotMatches:
		return !m.re.MatchString(text)
	}
	f, err := strconv.ParseFloat(text, 64)
	return err == nil && m.Number(f)
}

// Number says whether a number is on the right side of the Match's.
func (m *Matcher) Number(f float64) bool {
	switch m.Op {
	case Greater:
		return f > m.number
	case GreaterEqual:
		return f >= m.number
	case Less:
		return f < m.number
	case LessEqual:
		return f <= m.number
	}
	return m.Text(signal.Text(f))
}

// Compares says whether the Match compares numbers, and which one it has.
func (m *Matcher) Compares() (float64, bool) { return m.number, m.Op >= Greater }

// Wants says whether an attribute's value matches; nil is absent.
func (m *Matcher) Wants(v any) bool {
	if _, ok := m.Compares(); ok {
		switch v := v.(type) {
		case int64:
			return m.Number(float64(v))
		case float64:
			return m.Number(v)
		}
	}
	return m.Text(signal.Text(v))
}

// Match says whether a body matches.
func (l *LineMatcher) Match(body string) bool {
	if l.re != nil {
		return l.re.MatchString(body) != l.Not
	}
	return strings.Contains(body, l.Text) != l.Not
}

// MatchSpan says whether a span is wanted.
func (c *Compiled) MatchSpan(s *signal.Span) bool {
	return c.InTime(s.Start) && c.InDuration(s.Duration()) && any1(c.Services, s.Service) && any1(c.Names, s.Name) &&
		any1(c.Kinds, s.Kind) && any1(c.Statuses, s.Status) && all(c.Attributes, s.Attributes) && all(c.Resource, s.Resource)
}

// MatchLog says whether a record is wanted.
func (c *Compiled) MatchLog(l *signal.Log) bool {
	if !c.InTime(l.Time) || !any1(c.Services, l.Service) || l.SeverityNumber < c.MinSeverity {
		return false
	}
	for _, line := range c.Lines {
		if !line.Match(l.Body) {
			return false
		}
	}
	return all(c.Attributes, l.Attributes) && all(c.Resource, l.Resource)
}

// InTime says whether a time is wanted.
func (c *Compiled) InTime(t int64) bool {
	return (c.From == 0 || t >= c.From) && (c.To == 0 || t < c.To)
}

// InDuration says whether a duration is wanted.
func (c *Compiled) InDuration(d int64) bool {
	return d >= c.MinDuration && (c.MaxDuration == 0 || d <= c.MaxDuration)
}

func any1[T comparable](wanted []T, v T) bool { return len(wanted) == 0 || slices.Contains(wanted, v) }

func all(matchers []*Matcher, attrs signal.Attributes) bool {
	for _, m := range matchers {
		if !m.Wants(attrs[m.Key]) {
			return false
		}
	}
	return true
}
