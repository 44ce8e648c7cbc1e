package plan

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weft/internal/config"
)

// Options are what the person asked for, from the command line and an optional YAML file.
type Options struct {
	// Data is the folder for everything that is kept: stores, certificates, logs, the demo's databases.
	Data string `yaml:"data"`
	// Nodes is the number of agents; proxies and services are spread over them.
	Nodes int `yaml:"nodes"`
	// Webhook receives alerts; empty keeps them in the collector, where the console shows them.
	Webhook string `yaml:"webhook"`
	// Demo is the demo shop.
	Demo DemoOptions `yaml:"demo"`
	// Addresses maps "part.address" (for example "gateway.http") to HOST:PORT; port 0 picks a free one.
	Addresses map[string]string `yaml:"addresses"`
	// Gateway, Sidecar, Control, Agent and Collector are merged over the file that weft up writes for the role.
	Gateway   map[string]any `yaml:"gateway"`
	Sidecar   map[string]any `yaml:"sidecar"`
	Control   map[string]any `yaml:"control"`
	Agent     map[string]any `yaml:"agent"`
	Collector map[string]any `yaml:"collector"`
}

// DemoOptions say whether the demo shop runs and how busy it is.
type DemoOptions struct {
	Enabled bool `yaml:"enabled"`
	// Traffic is the rate of the built-in visitors in requests per second; 0 is none.
	Traffic float64 `yaml:"traffic"`
	// ServerPath lists the folders where mariadbd, redis-server and nats-server are looked for; empty is $PATH and
	// /usr/sbin. What is not found there has a stand-in, so a folder without them makes the demo smaller.
	ServerPath []string `yaml:"server_path"`
}

// DefaultOptions are those of a bare `weft up`.
func DefaultOptions() Options {
	return Options{Data: "data", Nodes: 1, Demo: DemoOptions{Enabled: true, Traffic: 12}, Addresses: map[string]string{}}
}

// Validate implements config.Validator.
func (o *Options) Validate() error {
	switch {
	case o.Data == "":
		return config.Faultf("data", "must name a folder")
	case o.Nodes < 1 || o.Nodes > 16:
		return config.Faultf("nodes", "%d is not between 1 and 16", o.Nodes)
	case o.Demo.Traffic < 0:
		return config.Faultf("demo.traffic", "%v is negative", o.Demo.Traffic)
	}
	for _, folder := range o.Demo.ServerPath {
		if !filepath.IsAbs(folder) {
			return config.Faultf("demo.server_path", "%q is not an absolute path", folder)
		}
	}
	if o.Webhook != "" {
		if u, err := url.Parse(o.Webhook); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return config.Faultf("webhook", "%q is not an http or https URL", o.Webhook)
		}
	}
	for name, address := range o.Addresses {
		if err := checkAddress(name, address); err != nil {
			return err
		}
	}
	return nil
}

// defaultAddresses are the well-known ones; every other address is a free port of the loopback interface.
var defaultAddresses = map[string]string{
	"gateway.http":        "127.0.0.1:8080",
	"agent.otlp_grpc":     "127.0.0.1:4317",
	"agent.otlp_http":     "127.0.0.1:4318",
	"collector.http":      "127.0.0.1:7070",
	"collector.otlp_grpc": "127.0.0.1:14317",
	"collector.otlp_http": "127.0.0.1:14318",
	"control.grpc":        "127.0.0.1:7071",
}

// mainAddress is what a bare part name stands for in --addr.
var mainAddress = map[string]string{"gateway": "http", "agent": "otlp_grpc", "collector": "http", "control": "grpc"}

// addressName turns "gateway", "gateway/http" and "gateway.http" into "gateway.http".
func addressName(name string) string {
	if main, bare := mainAddress[name]; bare {
		return name + "." + main
	}
	if part, address, found := strings.Cut(name, "/"); found && mainAddress[part] != "" {
		return part + "." + address
	}
	return name
}

func checkAddress(name, address string) error {
	if _, known := defaultAddresses[addressName(name)]; !known && name != "all" {
		return config.Faultf("addresses."+name, "no such address; there are all, gateway.http, agent.otlp_grpc, "+
			"agent.otlp_http, collector.http, collector.otlp_grpc, collector.otlp_http and control.grpc")
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return config.Faultf("addresses."+name, "%q is not HOST:PORT", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return config.Faultf("addresses."+name, "%q is not a loopback address: weft up runs without passwords; "+
			"beyond this machine run each role from its own configuration", address)
	}
	return nil
}

// addresses hands out HOST:PORT pairs and remembers them, so that a part that is restarted keeps its own.
type addresses struct {
	wanted map[string]string
	given  map[string]string
}

func newAddresses(wanted map[string]string) *addresses {
	a := &addresses{wanted: map[string]string{}, given: map[string]string{}}
	for name, address := range defaultAddresses {
		a.wanted[name] = address
		if all, set := wanted["all"]; set {
			a.wanted[name] = all
		}
	}
	for name, address := range wanted {
		a.wanted[addressName(name)] = address
	}
	return a
}

// of is the address under a name; it is proven free when it is first asked for.
func (a *addresses) of(name string) (string, error) {
	if address, done := a.given[name]; done {
		return address, nil
	}
	wanted, fixed := a.wanted[name]
	if !fixed {
		wanted = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(wanted)
	if err != nil {
		return "", err
	}
	if port == "0" {
		a.given[name], err = a.pick(host)
	} else {
		a.given[name], err = free(wanted)
	}
	if err != nil {
		delete(a.given, name)
		part, _, _ := strings.Cut(name, ".")
		return "", fmt.Errorf("%s: cannot listen on %s (%v); choose another with --addr %s=127.0.0.1:0", part, wanted, cause(err), name)
	}
	return a.given[name], nil
}

// free is the address if nobody listens there.
func free(address string) (string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// Picked ports lie below the range from which the kernel takes ports for outgoing connections (32768 and up by default),
// or such a connection would sooner or later hold the port of a part that is being restarted.
const (
	lowestPort  = 15000
	highestPort = 32000
	picks       = 200
)

func (a *addresses) pick(host string) (string, error) {
	var last error
	for range picks {
		address := net.JoinHostPort(host, strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort)))
		if slices.Contains(slices.Collect(maps.Values(a.given)), address) {
			continue
		}
		if address, last = free(address); last == nil {
			return address, nil
		}
	}
	return "", last
}

func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
