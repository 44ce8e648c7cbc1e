package query

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// problem is RFC 9457's.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Parameter string `json:"parameter,omitempty"` // the query parameter at fault
}

func fail(w http.ResponseWriter, p problem) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	write(w, "application/problem+json", p.Status, p)
}

func answer(w http.ResponseWriter, body any) {
	write(w, "application/json", http.StatusOK, body)
}

// write encodes before it sends, so that an answer that cannot be encoded is an error and not half an answer.
func write(w http.ResponseWriter, mediaType string, status int, body any) {
	var buffer bytes.Buffer
	if err := json.NewEncoder(&buffer).Encode(body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(buffer.Bytes())
}
