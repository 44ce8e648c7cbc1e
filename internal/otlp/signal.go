package otlp

// Signal is one of OTLP's kinds of data, and of what a batch consists.
type Signal string

// The signals that OTLP has a stable service for.
const (
	SignalTraces  Signal = "traces"
	SignalLogs    Signal = "logs"
	SignalMetrics Signal = "metrics"
)

// shape says which fields of a message hold messages, by field number, and about what one takes when it is decoded.
type shape struct {
	fields [18]*shape
	old    *shape // behind fieldDeprecated; counts when fieldScopes is absent
	bytes  int64  // of memory
	item   bool
	value  bool // nests
}

// The shapes that Items follows: down to the item and no further.
var (
	justRecords = batchOf(nil, nil, &shape{item: true})
	justPoints  = batchOf(nil, nil, metricOf(pointsOf(&shape{item: true})))
)

// batchOf is a batch: resources with scopes with items or metrics.
func batchOf(resource, scope, inner *shape) *shape {
	scopes := &shape{fields: [18]*shape{fieldScope: scope, fieldItems: inner}, bytes: 256}
	resources := &shape{fields: [18]*shape{fieldResource: resource, fieldScopes: scopes}, old: scopes, bytes: 256}
	return &shape{fields: [18]*shape{fieldResources: resources}}
}

// metricOf is a metric with the points of its one type.
func metricOf(points *shape) *shape {
	return &shape{fields: [18]*shape{5: points, 7: points, 9: points, 10: points, 11: points}, bytes: 192}
}

func pointsOf(point *shape) *shape { return &shape{fields: [18]*shape{1: point}, bytes: 64} }

// Items counts the spans, log records or data points of a batch, without a look into them.
func (s Signal) Items(batch []byte) (int, error) {
	if s == SignalMetrics {
		return justPoints.items(batch)
	}
	return justRecords.items(batch)
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
