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
	pools [4 * bits.UintSize]sync.Pool // of *[]byte, by the index of their size
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

// roundUp is the size of the buffer for n bytes, a quarter of a power of two larger at most, and its pool's index.
func roundUp(n int) (index, size int) {
	n = max(n, 512)
	shift := bits.Len(uint(n-1)) - 3
	quarters := (n-1)>>shift + 1 // 5 to 8
	return 4*shift + quarters - 5, quarters << shift
}

// buffer has room for n bytes at least; its contents are whatever they are.
func (l *lease) buffer(n int) ([]byte, error) {
	index, size := roundUp(n)
	if err := l.reserve(int64(size)); err != nil {
		return nil, err
	}
	buf, ok := l.from.pools[index].Get().(*[]byte)
	if !ok {
		fresh := make([]byte, size)
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
	index, size := roundUp(len(*buf))
	l.giveBack(int64(size))
	l.from.pools[index].Put(buf)
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
