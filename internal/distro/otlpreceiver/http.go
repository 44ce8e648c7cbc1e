package otlpreceiver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/config/confighttp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	protobufType = "application/x-protobuf"
	jsonType     = "application/json"
)

func httpOptions() []confighttp.ToServerOption {
	return []confighttp.ToServerOption{confighttp.WithErrorHandler(beforeIntake), confighttp.WithDecoder("zstd", openZstd)}
}

// zstdWindow is what a frame may make its reader keep; RFC 8878 has 8 MiB as what everyone should support.
const zstdWindow = 8 * mib

// openZstd is confighttp's, whose frames may ask for gigabytes.
func openZstd(body io.ReadCloser) (io.ReadCloser, error) {
	z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// beforeIntake answers what confighttp refuses: an encoding that it cannot read, a credential that is not good.
func beforeIntake(w http.ResponseWriter, req *http.Request, message string, code int) {
	grpcCode := codes.InvalidArgument
	if code == http.StatusUnauthorized {
		grpcCode = codes.Unauthenticated
	}
	answer(w, contentType(req), code, status.New(grpcCode, clean(message)))
}

var errNotOTLP = status.Error(codes.InvalidArgument, "neither the method nor the type of OTLP")

type httpIntake struct {
	*intake
	budget *budget
	limit  int
}

func (h *httpIntake) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	kind := contentType(req)
	switch {
	case req.Method != http.MethodPost:
		h.refuse(req.Context(), errNotOTLP, 0)
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "405 method not allowed, supported: POST", http.StatusMethodNotAllowed)
		return
	case kind == "":
		h.refuse(req.Context(), errNotOTLP, 0)
		http.Error(w, fmt.Sprintf("415 unsupported media type, supported: %s, %s", protobufType, jsonType), http.StatusUnsupportedMediaType)
		return
	}
	l := &lease{from: h.budget}
	defer l.end()
	batch, err := h.read(req, kind, l)
	if err != nil {
		h.refuse(req.Context(), err, 0)
		refuseHTTP(w, kind, err)
		return
	}
	rejected, err := h.take(req.Context(), l, batch)
	if err != nil {
		refuseHTTP(w, kind, err)
		return
	}
	out := reply(rejected)
	if kind == jsonType {
		out = replyJSON(h.signal, rejected)
	}
	write(w, kind, http.StatusOK, out)
}

// read takes the body into the lease as protobuf.
func (h *httpIntake) read(req *http.Request, kind string, l *lease) ([]byte, error) {
	if req.ContentLength > int64(h.limit) {
		return nil, errTooLarge
	}
	body, err := l.readAll(req.Body, int(req.ContentLength), h.limit)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, errTooLarge
	case errors.Is(err, errBusy), errors.Is(err, errTooLarge):
		return nil, err
	case err != nil:
		if gone := req.Context().Err(); gone != nil {
			return nil, gone
		}
		return nil, malformed(fmt.Errorf("cannot read the body: %w", err))
	case kind == protobufType:
		return body, nil
	}
	if err := l.reserve(decodedJSON(body)); err != nil {
		return nil, err
	}
	return fromJSON(h.signal, body)
}

// decodedJSON is about what a decoder makes of a text: three bytes of JSON can become a span.
func decodedJSON(text []byte) int64 {
	const object = 128
	return int64(len(text)) + object*int64(bytes.Count(text, []byte("{")))
}

// contentType is one of the two that OTLP has, or empty.
func contentType(req *http.Request) string {
	kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || kind != protobufType && kind != jsonType {
		return ""
	}
	return kind
}

func refuseHTTP(w http.ResponseWriter, kind string, err error) {
	s := refusal(err)
	if after := retryAfter(s); after != "" {
		w.Header().Set("Retry-After", after)
	}
	answer(w, kind, httpStatus(s), s)
}

// answer writes a refusal as google.rpc.Status, in the type that the request came in.
func answer(w http.ResponseWriter, kind string, code int, s *status.Status) {
	encode := protojson.Marshal
	if kind == protobufType {
		encode = proto.Marshal
	} else {
		kind = jsonType
	}
	body, err := encode(s.Proto())
	if err != nil {
		http.Error(w, s.Message(), code)
		return
	}
	write(w, kind, code, body)
}

func write(w http.ResponseWriter, kind string, code int, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(code)
	_, _ = w.Write(body) // the sender is gone
}
