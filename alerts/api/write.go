package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// write changes a silence: the answer waits until the change is durable, and is 503 when it is not.
func (a *api) write(w http.ResponseWriter, r *http.Request) {
	// Read before the change begins: a slow sender must not hold up the others.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		tooLarge(w, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	held := &answer{header: http.Header{}, status: http.StatusOK}
	if err := a.deps.Durable(func() { a.v2.ServeHTTP(held, r) }); err != nil {
		w.Header().Set("Retry-After", "1")
		say(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	a.audit(r, held, body)
	held.send(w)
}

// audit logs who changed what. What a caller says of itself is in the body: createdBy.
func (a *api) audit(r *http.Request, held *answer, body []byte) {
	if held.status != http.StatusOK {
		return
	}
	if r.Method == http.MethodDelete {
		a.deps.Log.InfoContext(r.Context(), "silence expired", "id", r.PathValue("id"), "from", r.RemoteAddr)
		return
	}
	var said struct{ CreatedBy, Comment string }
	var made struct{ SilenceID string }
	_ = json.Unmarshal(body, &said)
	_ = json.Unmarshal(held.body.Bytes(), &made)
	a.deps.Log.InfoContext(r.Context(), "silence set", "id", made.SilenceID, "by", said.CreatedBy, "comment", said.Comment, "from", r.RemoteAddr)
}

// Refusal is an error of Post that another try will not change.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// post takes alerts. The handler below knows one kind of failure only, so it is told apart here.
func (a *api) post(w http.ResponseWriter, r *http.Request) {
	var failed error
	ctx := withFailure(r.Context(), &failed)
	held := &answer{header: http.Header{}, status: http.StatusOK}
	a.v2.ServeHTTP(held, r.WithContext(ctx))
	var refused Refusal
	switch {
	case failed == nil:
		held.send(w)
	case errors.As(failed, &refused):
		say(w, http.StatusBadRequest, failed.Error())
	default:
		w.Header().Set("Retry-After", "1")
		say(w, http.StatusServiceUnavailable, failed.Error())
	}
}

// answer holds an answer back.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *answer) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
}

func tooLarge(w http.ResponseWriter, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		say(w, http.StatusRequestEntityTooLarge, "the body has more than 4 MiB")
		return
	}
	say(w, http.StatusBadRequest, "the body did not arrive: "+err.Error())
}

// say answers an error as Alertmanager does: the text, as a JSON string.
func say(w http.ResponseWriter, status int, text string) { write(w, status, text) }

func write(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n'))
}
