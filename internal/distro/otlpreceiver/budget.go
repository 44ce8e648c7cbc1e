package otlpreceiver

import (
	"errors"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"
)

var (
	errBusy     = errors.New("too many bytes in flight")
	errTooLarge = errors.New("message is too large")
)

// budget bounds the bytes in flight. Who cannot have what he asks for is refused, and does not wait: the sender waits.
type budget struct {
	limit int64
	used  atomic.Int64
	pools [bits.UintSize]sync.Pool // of *[]byte, by the power of two that is their capacity
}

// lease is one request's part of the budget, and its buffers.
type lease struct {
	from *budget
	held int64
	bufs []*[]byte
}

// reserve takes n bytes more, or none. errTooLarge means that there will never be so many.
func (l *lease) reserve(n int64) error {
	if n > l.from.limit {
		return errTooLarge
	}
	if l.from.used.Add(n) > l.from.limit {
		l.from.used.Add(-n)
		return errBusy
	}
	l.held += n
	return nil
}

func (l *lease) giveBack(n int64) {
	l.from.used.Add(-n)
	l.held -= n
}

// buffer has room for n bytes at least; its contents are whatever they are.
func (l *lease) buffer(n int) ([]byte, error) {
	class := bits.Len(uint(max(n, 512) - 1))
	if err := l.reserve(1 << class); err != nil {
		return nil, err
	}
	buf, ok := l.from.pools[class].Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 1<<class)
		buf = &fresh
	}
	l.bufs = append(l.bufs, buf)
	return *buf, nil
}

// dropBeforeLast gives back the buffer that was taken before the last one.
func (l *lease) dropBeforeLast() {
	i := len(l.bufs) - 2
	l.putBack(l.bufs[i])
	l.bufs[i] = l.bufs[i+1]
	l.bufs = l.bufs[:i+1]
}

func (l *lease) putBack(buf *[]byte) {
	l.giveBack(int64(len(*buf)))
	l.from.pools[bits.Len(uint(len(*buf)-1))].Put(buf)
}

// end gives everything back; nobody may hold a view any more.
func (l *lease) end() {
	for _, buf := range l.bufs {
		l.putBack(buf)
	}
	l.bufs = nil
	l.giveBack(l.held)
}

// readAll reads r into a buffer of the lease. The size is a hint. It is errTooLarge when there is more than limit, and
// errBusy when the budget has no room to go on.
func (l *lease) readAll(r io.Reader, size, limit int) ([]byte, error) {
	// A byte more than announced, so that the end is seen without another buffer.
	buf, err := l.buffer(min(max(size, 0)+1, limit))
	if err != nil {
		return nil, err
	}
	for n := 0; ; {
		for n == len(buf) || n == limit {
			if n == limit {
				return buf[:n], atEnd(r)
			}
			larger, err := l.buffer(min(2*len(buf), limit))
			if err != nil {
				return nil, err
			}
			copy(larger, buf)
			l.dropBeforeLast()
			buf = larger
		}
		more, err := r.Read(buf[n:min(len(buf), limit)])
		n += more
		if errors.Is(err, io.EOF) {
			return buf[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// atEnd is nil if there is nothing more.
func atEnd(r io.Reader) error {
	n, err := io.ReadFull(r, make([]byte, 1))
	switch {
	case n > 0:
		return errTooLarge
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}
