package up

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Client talks to the weft up that runs on a data folder.
type Client struct {
	data string
	http *http.Client
}

// Connect finds the running weft up.
func Connect(data string) (*Client, error) {
	path, err := os.ReadFile(socketFile(data))
	if err != nil {
		return nil, notRunning(data)
	}
	return &Client{data: data, http: unixClient(string(path))}, nil
}

func notRunning(data string) error {
	return fmt.Errorf("no weft up is running on the data folder %s; start one, or name its folder with --data", data)
}

// Status asks how every part is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.call(ctx, http.MethodGet, "/status", nil, &out)
}

// Break makes one part fail.
func (c *Client) Break(ctx context.Context, part string, fault Fault) error {
	return c.call(ctx, http.MethodPost, "/break/"+part, fault, nil)
}

// Heal takes every fault back.
func (c *Client) Heal(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/heal", nil, nil)
}

// Stop takes one part down until Start.
func (c *Client) Stop(ctx context.Context, part string) error {
	return c.call(ctx, http.MethodPost, "/stop/"+part, nil, nil)
}

// Start brings one part up and waits until it is ready.
func (c *Client) Start(ctx context.Context, part string) error {
	return c.call(ctx, http.MethodPost, "/start/"+part, nil, nil)
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://up"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	err = do(c.http, request, out)
	var refused *net.OpError
	if errors.As(err, &refused) && refused.Op == "dial" {
		return notRunning(c.data)
	}
	return err
}

func unixClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
}

// do sends a request and decodes a 2xx answer into out, when there is one; any other answer is an error with its text.
func do(client *http.Client, request *http.Request, out any) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("%s", strings.TrimSpace(string(text)))
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(out)
}

const answerTimeout = 5 * time.Second

func getOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return do(http.DefaultClient, request, nil)
}
