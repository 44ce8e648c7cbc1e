package process

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Peer lays out one of the programs we compare ourselves with; path is its binary.
type Peer struct {
	Name, What  string // the flag's name, and what it says of it
	Spans, Logs bool   // what it takes
	lay         func(folder string, at []string) (Program, error)
}

// Peers in the order of the table.
var Peers = []Peer{
	{"otelcol-receive", "OpenTelemetry Collector (otelcol): receive only", true, true, collectorTo("nop: {}")},
	{"otelcol-file", "OpenTelemetry Collector (otelcol): receive and write a file", true, true, collectorTo("file: {path: FOLDER/otlp, format: proto}")},
	{"jaeger", "Jaeger 1.x (jaeger-all-in-one), Badger", true, false, jaeger},
	{"tempo", "Tempo 2.x, one process", true, false, tempo},
	{"loki", "Loki 3.x, OTLP/HTTP", false, true, loki},
}

// Lay finds it ports and a folder.
func (p *Peer) Lay(path, folder string) (Program, error) {
	at, err := addresses(8)
	if err != nil {
		return Program{}, err
	}
	data := filepath.Join(folder, p.Name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return Program{}, err
	}
	program, err := p.lay(data, at)
	program.Name, program.Path, program.Data, program.Log = p.Name, path, data, filepath.Join(folder, p.Name+".log")
	return program, err
}

// config writes a configuration file beside the data, so that it does not count as data.
func config(folder, format string, args ...any) (string, error) {
	path := folder + ".yaml"
	return path, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600)
}

func collectorTo(exporter string) func(folder string, at []string) (Program, error) {
	name, _, _ := strings.Cut(exporter, ":")
	return func(folder string, at []string) (Program, error) {
		path, err := config(folder, `receivers: {otlp: {protocols: {grpc: {endpoint: %q, max_recv_msg_size_mib: 64}}}}
exporters: {%s}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [%s]}
    logs: {receivers: [otlp], exporters: [%[3]s]}
`, at[0], strings.ReplaceAll(exporter, "FOLDER", folder), name)
		return Program{Args: []string{"--config", path}, OTLP: at[0], Ready: "tcp://" + at[0]}, err
	}
}

func jaeger(folder string, at []string) (Program, error) {
	return Program{
		Args: []string{
			"--collector.otlp.grpc.host-port=" + at[0], "--collector.otlp.http.host-port=" + at[1], "--query.http-server.host-port=" + at[2],
			"--query.grpc-server.host-port=" + at[3], "--admin.http.host-port=" + at[4], "--collector.grpc-server.host-port=" + at[5],
			"--collector.http-server.host-port=" + at[6], "--badger.ephemeral=false", "--badger.directory-key=" + filepath.Join(folder, "key"),
			"--badger.directory-value=" + filepath.Join(folder, "value"),
		},
		Env:  []string{"SPAN_STORAGE_TYPE=badger"},
		OTLP: at[0], Ready: "http://" + at[4] + "/", Lookup: "http://" + at[2] + "/api/traces/%s",
	}, nil
}

func tempo(folder string, at []string) (Program, error) {
	_, http, err1 := net.SplitHostPort(at[1])
	_, grpc, err2 := net.SplitHostPort(at[2])
	if err1 != nil || err2 != nil {
		return Program{}, fmt.Errorf("ports: %w, %w", err1, err2)
	}
	path, err := config(folder, `server: {http_listen_address: 127.0.0.1, http_listen_port: %s, grpc_listen_address: 127.0.0.1, grpc_listen_port: %s}
distributor: {receivers: {otlp: {protocols: {grpc: {endpoint: %q, max_recv_msg_size_mib: 64}}}}}
ingester: {lifecycler: {address: 127.0.0.1, ring: {kvstore: {store: inmemory}, replication_factor: 1}}}
storage: {trace: {backend: local, local: {path: %q}, wal: {path: %q}}}
overrides: {defaults: {ingestion: {rate_limit_bytes: 1000000000, burst_size_bytes: 1000000000, max_traces_per_user: 0}}}
usage_report: {reporting_enabled: false}
`, http, grpc, at[0], filepath.Join(folder, "blocks"), filepath.Join(folder, "wal"))
	return Program{
		Args: []string{"-config.file=" + path}, OTLP: at[0], Ready: "http://" + at[1] + "/ready", Lookup: "http://" + at[1] + "/api/traces/%s",
	}, err
}

func loki(folder string, at []string) (Program, error) {
	_, http, err1 := net.SplitHostPort(at[1])
	_, grpc, err2 := net.SplitHostPort(at[2])
	if err1 != nil || err2 != nil {
		return Program{}, fmt.Errorf("ports: %w, %w", err1, err2)
	}
	path, err := config(folder, `auth_enabled: false
server: {http_listen_address: 127.0.0.1, http_listen_port: %s, grpc_listen_address: 127.0.0.1, grpc_listen_port: %s, log_level: warn}
common:
  path_prefix: %[3]q
  instance_addr: 127.0.0.1
  replication_factor: 1
  ring: {kvstore: {store: inmemory}}
  storage: {filesystem: {chunks_directory: %[4]q, rules_directory: %[5]q}}
schema_config: {configs: [{from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}]}
limits_config: {ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000, per_stream_rate_limit: 1GB, per_stream_rate_limit_burst: 1GB}
analytics: {reporting_enabled: false}
`, http, grpc, folder, filepath.Join(folder, "chunks"), filepath.Join(folder, "rules"))
	return Program{
		Args: []string{"-config.file=" + path}, OTLP: "http://" + at[1] + "/otlp", Ready: "http://" + at[1] + "/ready",
		Lookup: "http://" + at[1] + "/loki/api/v1/query_range?limit=100&since=1h&query=%%7Bservice_name%%3D~%%22.%%2B%%22%%7D%%7Ctrace_id%%3D%%22%s%%22",
	}, err
}
