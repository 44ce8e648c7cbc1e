package queue

import (
	"encoding/binary"
	"errors"
	"time"

	"weft/agent/component/queue/export"
)

// A record of a line's log is a header and the batch as it came:
//
//	version   1 byte
//	received  8 bytes  Unix nanoseconds, little endian
//	items     uvarint
//	…                  the batch, an OTLP Export request
const recordVersion = 1

const (
	headerMax = 1 + 8 + binary.MaxVarintLen64
	overhead  = headerMax + 16 // with the log's own
)

// record is one batch in the queue.
type record struct {
	received time.Time
	items    int
	batch    []byte
}

func recordHeader(received time.Time, items int) []byte {
	h := make([]byte, 9, headerMax)
	h[0] = recordVersion
	binary.LittleEndian.PutUint64(h[1:], uint64(received.UnixNano()))
	return binary.AppendUvarint(h, uint64(items))
}

var errRecord = errors.New("not a record of the agent's queue")

// parseRecord shows the record in these bytes; a header alone is a record with an empty batch.
func parseRecord(b []byte) (record, error) {
	if len(b) < 10 || b[0] != recordVersion {
		return record{}, errRecord
	}
	items, n := binary.Uvarint(b[9:])
	if n <= 0 || items > export.MaxBatch {
		return record{}, errRecord
	}
	return record{time.Unix(0, int64(binary.LittleEndian.Uint64(b[1:]))), int(items), b[9+n:]}, nil
}
