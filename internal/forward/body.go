package forward

import (
	"bytes"
	"io"
	"net/http"
	"sync/atomic"
)

// maxReplay is the largest request body that is kept for a retry.
const maxReplay = 64 << 10

// payload is a request's body, for one attempt or several.
type payload struct {
	kept   []byte // the whole body, when it is replayable and not empty
	stream io.Reader
	empty  bool
	read   atomic.Bool // some of stream was read
	broken atomic.Bool // the client's side failed while it was read
}

// newPayload keeps a small body of known length when the request may be retried. A client that breaks off while it is
// read is an error.
func newPayload(r *http.Request, keep bool) (*payload, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return &payload{empty: true}, nil
	}
	if !keep || r.ContentLength < 0 || r.ContentLength > maxReplay {
		return &payload{stream: r.Body}, nil
	}
	p := &payload{kept: make([]byte, r.ContentLength)}
	if _, err := io.ReadFull(r.Body, p.kept); err != nil {
		p.broken.Store(true)
		return p, err
	}
	return p, nil
}

// replayable says whether another attempt can send the same body.
func (p *payload) replayable() bool { return p.stream == nil || !p.read.Load() }

// open is the body of one attempt; waiting and going bracket each wait for the client's bytes.
func (p *payload) open(waiting, going func()) io.ReadCloser {
	switch {
	case p.empty:
		return http.NoBody
	case p.stream == nil:
		return io.NopCloser(bytes.NewReader(p.kept))
	default:
		return &streamed{payload: p, waiting: waiting, going: going}
	}
}

// streamed reads the client's body. Close leaves it open: the transport closes the bodies of attempts that never began,
// and the server closes the client's at the end.
type streamed struct {
	payload        *payload
	waiting, going func()
}

func (s *streamed) Read(b []byte) (int, error) {
	s.payload.read.Store(true)
	s.waiting()
	n, err := s.payload.stream.Read(b)
	s.going()
	if err != nil && err != io.EOF {
		s.payload.broken.Store(true)
	}
	return n, err
}

func (s *streamed) Close() error { return nil }
