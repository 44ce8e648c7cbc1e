package plan

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const probeTimeout = 2 * time.Second

// httpReady asks a part's /readyz.
func httpReady(address string) func() error {
	client := &http.Client{Timeout: probeTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	return func() error {
		response, err := client.Get("http://" + address + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			why, _ := io.ReadAll(io.LimitReader(response.Body, 300))
			return errors.New(strings.TrimSpace(string(why)))
		}
		return nil
	}
}

// tcpReady asks whether somebody accepts connections.
func tcpReady(address string) func() error {
	return func() error { return dial("tcp", address) }
}

// mysqlReady waits for the server's greeting: its port accepts connections before it can answer.
func mysqlReady(address string) func() error {
	return func() error {
		connection, err := net.DialTimeout("tcp", address, probeTimeout)
		if err != nil {
			return err
		}
		defer connection.Close()
		_ = connection.SetReadDeadline(time.Now().Add(probeTimeout))
		if _, err := connection.Read(make([]byte, 1)); err != nil {
			return fmt.Errorf("no greeting from the database: %w", err)
		}
		return nil
	}
}

func socketReady(path string) func() error {
	return func() error { return dial("unix", path) }
}

func dial(network, address string) error {
	connection, err := net.DialTimeout(network, address, probeTimeout)
	if err != nil {
		return err
	}
	return connection.Close()
}
