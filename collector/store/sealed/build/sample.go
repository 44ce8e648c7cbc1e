package build

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/rows"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

const (
	maxPromoted   = 48 // attributes with a column of their own, besides the well-known
	promoteShare  = 64 // one row in so many must have it
	sampleBatches = 64
	sampleItems   = 256 // of a batch
	maxKeyLen     = 128
	maxCounted    = 4096
)

// counter counts the attribute keys in a sample of the batches.
type counter struct {
	rows   int
	bytes  int                // of the items
	counts map[string]*[8]int // by type
}

var errEnough = errors.New("enough")

// sample looks at batches that are evenly spread.
func sample(batches []Batch, kind rows.Signal) *counter {
	c := &counter{counts: map[string]*[8]int{}}
	step := max(1, len(batches)/sampleBatches)
	for i := 0; i < len(batches); i += step {
		items := 0
		count := func(attrs []otlp.Attr, raw []byte) error {
			c.add(attrs)
			c.bytes += len(raw)
			if items++; items >= sampleItems {
				return errEnough
			}
			return nil
		}
		if kind == rows.Spans {
			_ = otlp.Spans(batches[i].Raw, func(s *otlp.Span) error { return count(s.Attrs, s.Raw) }) // what is malformed counts when rows are read
		} else {
			_ = otlp.Logs(batches[i].Raw, func(l *otlp.Log) error { return count(l.Attrs, l.Raw) })
		}
	}
	return c
}

// estimate is about how many rows there will be, rather too many.
func (c *counter) estimate(batches []Batch) int {
	total := 0
	for _, b := range batches {
		total += len(b.Raw)
	}
	return total / max(1, c.bytes/max(1, c.rows))
}

func (c *counter) add(attrs []otlp.Attr) {
	c.rows++
	for i := range attrs {
		n := c.counts[attrs[i].Key]
		if n == nil {
			if len(c.counts) >= maxCounted {
				continue
			}
			n = new([8]int)
			c.counts[strings.Clone(attrs[i].Key)] = n
		}
		n[attrs[i].Value.Type&7]++
	}
}

// promote gives columns to the well-known attributes and to those with these keys.
func promote(s *rows.Schema, keys []string, kinds map[string]column.Kind) []column.Def {
	defs := slices.Clone(s.Signal.Columns())
	for _, w := range rows.WellKnown {
		s.Add(rows.Attribute{Column: w.Column, Key: w.Key})
		defs = append(defs, column.Def{Name: w.Column, Kind: w.Kind})
	}
	for _, key := range keys {
		s.Add(rows.Attribute{Column: rows.AttrPrefix + key, Key: key})
		defs = append(defs, column.Def{Name: rows.AttrPrefix + key, Kind: kinds[key]})
	}
	return defs
}

// schema decides which attributes have a column: the well-known, and the most frequent. Those in keep need only be half
// as frequent.
func (c *counter) schema(kind rows.Signal, keep []string) (*rows.Schema, []column.Def) {
	kinds, counts := map[string]column.Kind{}, map[string]int{}
	var keys []string
	for key, types := range c.counts {
		most := slices.Max(types[:])
		k, ok := rows.KindOf(otlp.Type(slices.Index(types[:], most)))
		if slices.Contains(keep, key) {
			most *= 2
		}
		if ok && promotable(key) && most*promoteShare >= c.rows {
			kinds[key], counts[key] = k, most
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b)) })
	keys = keys[:min(len(keys), maxPromoted)]
	slices.Sort(keys)
	s := rows.NewSchema(kind)
	return s, promote(s, keys, kinds)
}

func promotable(key string) bool {
	return len(key) > 0 && len(key) <= maxKeyLen && utf8.ValidString(key) && !slices.Contains(semconv.RequestIDAliases, key) &&
		!slices.ContainsFunc(rows.WellKnown, func(w rows.WellKnownAttribute) bool { return w.Key == key })
}
