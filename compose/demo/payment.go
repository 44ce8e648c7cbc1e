package demo

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
)

// charge is what orders asks of payment.
type charge struct {
	Order int64 `json:"order"`
	Cents int   `json:"cents"`
}

type payment struct{ *deps }

func newPayment(_ context.Context, _ settings, d *deps) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", payment{d}.authorise)
	return mux, nil
}

func (p payment) authorise(w http.ResponseWriter, r *http.Request) {
	var asked charge
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&asked); err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": "the charge is not JSON: " + err.Error()})
		return
	}
	if asked.Cents > 100_000 {
		p.log.WarnContext(r.Context(), "charge declined", "order", asked.Order, "cents", asked.Cents, requestID(r.Context()))
		reply(w, http.StatusPaymentRequired, map[string]string{"error": "declined"})
		return
	}
	p.log.InfoContext(r.Context(), "charge authorised", "order", asked.Order, "cents", asked.Cents, requestID(r.Context()))
	reply(w, http.StatusOK, map[string]any{"status": "authorised", "authorisation": rand.Uint32()})
}
