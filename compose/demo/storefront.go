package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// storefront is what a browser talks to, through the gateway.
type storefront struct{ *deps }

func newStorefront(_ context.Context, _ settings, d *deps) (http.Handler, error) {
	s := storefront{d}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/home", s.home)
	mux.HandleFunc("GET /api/items/{id}", s.item)
	mux.HandleFunc("POST /api/checkout", s.checkout)
	return mux, nil
}

// home asks catalog and cart at the same time.
func (s storefront) home(w http.ResponseWriter, r *http.Request) {
	var items, cart json.RawMessage
	group, ctx := errgroup.WithContext(r.Context())
	group.Go(func() error { return s.call(ctx, http.MethodGet, "http://catalog/items", nil, &items) })
	group.Go(func() error { return s.call(ctx, http.MethodGet, "http://cart/carts/visitor", nil, &cart) })
	if err := group.Wait(); err != nil {
		s.fail(w, r, "home page failed", err)
		return
	}
	s.log.InfoContext(r.Context(), "home page", requestID(r.Context()))
	reply(w, http.StatusOK, map[string]any{"items": items, "cart": cart})
}

func (s storefront) item(w http.ResponseWriter, r *http.Request) {
	var item json.RawMessage
	if err := s.call(r.Context(), http.MethodGet, "http://catalog/items/"+r.PathValue("id"), nil, &item); err != nil {
		s.fail(w, r, "item page failed", err)
		return
	}
	s.log.InfoContext(r.Context(), "item page", "item", r.PathValue("id"), requestID(r.Context()))
	reply(w, http.StatusOK, item)
}

// order is what the storefront asks of orders.
type order struct {
	Item   int `json:"item"`
	Amount int `json:"amount"`
}

// checkout orders what the body says, or one of item 1.
func (s storefront) checkout(w http.ResponseWriter, r *http.Request) {
	wanted := order{Item: 1, Amount: 1}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&wanted); err != nil && err != io.EOF {
		reply(w, http.StatusBadRequest, map[string]string{"error": "the order is not JSON: " + err.Error()})
		return
	}
	body, err := json.Marshal(wanted)
	if err != nil {
		s.fail(w, r, "checkout failed", err)
		return
	}
	var receipt json.RawMessage
	if err := s.call(r.Context(), http.MethodPost, "http://orders/orders", bytes.NewReader(body), &receipt); err != nil {
		s.fail(w, r, "checkout failed", err)
		return
	}
	s.log.InfoContext(r.Context(), "checked out", "item", wanted.Item, requestID(r.Context()))
	reply(w, http.StatusOK, receipt)
}
