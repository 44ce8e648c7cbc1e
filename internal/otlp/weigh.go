package otlp

import "fmt"

// errDeep is what a decoder without a bound would die of: a goroutine's stack that is used up ends the process.
var errDeep = fmt.Errorf("%w: %s", ErrMalformed, tooDeep)

// The shapes of whole batches, as the decoder would see them. The memory that a message takes is rounded, with the slice it
// lies in.
var (
	shapeValue    = anyValue()
	shapePair     = &shape{fields: [18]*shape{2: shapeValue}, bytes: 48}
	shapeResource = &shape{fields: [18]*shape{1: shapePair, 3: {bytes: 128}}, bytes: 64}
	shapeScope    = &shape{fields: [18]*shape{3: shapePair}, bytes: 64}
	shapeExemplar = &shape{fields: [18]*shape{7: shapePair}, bytes: 128}
	packedCounts  = &shape{}
	shapeBuckets  = &shape{fields: [18]*shape{2: packedCounts}, bytes: 48}

	shapeTraces = batchOf(shapeResource, shapeScope, &shape{bytes: 320, fields: [18]*shape{
		9: shapePair, 11: {fields: [18]*shape{3: shapePair}, bytes: 128}, 13: {fields: [18]*shape{4: shapePair}, bytes: 160},
	}})
	shapeLogs   = batchOf(shapeResource, shapeScope, &shape{bytes: 320, fields: [18]*shape{5: shapeValue, 6: shapePair}})
	shapeMetric = metric()
	justMetric  = metricOf(pointsOf(&shape{item: true}))
	shapePoints = batchOf(shapeResource, shapeScope, shapeMetric)
)

func anyValue() *shape {
	value := &shape{bytes: 48, value: true}
	pair := &shape{fields: [18]*shape{2: value}, bytes: 48}
	value.fields[5] = &shape{fields: [18]*shape{1: value}, bytes: 48}
	value.fields[6] = &shape{fields: [18]*shape{1: pair}, bytes: 48}
	return value
}

func metric() *shape {
	number := pointsOf(&shape{bytes: 192, fields: [18]*shape{5: shapeExemplar, 7: shapePair}})
	m := metricOf(number)
	m.fields[9] = pointsOf(&shape{bytes: 320, fields: [18]*shape{8: shapeExemplar, 9: shapePair}})
	m.fields[10] = pointsOf(&shape{bytes: 384, fields: [18]*shape{1: shapePair, 8: shapeBuckets, 9: shapeBuckets, 11: shapeExemplar}})
	m.fields[11] = pointsOf(&shape{bytes: 256, fields: [18]*shape{6: {bytes: 48}, 7: shapePair}})
	m.fields[12] = shapePair
	return m
}

// Decoded is about the memory in bytes that the full decoder makes of a batch: of one with many small messages, a hundred
// times what came. It is ErrMalformed for a batch whose values nest so deep that the decoder must not see them.
func (s Signal) Decoded(batch []byte) (int64, error) {
	root := shapePoints
	switch s {
	case SignalTraces:
		root = shapeTraces
	case SignalLogs:
		root = shapeLogs
	}
	n, err := weigh(root, batch)
	return n + int64(len(batch)), err
}

func weigh(s *shape, buf []byte) (int64, error) { return s.weigh(buf, 0) }

// weigh follows every message; nested counts the values around this one.
func (s *shape) weigh(buf []byte, nested int) (int64, error) {
	if s.value {
		nested++
	}
	if nested > maxDepth+1 {
		return 0, errDeep
	}
	sum := s.bytes
	if s == packedCounts {
		return 8 * int64(len(buf)), nil // varints, of a byte each
	}
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return sum, err
		}
		inner := s.inner(f.id)
		if inner == nil || f.wire != bytesType {
			continue
		}
		more, err := inner.weigh(f.data, nested)
		if err != nil {
			return sum, err
		}
		sum += more
	}
}

func (s *shape) inner(id int32) *shape {
	if id == fieldDeprecated {
		return s.old
	}
	if id >= int32(len(s.fields)) {
		return nil
	}
	return s.fields[id]
}
