package otlp

// Signal is one of OTLP's kinds of data, and of what a batch consists.
type Signal string

// The signals that OTLP has a stable service for.
const (
	SignalTraces  Signal = "traces"
	SignalLogs    Signal = "logs"
	SignalMetrics Signal = "metrics"
)

// shape says which fields of a message hold messages, by field number, and what one costs when it is decoded.
type shape struct {
	fields [18]*shape
	old    *shape // behind fieldDeprecated; counts when fieldScopes is absent
	bytes  int
	item   bool
}

// The trees that Items follows: down to the item and no further.
var (
	itemShape    = &shape{item: true}
	pointsShape  = &shape{fields: [18]*shape{1: itemShape}}
	metricShape  = &shape{fields: [18]*shape{5: pointsShape, 7: pointsShape, 9: pointsShape, 10: pointsShape, 11: pointsShape}}
	recordsShape = batchOf(itemShape)
	metricsShape = batchOf(metricShape)
)

// batchOf is a batch: resources with scopes with items.
func batchOf(item *shape) *shape {
	scope := &shape{fields: [18]*shape{fieldItems: item}}
	resource := &shape{fields: [18]*shape{fieldScopes: scope}, old: scope}
	return &shape{fields: [18]*shape{fieldResources: resource}}
}

// Items counts the spans, log records or data points of a batch, without a look into them.
func (s Signal) Items(batch []byte) (int, error) {
	shape := recordsShape
	if s == SignalMetrics {
		shape = metricsShape
	}
	return shape.items(batch)
}

func (s *shape) items(buf []byte) (n int, err error) {
	c, f, old := cursor{buf: buf}, field{}, s.old
	for {
		ok, err := c.next(&f)
		if err != nil {
			return n, err
		}
		if !ok {
			break
		}
		if f.id >= int32(len(s.fields)) || s.fields[f.id] == nil {
			continue
		}
		if err := f.is(bytesType); err != nil {
			return n, err
		}
		if f.id == fieldScopes {
			old = nil
		}
		inner := s.fields[f.id]
		if inner.item {
			n++
			continue
		}
		more, err := inner.items(f.data)
		if err != nil {
			return n, err
		}
		n += more
	}
	if old == nil {
		return n, nil
	}
	err = each(buf, fieldDeprecated, func(scope []byte) error {
		more, err := old.items(scope)
		n += more
		return err
	})
	return n, err
}
