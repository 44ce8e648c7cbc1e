package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

// serve answers requests until ctx ends. Then new connections are refused and requests have drain to finish; after
// that, and for upgraded connections at once, their contexts end.
func (g *Gateway) serve(ctx context.Context, drain time.Duration) error {
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var running sync.WaitGroup
	server := g.server(requests, &running)
	served := make(chan error, 1)
	go func() { served <- g.accept(server) }()
	select {
	case err := <-served: // the listener broke
		return err
	case <-ctx.Done():
	}
	g.draining.Store(true)
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		slog.Warn("requests cut off", "drain", drain, "error", err)
	}
	cut()
	err := server.Close()
	running.Wait()
	return errors.Join(err, <-served)
}

func (g *Gateway) server(requests context.Context, running *sync.WaitGroup) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Done()
			g.current.Load().echo.ServeHTTP(w, r)
		}),
		Protocols: protocols, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug), // a client's own faults
	}
}

// accept serves over TLS when the configuration has a certificate; the certificate is that of the snapshot in force.
func (g *Gateway) accept(server *http.Server) error {
	var err error
	if g.current.Load().certificate == nil {
		err = server.Serve(g.listener)
	} else {
		server.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return g.current.Load().certificate, nil
			},
		}
		err = server.ServeTLS(g.listener, "", "")
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
