package demo

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// maxVisitors bounds the requests in flight: a slow shop gets fewer visitors, not a queue of them.
const maxVisitors = 32

// runTraffic sends a light mix of requests until ctx ends; failures are the shop's business, not the visitors'.
func runTraffic(ctx context.Context, s settings) error {
	if s.gatewayBase == "" || s.rate <= 0 {
		return errors.New("--gateway and a positive --rate are needed")
	}
	client := &http.Client{Timeout: 10 * time.Second}
	tick := time.NewTicker(time.Duration(float64(time.Second) / s.rate))
	defer tick.Stop()
	seats := make(chan struct{}, maxVisitors)
	var visitors sync.WaitGroup
	defer visitors.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		select {
		case seats <- struct{}{}:
			visitors.Go(func() {
				defer func() { <-seats }()
				visit(ctx, client, s.gatewayBase)
			})
		default:
		}
	}
}

func visit(ctx context.Context, client *http.Client, base string) {
	method, path := http.MethodGet, "/api/home"
	switch dice := rand.IntN(10); {
	case dice < 3:
		method, path = http.MethodPost, "/api/checkout"
	case dice < 7:
		path = "/api/items/" + strconv.Itoa(1+rand.IntN(6)) // item 6 does not exist: people mistype
	}
	request, err := http.NewRequestWithContext(ctx, method, base+path, http.NoBody)
	if err != nil {
		return
	}
	response, err := client.Do(request)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}

// runQueue is nats-server with JetStream in this process, for machines without the package.
func runQueue(ctx context.Context, s settings) error {
	host, port, err := net.SplitHostPort(s.natsAddress)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	queue, err := server.NewServer(&server.Options{Host: host, Port: number, JetStream: true, StoreDir: s.natsData, NoSigs: true})
	if err != nil {
		return err
	}
	queue.Start()
	<-ctx.Done()
	queue.Shutdown()
	queue.WaitForShutdown()
	return nil
}
