package distro

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/service"
	"go.yaml.in/yaml/v3"
)

// document is one layer of the configuration, as it was read.
type document struct {
	name string
	text []byte
}

// read takes the built-in document and the files as they are now.
func (d *distribution) read(files []string) ([]document, error) {
	documents := []document{{"built-in " + d.set.Name + ".yaml", d.set.Defaults}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		documents = append(documents, document{file, text})
	}
	return documents, nil
}

// load decodes the documents, dry-runs the result (every component is made, none is started), and decodes them again for
// the start: some factories share one component among all signals by the address of its configuration, and would hand
// out the one that the dry run made, without logs or metrics.
func (d *distribution) load(ctx context.Context, documents []document) (*otelcol.Config, error) {
	for _, doc := range documents {
		if err := wellFormed(doc); err != nil {
			return nil, err
		}
	}
	trial, err := d.decode(ctx, documents)
	if err == nil {
		err = service.Validate(ctx, d.serviceSettings(trial), service.Config{Pipelines: trial.Service.Pipelines})
	}
	if err != nil {
		return nil, explain(err, documents)
	}
	cfg, err := d.decode(ctx, documents)
	return cfg, explain(err, documents)
}

func (d *distribution) decode(ctx context.Context, documents []document) (*otelcol.Config, error) {
	provider, err := otelcol.NewConfigProvider(otelcol.ConfigProviderSettings{ResolverSettings: resolver(documents)})
	if err != nil {
		return nil, err
	}
	cfg, err := provider.Get(ctx, d.factories)
	if err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

func (d *distribution) serviceSettings(cfg *otelcol.Config) service.Settings {
	return service.Settings{
		BuildInfo:           component.BuildInfo{Command: d.set.Name, Description: "Weft " + d.set.Name, Version: d.set.Version},
		ReceiversConfigs:    cfg.Receivers,
		ReceiversFactories:  d.factories.Receivers,
		ProcessorsConfigs:   cfg.Processors,
		ProcessorsFactories: d.factories.Processors,
		ExportersConfigs:    cfg.Exporters,
		ExportersFactories:  d.factories.Exporters,
		ConnectorsConfigs:   cfg.Connectors,
		ConnectorsFactories: d.factories.Connectors,
		ExtensionsConfigs:   cfg.Extensions,
		ExtensionsFactories: d.factories.Extensions,
		TelemetryFactory:    d.factories.Telemetry,
	}
}

func (d *distribution) check(ctx context.Context, files []string) error {
	documents, err := d.read(files)
	if err != nil {
		return err
	}
	_, err = d.load(ctx, documents)
	return err
}

// resolver merges the documents in order and expands ${NAME}, ${env:NAME} and ${env:NAME:-default}.
func resolver(documents []document) confmap.ResolverSettings {
	set := confmap.ResolverSettings{
		DefaultScheme: "env",
		ProviderFactories: []confmap.ProviderFactory{
			confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return layers(documents) }),
			confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return environment{} }),
		},
	}
	for i := range documents {
		set.URIs = append(set.URIs, fmt.Sprintf("layer:%d", i))
	}
	return set
}

// layers serves the documents as layer:0, layer:1, …
type layers []document

func (layers) Scheme() string                 { return "layer" }
func (layers) Shutdown(context.Context) error { return nil }
func (l layers) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	var i int
	if _, err := fmt.Sscanf(uri, "layer:%d", &i); err != nil || i < 0 || i >= len(l) {
		return nil, fmt.Errorf("no such layer: %s", uri)
	}
	return confmap.NewRetrievedFromYAML(l[i].text)
}

// environment expands variables. Unlike the Collector's own provider it takes a missing one for the mistake it is.
type environment struct{}

var variable = regexp.MustCompile(`^env:([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$`)

func (environment) Scheme() string                 { return "env" }
func (environment) Shutdown(context.Context) error { return nil }
func (environment) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	part := variable.FindStringSubmatch(uri)
	if part == nil {
		return nil, fmt.Errorf("${%s}: want ${NAME}, ${env:NAME} or ${env:NAME:-default}", uri)
	}
	value, set := os.LookupEnv(part[1])
	// An empty variable counts as unset when there is a default, as in a shell's ${NAME:-default}.
	if value == "" && part[2] != "" {
		value, set = part[3], true
	}
	if !set {
		return nil, fmt.Errorf("environment variable %s is not set", part[1])
	}
	return confmap.NewRetrievedFromYAML([]byte(value))
}

// wellFormed gives a syntax error its file and line; merged layers would lose both.
func wellFormed(doc document) error {
	var tree map[string]any
	if err := yaml.Unmarshal(doc.text, &tree); err != nil {
		return fmt.Errorf("%s: %s", doc.name, oneLine(strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	return nil
}
