package otlp

import "fmt"

// errDeep is what a decoder without a bound would die of: a goroutine's stack that is used up ends the process.
var errDeep = fmt.Errorf("%w: %s", ErrMalformed, tooDeep)

// shape says which fields of a message hold messages, by field number, and about what one takes when it is decoded.
type shape struct {
	fields [18]*shape
	old    *shape // behind fieldDeprecated; its items count when there is no fieldScopes
	bytes  int64  // of memory, with its place in a slice
	each   int64  // of memory, for a byte of its own
	item   bool
	value  bool // nests
	leaf   bool // nothing in it is looked at
}

// Shapes down to the item and no further, which count, and whole ones, which weigh.
var (
	item        = &shape{item: true, leaf: true}
	justRecords = batchOf(nil, nil, item)
	justPoints  = batchOf(nil, nil, justMetric)
	justMetric  = metricOf(pointsOf(item))

	pair      = anyValue().fields[6].fields[1]
	exemplar  = &shape{fields: [18]*shape{7: pair}, bytes: 128}
	buckets   = &shape{fields: [18]*shape{2: {each: 8, leaf: true}}, bytes: 48} // varints, of a byte or more
	resource  = &shape{fields: [18]*shape{1: pair, 3: {bytes: 128, leaf: true}}, bytes: 64}
	scope     = &shape{fields: [18]*shape{3: pair}, bytes: 64}
	allTraces = batchOf(resource, scope, &shape{bytes: 320, fields: [18]*shape{
		9: pair, 11: {fields: [18]*shape{3: pair}, bytes: 128}, 13: {fields: [18]*shape{4: pair}, bytes: 160},
	}})
	allLogs    = batchOf(resource, scope, &shape{bytes: 320, fields: [18]*shape{5: pair.fields[2], 6: pair}})
	allMetrics = batchOf(resource, scope, metric)
	metric     = anyMetric()
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

func anyMetric() *shape {
	m := metricOf(pointsOf(&shape{bytes: 192, fields: [18]*shape{5: exemplar, 7: pair}}))
	m.fields[9] = pointsOf(&shape{bytes: 320, fields: [18]*shape{8: exemplar, 9: pair}})
	m.fields[10] = pointsOf(&shape{bytes: 384, fields: [18]*shape{1: pair, 8: buckets, 9: buckets, 11: exemplar}})
	m.fields[11] = pointsOf(&shape{bytes: 256, fields: [18]*shape{6: {bytes: 48, leaf: true}, 7: pair}})
	m.fields[12] = pair
	return m
}

func anyValue() *shape {
	value := &shape{bytes: 48, value: true}
	value.fields[5] = &shape{fields: [18]*shape{1: value}, bytes: 48}
	value.fields[6] = &shape{fields: [18]*shape{1: {fields: [18]*shape{2: value}, bytes: 48}}, bytes: 48}
	return value
}

// tally is what a batch comes to.
type tally struct {
	items int
	bytes int64
}

// add follows every message; nested counts the values around this one.
func (t *tally) add(s *shape, buf []byte, nested int) error {
	t.bytes += s.bytes + s.each*int64(len(buf))
	if s.item {
		t.items++
	}
	if s.leaf {
		return nil
	}
	if s.value {
		if nested++; nested > maxDepth+1 {
			return errDeep
		}
	}
	var old tally
	scopes := false
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		inner, into := (*shape)(nil), t
		if f.id < int32(len(s.fields)) {
			inner, scopes = s.fields[f.id], scopes || f.id == fieldScopes
		} else if f.id == fieldDeprecated {
			inner, into = s.old, &old
		}
		if inner == nil || inner.each > 0 && f.wire != bytesType { // counts need not be packed
			continue
		}
		if err := f.is(bytesType); err != nil {
			return err
		}
		if err := into.add(inner, f.data, nested); err != nil {
			return err
		}
	}
	t.bytes += old.bytes
	if !scopes {
		t.items += old.items
	}
	return nil
}
