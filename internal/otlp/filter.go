package otlp

import "encoding/binary"

// Without is a batch of spans or log records without the items at the given places, counted as a walk shows them, and
// without the resources and scopes that have lost their last. All other bytes stay as they are.
func Without(batch []byte, places map[int]bool) []byte {
	return without(batch, func(place int) bool { return places[place] })
}

func without(batch []byte, drop func(place int) bool) []byte {
	at := -1
	out, _ := rewrite(nil, batch, fieldResources, func(out, resource []byte) ([]byte, bool) {
		scopes := int32(fieldScopes)
		if !has(resource, fieldScopes) {
			scopes = fieldDeprecated
		}
		return rewrite(out, resource, scopes, func(out, scope []byte) ([]byte, bool) {
			return rewrite(out, scope, fieldItems, func(out, item []byte) ([]byte, bool) {
				at++
				return append(out, item...), !drop(at)
			})
		})
	})
	return out
}

func has(buf []byte, id int32) bool {
	c, f := cursor{buf: buf}, field{}
	for {
		if ok, err := c.next(&f); !ok || err != nil {
			return false
		}
		if f.id == id {
			return true
		}
	}
}

// rewrite appends a message, each of whose fields id is rewritten by inner, or left out where inner says no. keep is false
// when all of them were.
func rewrite(out, buf []byte, id int32, inner func(out, message []byte) ([]byte, bool)) (_ []byte, keep bool) {
	c, f := cursor{buf: buf}, field{}
	var message []byte
	kept, dropped := 0, 0
	for {
		start := c.pos
		if ok, err := c.next(&f); !ok || err != nil {
			return out, kept > 0 || dropped == 0 // the walk has found the batch sound
		}
		if f.id != id {
			out = append(out, buf[start:c.pos]...)
			continue
		}
		if message, keep = inner(message[:0], f.data); !keep {
			dropped++
			continue
		}
		kept++
		out = binary.AppendUvarint(out, uint64(id)<<3|uint64(bytesType))
		out = binary.AppendUvarint(out, uint64(len(message)))
		out = append(out, message...)
	}
}
