package sealed

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"weft/collector/store/sealed/column"
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
func sample(batches []Batch, kind signalKind) *counter {
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
		if kind == spansFile {
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

// schema decides which attributes have a column: the well-known, and the most frequent.
func (c *counter) schema(kind signalKind, keep []string) (*schema, []column.Def) {
	s := &schema{signal: kind, byKey: map[string]int{}}
	defs := slices.Clone(kind.columns())
	for _, w := range wellKnown {
		s.add(Attribute{Column: w.column, Key: w.key})
		defs = append(defs, column.Def{Name: w.column, Kind: w.kind})
	}
	type candidate struct {
		key   string
		kind  column.Kind
		count int
	}
	var found []candidate
	for key, types := range c.counts {
		if _, known := s.byKey[key]; known || !promotable(key) {
			continue
		}
		for t, n := range types {
			k, ok := kindOf(otlp.Type(t))
			if slices.Contains(keep, key) {
				n *= 2
			}
			if ok && n*promoteShare >= c.rows && n == max(n, slices.Max(types[:])) {
				found = append(found, candidate{key, k, n})
				break
			}
		}
	}
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.count, a.count), strings.Compare(a.key, b.key)) })
	found = found[:min(len(found), maxPromoted)]
	slices.SortFunc(found, func(a, b candidate) int { return strings.Compare(a.key, b.key) })
	for _, f := range found {
		s.add(Attribute{Column: attrPrefix + f.key, Key: f.key})
		defs = append(defs, column.Def{Name: attrPrefix + f.key, Kind: f.kind})
	}
	return s, defs
}

func promotable(key string) bool {
	return len(key) > 0 && len(key) <= maxKeyLen && utf8.ValidString(key) && !slices.Contains(semconv.RequestIDAliases, key)
}

func (s *schema) add(a Attribute) {
	s.byKey[a.Key] = len(s.attributes)
	s.attributes = append(s.attributes, a)
}
