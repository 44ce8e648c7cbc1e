package up

import (
	"fmt"
	"path/filepath"
	"strings"
)

// demoService is one service of the demo shop.
type demoService struct {
	name   string
	copies int
	calls  []string // services it calls over HTTP
	needs  []string // backing services it reaches over TCP
}

// shop is the demo: storefront → catalog, cart, orders → payment.
var shop = []demoService{
	{"storefront", 3, []string{"catalog", "cart", "orders"}, nil},
	{"catalog", 1, nil, []string{"mysql"}},
	{"cart", 1, nil, []string{"redis"}},
	{"orders", 3, []string{"payment"}, []string{"mysql", "nats"}},
	{"payment", 3, nil, nil},
}

func demoRoutes() []any {
	route := func(name, path string, methods ...string) any {
		return map[string]any{"name": name, "path": path, "methods": methods, "service": "storefront"}
	}
	return []any{
		route("home", "/api/home", "GET"),
		route("item", "/api/items/{id}", "GET"),
		route("checkout", "/api/checkout", "POST"),
	}
}

func (p *plan) demo() error {
	if err := p.addBacking(); err != nil {
		return err
	}
	node := 0
	for _, service := range shop {
		for n := 1; n <= service.copies; n++ {
			node = node%p.options.Nodes + 1
			endpoint := demoEndpoint{demoService: service, instance: fmt.Sprintf("%s-%d", service.name, n), node: node}
			if err := p.addEndpoint(endpoint); err != nil {
				return err
			}
		}
	}
	return p.addTraffic()
}

// demoEndpoint is one copy of a service, on one node.
type demoEndpoint struct {
	demoService
	instance string
	node     int
}

// addEndpoint adds a service and the sidecar beside it. The service listens on a Unix socket that only this user may
// open: without a mesh identity there is no port to call.
func (p *plan) addEndpoint(e demoEndpoint) error {
	app := filepath.Join(p.run, e.instance+".sock")
	routes, err := p.addSidecar(e, app)
	if err != nil {
		return err
	}
	telemetry, err := p.reserve(agentName(e.node), "otlp_grpc")
	if err != nil {
		return err
	}
	outbound, err := p.addresses.of("sidecar/" + e.instance + ".outbound")
	if err != nil {
		return err
	}
	admin := filepath.Join(p.run, e.instance+".admin.sock")
	part := &Part{
		Name: "demo/" + e.instance, Addresses: map[string]string{"unix": app}, program: "demo", phase: third, admin: admin,
		args: []string{e.name, "--instance", e.instance, "--socket", app, "--admin", admin},
		env: []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + telemetry["otlp_grpc"], "HTTP_PROXY=http://" + outbound, "http_proxy=http://" + outbound,
			"NO_PROXY=", "no_proxy=",
		},
		ready: socketReady(app),
	}
	if e.name == "catalog" {
		part.args = append(part.args, "--log-file", filepath.Join(p.fileLogs(e.node), e.instance+".log"))
	}
	part.args = append(part.args, p.backingFlags(e.needs, routes)...)
	part.env = append(part.env, p.backingEnv()...)
	return p.add(part)
}

// addSidecar returns the address of the sidecar's TCP route to each backing service.
func (p *plan) addSidecar(e demoEndpoint, app string) (map[string]string, error) {
	name := "sidecar/" + e.instance
	at, err := p.reserve(name, "inbound", "outbound", "ops")
	if err != nil {
		return nil, err
	}
	control, err := p.addresses.of("control.grpc")
	if err != nil {
		return nil, err
	}
	telemetry, err := p.telemetry(e.node)
	if err != nil {
		return nil, err
	}
	routes, tcp := map[string]string{}, []any{}
	for _, service := range e.needs {
		if routes[service], err = p.addresses.of(name + "." + service); err != nil {
			return nil, err
		}
		if p.hasServer(service) {
			at[service] = routes[service]
			tcp = append(tcp, map[string]any{"listen": routes[service], "service": service})
		}
	}
	path, err := p.write(name, map[string]any{
		"service": e.name, "instance": e.instance, "version": "1", "ops": at["ops"], "identity": p.identity(), "control": control,
		"telemetry": telemetry, "inbound": map[string]any{"listen": at["inbound"], "app": "unix://" + app, "protocol": "http"},
		"outbound": map[string]any{"listen": at["outbound"], "services": e.calls}, "tcp_routes": tcp,
	}, p.options.Sidecar)
	if err != nil {
		return nil, err
	}
	return routes, p.add(&Part{Name: name, Addresses: at, program: "mesh", args: []string{"sidecar", "--config", path}, phase: second})
}

func (p *plan) addTraffic() error {
	if p.options.Demo.Traffic == 0 {
		return nil
	}
	gateway, err := p.addresses.of("gateway.http")
	if err != nil {
		return err
	}
	return p.add(&Part{
		Name: "demo/traffic", program: "demo", phase: last, supervised: true, ready: func() error { return nil },
		args: []string{"traffic", "--gateway", "http://" + gateway, "--rate", fmt.Sprint(p.options.Demo.Traffic)},
		Note: fmt.Sprintf("%g requests/s", p.options.Demo.Traffic),
	})
}

// services lists the shop's service names, for the table.
func shopServices() string {
	names := make([]string, 0, len(shop))
	for _, s := range shop {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
