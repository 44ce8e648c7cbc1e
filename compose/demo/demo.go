// Package demo is the demo shop: small services as anybody would write them, instrumented with the ordinary
// OpenTelemetry SDK, that know nothing of Weft but the address of a proxy.
//
//	storefront → catalog (database), cart (cache), orders (database, queue) → payment
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// settings are a service's flags.
type settings struct {
	instance, socket, admin, logFile   string
	mysql, sqlite, redis, nats         string
	natsAddress, natsData, gatewayBase string
	rate                               float64
}

// service builds the HTTP handler of one service; closers are run when it stops.
type service func(ctx context.Context, s settings, d *deps) (http.Handler, error)

// deps is what every service is given.
type deps struct {
	log     *slog.Logger
	client  *http.Client
	closers []io.Closer
}

func services() map[string]service {
	return map[string]service{
		"storefront": newStorefront, "catalog": newCatalog, "cart": newCart, "orders": newOrders, "payment": newPayment,
	}
}

// Run is the program: the first argument names the service, or "nats" (the stand-in queue) or "traffic" (visitors).
func Run(ctx context.Context, args []string, stderr io.Writer) error {
	names := []string{"storefront", "catalog", "cart", "orders", "payment", "nats", "traffic"}
	if len(args) == 0 || !slices.Contains(names, args[0]) {
		return fmt.Errorf("name one of %s", strings.Join(names, ", "))
	}
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	switch args[0] {
	case "nats":
		return runQueue(ctx, s)
	case "traffic":
		return runTraffic(ctx, s)
	}
	if s.socket == "" || s.admin == "" || s.instance == "" {
		return errors.New("--instance, --socket and --admin are needed")
	}
	return serve(ctx, args[0], s)
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("demo "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.instance, "instance", "", "service.instance.id, e.g. payment-2")
	flags.StringVar(&s.socket, "socket", "", "Unix socket to serve on")
	flags.StringVar(&s.admin, "admin", "", "Unix socket for faults")
	flags.StringVar(&s.logFile, "log-file", "", "write logs there as JSON lines instead of sending them")
	flags.StringVar(&s.mysql, "mysql", "", "HOST:PORT of the database; the account is in DEMO_MYSQL_USER, _PASSWORD and _DATABASE")
	flags.StringVar(&s.sqlite, "sqlite", "", "file of the database, when there is no server")
	flags.StringVar(&s.redis, "redis", "", "HOST:PORT of the cache; otherwise it is in memory")
	flags.StringVar(&s.nats, "nats", "", "HOST:PORT of the queue")
	flags.StringVar(&s.natsAddress, "addr", "", "nats: HOST:PORT to listen on")
	flags.StringVar(&s.natsData, "data", "", "nats: folder of the streams")
	flags.StringVar(&s.gatewayBase, "gateway", "", "traffic: base URL of the gateway")
	flags.Float64Var(&s.rate, "rate", 12, "traffic: requests per second")
	return s, flags.Parse(args[1:])
}
