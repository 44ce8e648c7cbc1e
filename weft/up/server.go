package up

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weft/weft/up/plan"
)

// Status is what weft status prints.
type Status struct {
	Parts []PartStatus `json:"parts"`
}

// PartStatus is one part as it is now; PID is 0 while it is down.
type PartStatus struct {
	Name      string            `json:"name"`
	PID       int               `json:"pid"`
	Healthy   bool              `json:"healthy"`
	Addresses map[string]string `json:"addresses"`
}

// Fault is what weft demo break asks of one part.
type Fault struct {
	Errors float64 `json:"errors,omitempty"` // share of requests, 0 to 1
	Delay  string  `json:"delay,omitempty"`  // as time.Duration reads it
	Kill   bool    `json:"kill,omitempty"`
}

// server answers the weft command on a Unix socket that only this user may open.
type server struct {
	fleet    *fleet
	http     *http.Server
	done     sync.WaitGroup
	pathFile string
}

// socketFile is where the running weft up leaves the path of its socket; the socket itself lives in a short folder,
// since a Unix socket's path may have no more than 107 bytes.
func socketFile(data string) string { return filepath.Join(data, "up.socket") }

func listen(fleet *fleet, layout *plan.Plan) (*server, error) {
	path := filepath.Join(layout.Run, "up.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	s := &server{fleet: fleet, pathFile: socketFile(layout.Data)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("POST /break/{part...}", s.breakPart)
	mux.HandleFunc("POST /heal", s.heal)
	mux.HandleFunc("POST /stop/{part...}", s.stopPart)
	mux.HandleFunc("POST /start/{part...}", s.startPart)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	s.done.Go(func() { _ = s.http.Serve(listener) })
	return s, os.WriteFile(s.pathFile, []byte(path), 0o600)
}

func (s *server) close() {
	_ = s.http.Close()
	s.done.Wait()
	_ = os.Remove(s.pathFile)
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	out := Status{Parts: make([]PartStatus, len(s.fleet.members))}
	var wg sync.WaitGroup
	for i, m := range s.fleet.members {
		wg.Go(func() {
			pid := m.pid()
			addresses := m.part.Addresses
			if addresses == nil {
				addresses = map[string]string{}
			}
			out.Parts[i] = PartStatus{Name: m.part.Name, PID: pid, Healthy: pid != 0 && m.part.Ready() == nil, Addresses: addresses}
		})
	}
	wg.Wait()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// member finds a part by its name, or by the name of a demo endpoint ("payment-2" is "demo/payment-2").
func (s *server) member(name string) (*member, error) {
	for _, candidate := range []string{name, "demo/" + name, "sidecar/" + name} {
		if m := s.fleet.find(candidate); m != nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("no part is named %q; weft status lists them", name)
}

func (s *server) breakPart(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	m, err := s.member(r.PathValue("part"))
	if err == nil {
		err = json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&fault)
	}
	switch {
	case err != nil:
	case fault.Kill:
		err = m.takeDown(0)
	case m.part.Admin == "":
		err = fmt.Errorf("%s can only be broken with --kill", m.part.Name)
	default:
		var body []byte
		if body, err = json.Marshal(fault); err == nil {
			err = tell(r.Context(), m.part.Admin, http.MethodPost, body)
		}
	}
	answer(w, err)
}

// heal clears every fault and brings up every demo part that is down.
func (s *server) heal(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), startTimeout)
	defer cancel()
	var faults []string
	for _, m := range s.fleet.members {
		demo := strings.HasPrefix(m.part.Name, "demo/") || strings.HasPrefix(m.part.Name, "sidecar/")
		if demo && m.pid() == 0 {
			if err := s.fleet.bringUp(ctx, m); err != nil {
				faults = append(faults, err.Error())
			}
		} else if m.part.Admin != "" {
			if err := tell(ctx, m.part.Admin, http.MethodDelete, nil); err != nil {
				faults = append(faults, m.part.Name+": "+err.Error())
			}
		}
	}
	if len(faults) > 0 {
		answer(w, fmt.Errorf("%s", strings.Join(faults, "; ")))
		return
	}
	answer(w, nil)
}

func (s *server) stopPart(w http.ResponseWriter, r *http.Request) {
	m, err := s.member(r.PathValue("part"))
	if err == nil {
		err = m.takeDown(stopGrace)
	}
	answer(w, err)
}

func (s *server) startPart(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), startTimeout)
	defer cancel()
	m, err := s.member(r.PathValue("part"))
	if err == nil {
		err = s.fleet.bringUp(ctx, m)
	}
	answer(w, err)
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// tell sets or clears the fault of a demo service over its admin socket.
func tell(ctx context.Context, socket, method string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://demo/fault", bytes.NewReader(body))
	if err != nil {
		return err
	}
	return do(unixClient(socket), request, nil)
}
