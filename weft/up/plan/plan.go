package plan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Part is one child process: what to run, and how to tell that it is ready.
type Part struct {
	Name      string
	Addresses map[string]string
	// Note is shown in the table, for example what plays a backing service.
	Note string
	// Supervised parts are started again when they die by themselves. The demo's parts are the patients: they stay
	// down until they are healed.
	Supervised bool
	// Phase orders starts: a phase begins when the one before is ready.
	Phase   Phase
	Program string
	Args    []string
	Env     []string
	Log     string
	// Prepare runs before each start; nil for most.
	Prepare func() error
	Ready   func() error
	// Calls are the services whose endpoints this proxy must know before the first visitor comes.
	Calls []string
	// Admin is the Unix socket for faults; demo services only.
	Admin string
}

// Phase is a step of the start.
type Phase int

const (
	First  Phase = iota // the identity of everyone else
	Second              // everything that needs an identity, and the backing services
	Third               // the services behind their sidecars
	Last                // visitors
	Phases
)

// Plan lays out parts and writes their configuration files.
type Plan struct {
	Options   Options
	Data      string // absolute
	Parts     []*Part
	Run       string // short-lived sockets; its path is short enough for a Unix socket
	bin       string // the folder of our binaries
	addresses *addresses
}

// New plans what the options ask for; run is a folder for sockets that goes with the process.
func New(options Options, run string) (*Plan, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data, err := filepath.Abs(options.Data)
	if err != nil {
		return nil, err
	}
	p := &Plan{Options: options, bin: filepath.Dir(executable), Data: data, Run: run, addresses: newAddresses(options.Addresses)}
	steps := []func() error{p.control, p.collector, p.agents, p.gateway}
	if options.Demo.Enabled {
		steps = append(steps, p.demo)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add completes a part with what all parts share.
func (p *Plan) add(part *Part) error {
	if !filepath.IsAbs(part.Program) {
		part.Program = filepath.Join(p.bin, part.Program)
	}
	if _, err := os.Stat(part.Program); err != nil {
		return missing(part.Name, err)
	}
	part.Env = append([]string{"GOMAXPROCS=" + strconv.Itoa(processors(part))}, part.Env...)
	part.Log = filepath.Join(p.Data, "logs", strings.ReplaceAll(part.Name, "/", "-")+".log")
	if part.Ready == nil {
		part.Ready = httpReady(part.Addresses["ops"])
	}
	p.Parts = append(p.Parts, part)
	return nil
}

// processors is how many threads of Go a part runs at once. Thirty processes share this machine: the many small ones get
// by with one each, and all of them together spend half the time on waking each other's threads.
func processors(part *Part) int {
	if strings.HasPrefix(part.Name, "demo/") || strings.HasPrefix(part.Name, "sidecar/") || part.Name == "control" {
		return 1
	}
	return max(1, runtime.NumCPU()/2)
}

// reserve fills a part's addresses; names are as in Part.Addresses.
func (p *Plan) reserve(part string, names ...string) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range names {
		address, err := p.addresses.of(part + "." + name)
		if err != nil {
			return nil, err
		}
		out[name] = address
	}
	return out, nil
}

func (p *Plan) socket() string { return filepath.Join(p.Run, "identity.sock") }

// write puts a role's configuration, with the person's overlay merged in, under the data folder.
func (p *Plan) write(name string, base, overlay map[string]any) (string, error) {
	raw, err := yaml.Marshal(merge(base, overlay))
	if err != nil {
		return "", err
	}
	path := filepath.Join(p.Data, "config", strings.ReplaceAll(name, "/", "-")+".yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, raw, 0o600)
}

// merge lays overlay over base: maps key by key, everything else replaced.
func merge(base, overlay map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range base {
		out[key] = value
	}
	for key, value := range overlay {
		below, isMap := out[key].(map[string]any)
		above, alsoMap := value.(map[string]any)
		if isMap && alsoMap {
			value = merge(below, above)
		}
		out[key] = value
	}
	return out
}

func (p *Plan) identity() map[string]any { return map[string]any{"socket": p.socket()} }

func (p *Plan) control() error {
	at, err := p.reserve("control", "grpc", "ops")
	if err != nil {
		return err
	}
	lane, err := p.addresses.of("collector.lane")
	if err != nil {
		return err
	}
	config := map[string]any{
		"listen": at["grpc"], "ops": at["ops"], "data": filepath.Join(p.Data, "control"),
		"socket": p.socket(), "collectors": []string{lane},
	}
	if p.Options.Demo.Enabled {
		services, err := p.backingServices()
		if err != nil {
			return err
		}
		config["services"] = services
	}
	path, err := p.write("control", config, p.Options.Control)
	if err != nil {
		return err
	}
	at["socket"] = p.socket()
	return p.add(&Part{Name: "control", Addresses: at, Program: "mesh", Args: []string{"control", "--config", path}, Supervised: true, Phase: First})
}

func (p *Plan) collector() error {
	at, err := p.reserve("collector", "http", "otlp_grpc", "otlp_http", "lane", "ops")
	if err != nil {
		return err
	}
	part := &Part{Name: "collector", Addresses: at, Program: "collector", Supervised: true, Phase: Second, Env: []string{
		"WEFT_COLLECTOR_INSTANCE=collector-1", "WEFT_COLLECTOR_HTTP=" + at["http"], "WEFT_COLLECTOR_OTLP_GRPC=" + at["otlp_grpc"],
		"WEFT_COLLECTOR_OTLP_HTTP=" + at["otlp_http"], "WEFT_COLLECTOR_LANE=" + at["lane"], "WEFT_COLLECTOR_OPS=" + at["ops"],
		"WEFT_COLLECTOR_DATA=" + filepath.Join(p.Data, "collector"), "WEFT_COLLECTOR_WEBHOOK=" + p.Options.Webhook,
		"WEFT_COLLECTOR_CONSOLE_URL=http://" + at["http"], "WEFT_IDENTITY_SOCKET=" + p.socket(),
	}}
	return p.addDistribution(part, p.Options.Collector)
}

// addDistribution adds an OpenTelemetry Collector distribution, whose overlay is a file of its own.
func (p *Plan) addDistribution(part *Part, overlay map[string]any) error {
	if len(overlay) > 0 {
		path, err := p.write(part.Name, overlay, nil)
		if err != nil {
			return err
		}
		part.Args = append(part.Args, "--config", path)
	}
	return p.add(part)
}

func (p *Plan) agents() error {
	collector, err := p.reserve("collector", "otlp_grpc", "lane")
	if err != nil {
		return err
	}
	for n := 1; n <= p.Options.Nodes; n++ {
		name := agentName(n)
		at, err := p.reserve(name, "otlp_grpc", "otlp_http", "lane", "ops")
		if err != nil {
			return err
		}
		part := &Part{Name: name, Addresses: at, Program: "agent", Supervised: true, Phase: Second, Env: []string{
			fmt.Sprintf("WEFT_AGENT_INSTANCE=agent-%d", n), "WEFT_AGENT_OTLP_GRPC=" + at["otlp_grpc"], "WEFT_AGENT_OTLP_HTTP=" + at["otlp_http"],
			"WEFT_AGENT_LANE=" + at["lane"], "WEFT_AGENT_OPS=" + at["ops"], "WEFT_AGENT_DATA=" + filepath.Join(p.Data, name),
			"WEFT_AGENT_COLLECTOR=" + collector["otlp_grpc"], "WEFT_AGENT_COLLECTOR_LANE=" + collector["lane"],
			"WEFT_AGENT_FILELOG=" + filepath.Join(p.fileLogs(n), "*.log"), "WEFT_IDENTITY_SOCKET=" + p.socket(),
		}}
		if err := os.MkdirAll(p.fileLogs(n), 0o700); err != nil {
			return err
		}
		if err := p.addDistribution(part, p.Options.Agent); err != nil {
			return err
		}
	}
	return nil
}

// agentName is "agent" for the first node, so that scripts for one node need not count.
func agentName(node int) string {
	if node == 1 {
		return "agent"
	}
	return fmt.Sprintf("agent-%d", node)
}

// fileLogs is the folder that a node's agent tails.
func (p *Plan) fileLogs(node int) string {
	return filepath.Join(p.Data, "filelogs", fmt.Sprintf("node-%d", node))
}

// telemetry is where the proxies of a node report.
func (p *Plan) telemetry(node int) (map[string]any, error) {
	at, err := p.reserve(agentName(node), "otlp_grpc", "lane")
	return map[string]any{"otlp": at["otlp_grpc"], "lane": at["lane"]}, err
}

func (p *Plan) gateway() error {
	at, err := p.reserve("gateway", "http", "ops")
	if err != nil {
		return err
	}
	control, err := p.addresses.of("control.grpc")
	if err != nil {
		return err
	}
	telemetry, err := p.telemetry(1)
	if err != nil {
		return err
	}
	var calls []string
	config := map[string]any{
		"listen": at["http"], "ops": at["ops"], "instance": "gateway-1", "identity": p.identity(),
		"control": control, "telemetry": telemetry, "routes": []any{},
	}
	if p.Options.Demo.Enabled {
		config["routes"] = demoRoutes()
		calls = []string{"storefront"}
	}
	path, err := p.write("gateway", config, p.Options.Gateway)
	if err != nil {
		return err
	}
	return p.add(&Part{
		Name: "gateway", Addresses: at, Program: "gateway", Args: []string{"--config", path}, Supervised: true, Phase: Second, Calls: calls,
	})
}

// missing says which file a failed lookup was for.
func missing(part string, err error) error {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return fmt.Errorf("%s: the program %s is missing; run make build", part, pathError.Path)
	}
	return fmt.Errorf("%s: %w", part, err)
}

// Address is the address under "part.name"; empty when there is none.
func (p *Plan) Address(name string) string { return p.addresses.given[name] }
