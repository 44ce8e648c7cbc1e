package correlate

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
)

// heap is what lives after a collection.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// perExchange fills a join far beyond its bound, and returns what one exchange takes.
func perExchange(exchanges int, fill func(j *join)) int {
	before := heap()
	j := newJoin(exchanges, &Stats{})
	fill(j)
	taken := (heap() - before) / exchanges
	runtime.KeepAlive(j)
	return taken
}

func TestAnExchangeTakesABoundedAmount(t *testing.T) {
	const exchanges = 2000
	ordinary := perExchange(exchanges, func(j *join) {
		traffic, now := newTraffic(), epoch
		for range 4 * lag * 8 / perBatch {
			now = now.Add(20 * time.Millisecond)
			spans, logs := traffic.next(now)
			for i := range spans {
				j.span(now.UnixNano(), &spans[i])
				j.log(now.UnixNano(), &logs[i])
			}
		}
	})
	const few = 300
	hostile := perExchange(few, func(j *join) {
		for i := range 3 * few {
			now := epoch.Add(time.Duration(i) * time.Millisecond).UnixNano()
			var trace signal.TraceID
			binary.BigEndian.PutUint64(trace[:], mixed(uint64(i)))
			for k := range 100 { // as much of everything as one trace takes
				j.span(now, &facts.Span{Trace: trace, ID: spanID(k), Kind: signal.KindServer, Proxy: facts.Gateway, Service: fmt.Sprintf("service %d of many", k),
					Method: "GET", Route: "/items/" + fmt.Sprint(i, k), RequestID: fmt.Sprintf("%0128d", i*100+k), ClientRequestID: fmt.Sprintf("%0128d", i*100+k+1)})
			}
		}
	})
	if ordinary > 1300 || hostile > 1500 {
		t.Errorf("an exchange takes %d bytes, one of a hostile sender %d", ordinary, hostile)
	}
	t.Logf("an exchange takes %d bytes, one of a hostile sender %d", ordinary, hostile)
}

// TestLongTextsAreCut: a name may be as long as a batch, and is not kept so.
func TestLongTextsAreCut(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	before := heap()
	c := New(DefaultConfig())
	for i := range 50 {
		c.Spans(epoch, []facts.Span{{Trace: traceID(byte(i + 1)), ID: spanID(i), Kind: signal.KindServer, Service: long[i:], Name: long[i:], Method: long[i:],
			Route: long[i:], Instance: long[i:], Called: long[i:]}})
	}
	if taken := heap() - before; taken > 8<<20 {
		t.Errorf("%d bytes for 50 spans", taken)
	}
	runtime.KeepAlive(c)
	runtime.KeepAlive(long)
}
