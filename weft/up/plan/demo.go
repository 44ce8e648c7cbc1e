package plan

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

func (p *Plan) demo() error {
	if err := p.addBacking(); err != nil {
		return err
	}
	node := 0
	for _, service := range shop {
		for n := 1; n <= service.copies; n++ {
			node = node%p.Options.Nodes + 1
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
func (p *Plan) addEndpoint(e demoEndpoint) error {
	app := filepath.Join(p.Run, e.instance+".sock")
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
	admin := filepath.Join(p.Run, e.instance+".admin.sock")
	part := &Part{
		Name: "demo/" + e.instance, Addresses: map[string]string{"unix": app}, Program: "demo", Phase: Third, Admin: admin,
		Args: []string{e.name, "--instance", e.instance, "--socket", app, "--admin", admin},
		Env: []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + telemetry["otlp_grpc"], "HTTP_PROXY=http://" + outbound, "http_proxy=http://" + outbound,
			"NO_PROXY=", "no_proxy=",
		},
		Ready: socketReady(app),
	}
	if e.name == "catalog" {
		part.Args = append(part.Args, "--log-file", filepath.Join(p.fileLogs(e.node), e.instance+".log"))
	}
	part.Args = append(part.Args, p.backingFlags(e.needs, routes)...)
	part.Env = append(part.Env, p.backingEnv()...)
	return p.add(part)
}

// addSidecar returns the address of the sidecar's TCP route to each backing service.
func (p *Plan) addSidecar(e demoEndpoint, app string) (map[string]string, error) {
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
	}, p.Options.Sidecar)
	if err != nil {
		return nil, err
	}
	return routes, p.add(&Part{
		Name: name, Addresses: at, Program: "mesh", Args: []string{"sidecar", "--config", path}, Phase: Second, Calls: e.calls,
	})
}

func (p *Plan) addTraffic() error {
	if p.Options.Demo.Traffic == 0 {
		return nil
	}
	gateway, err := p.addresses.of("gateway.http")
	if err != nil {
		return err
	}
	return p.add(&Part{
		Name: "demo/traffic", Program: "demo", Phase: Last, Supervised: true, Ready: func() error { return nil },
		Args: []string{"traffic", "--gateway", "http://" + gateway, "--rate", fmt.Sprint(p.Options.Demo.Traffic)},
		Note: fmt.Sprintf("%g requests/s", p.Options.Demo.Traffic),
	})
}

// ShopServices are the shop's service names, for the table.
func ShopServices() string {
	names := make([]string, 0, len(shop))
	for _, s := range shop {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
