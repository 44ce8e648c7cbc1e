package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/oklog/run"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

const (
	callTimeout = 4 * time.Second
	drain       = 2 * time.Second
)

// serve runs one service on its socket, and its faults on another, until ctx ends.
func serve(ctx context.Context, name string, s settings) error {
	log, stopTelemetry, err := instrument(ctx, name, s)
	if err != nil {
		return err
	}
	d := &deps{log: log, client: &http.Client{Timeout: callTimeout, Transport: otelhttp.NewTransport(passOn{pooled()})}}
	handler, err := services()[name](ctx, s, d)
	if err != nil {
		return err
	}
	faults := &faults{}
	// otelhttp is outermost: an injected failure has a server span, as a real one would.
	traced := otelhttp.NewHandler(withRequestID(faults.wrap(log, handler)), name)
	var group run.Group
	for path, handler := range map[string]http.Handler{s.socket: traced, s.admin: faults} {
		listener, err := listenUnix(path)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
		group.Add(func() error { return server.Serve(listener) }, func(error) {
			ctx, cancel := context.WithTimeout(context.Background(), drain)
			defer cancel()
			_ = server.Shutdown(ctx)
		})
	}
	stop, cancel := context.WithCancel(ctx)
	group.Add(func() error { <-stop.Done(); return nil }, func(error) { cancel() })
	err = group.Run()
	for _, closer := range d.closers {
		_ = closer.Close()
	}
	last, cancelLast := context.WithTimeout(context.Background(), drain)
	defer cancelLast()
	_ = stopTelemetry(last)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// listenUnix takes over a socket that a killed predecessor left behind.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(path, 0o600)
}

func pooled() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	return transport
}

type requestIDKey struct{}

const requestIDHeader = "X-Request-Id"

func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		with := r.WithContext(context.WithValue(r.Context(), requestIDKey{}, r.Header.Get(requestIDHeader)))
		next.ServeHTTP(w, with)
		r.Pattern = with.Pattern // otelhttp names its span by it
	})
}

func requestID(ctx context.Context) slog.Attr {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return slog.String("request_id", id)
}

// passOn sends the request ID along with every call, which is all that Weft asks of a service.
type passOn struct{ next http.RoundTripper }

func (p passOn) RoundTrip(r *http.Request) (*http.Response, error) {
	if id, _ := r.Context().Value(requestIDKey{}).(string); id != "" {
		r = r.Clone(r.Context())
		r.Header.Set(requestIDHeader, id)
	}
	return p.next.RoundTrip(r)
}

// call makes a JSON request to another service, and decodes a 2xx answer into out.
func (d *deps) call(ctx context.Context, method, url string, in io.Reader, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, in)
	if err != nil {
		return err
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return &callError{response.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, url, response.Status, text)}
	}
	return json.NewDecoder(response.Body).Decode(out)
}

// callError is an answer other than 2xx from another service.
type callError struct {
	status int
	text   string
}

func (e *callError) Error() string { return e.text }

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// fail answers for an error: not found stays not found, everything else is this service's 502.
func (d *deps) fail(w http.ResponseWriter, r *http.Request, what string, err error) {
	status := http.StatusBadGateway
	var refused *callError
	if errors.As(err, &refused) && refused.status == http.StatusNotFound {
		status = http.StatusNotFound
	}
	d.log.ErrorContext(r.Context(), what, "error", err.Error(), requestID(r.Context()))
	reply(w, status, map[string]string{"error": what})
}
