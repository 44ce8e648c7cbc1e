package forward

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weft/internal/endpoints"
)

// benchRig calls the handler without a front server, so that the numbers are forwarding's own and its transport's.
type benchRig struct {
	handler http.Handler
	forward *Forwarder
	servers []*httptest.Server
}

func newBenchRig(b *testing.B) *benchRig {
	r := &benchRig{}
	var list []endpoints.StaticEndpoint
	for i := range 3 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
		r.servers = append(r.servers, s)
		list = append(list, endpoints.StaticEndpoint{Instance: fmt.Sprintf("shop-%d", i), Address: s.Listener.Addr().String()})
	}
	table := endpoints.NewTable(map[string]endpoints.StaticService{"shop": {Endpoints: list}})
	r.forward = New(DefaultConfig(), Deps{Table: table})
	r.handler = r.forward.Handler(Route{Service: "shop", ConnectTimeout: time.Second, ResponseTimeout: time.Second})
	return r
}

func (r *benchRig) request(b *testing.B) {
	req := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req.WithContext(WithCall(req.Context(), &Call{RequestID: "r", TraceID: [16]byte{1}})))
	if w.Code != http.StatusOK {
		b.Fatal(w.Code, w.Body)
	}
}

func (r *benchRig) stop() {
	r.forward.pool.closeAll()
	for _, s := range r.servers {
		s.Close()
	}
}
