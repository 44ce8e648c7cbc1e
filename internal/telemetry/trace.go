package telemetry

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// ParseTraceparent reads a W3C traceparent header (Trace Context, level 1 and later versions of the same shape).
func ParseTraceparent(header string) (trace [16]byte, span [8]byte, sampled, ok bool) {
	if len(header) < 55 || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return trace, span, false, false
	}
	var version, flags [1]byte
	whole := lowerHex(version[:], header[:2]) && lowerHex(trace[:], header[3:35]) &&
		lowerHex(span[:], header[36:52]) && lowerHex(flags[:], header[53:55])
	switch {
	case !whole, version[0] == 0xff, trace == [16]byte{}, span == [8]byte{},
		version[0] == 0 && len(header) != 55,
		len(header) > 55 && header[55] != '-':
		return [16]byte{}, [8]byte{}, false, false
	}
	return trace, span, flags[0]&1 == 1, true
}

// lowerHex decodes lower-case hex only, as the specification asks.
func lowerHex(into []byte, text string) bool {
	for i := range into {
		high, ok1 := nibble(text[2*i])
		low, ok2 := nibble(text[2*i+1])
		if !ok1 || !ok2 {
			return false
		}
		into[i] = high<<4 | low
	}
	return true
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	default:
		return 0, false
	}
}

// FormatTraceparent is the header of version 00.
func FormatTraceparent(trace [16]byte, span [8]byte, sampled bool) string {
	var b [55]byte
	copy(b[:], "00-")
	hex.Encode(b[3:35], trace[:])
	b[35] = '-'
	hex.Encode(b[36:52], span[:])
	copy(b[52:], "-00")
	if sampled {
		b[54] = '1'
	}
	return string(b[:])
}

// NewTraceID is a random, non-zero trace ID.
func NewTraceID() (id [16]byte) {
	for id == ([16]byte{}) {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

// NewSpanID is a random, non-zero span ID.
func NewSpanID() (id [8]byte) {
	for id == ([8]byte{}) {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
