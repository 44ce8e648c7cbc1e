package process

import (
	"net"
	"os"
	"path/filepath"
)

// Collector lays out our collector alone, with its data in folder. Each call finds new ports; to start the same one
// again, start the same Program.
func Collector(path, folder string, env ...string) (Program, error) {
	at, err := addresses(5)
	if err != nil {
		return Program{}, err
	}
	return Program{
		Name: "collector", Path: path, Data: filepath.Join(folder, "collector"), Log: filepath.Join(folder, "collector.log"),
		Env: append([]string{
			"WEFT_COLLECTOR_DATA=" + filepath.Join(folder, "collector"), "WEFT_COLLECTOR_OTLP_GRPC=" + at[0], "WEFT_COLLECTOR_HTTP=" + at[1],
			"WEFT_COLLECTOR_OPS=" + at[2], "WEFT_COLLECTOR_OTLP_HTTP=" + at[3], "WEFT_COLLECTOR_LANE=" + at[4],
		}, env...),
		OTLP: at[0], HTTP: at[1], Ops: at[2], Ready: "http://" + at[2] + "/readyz", Lookup: "http://" + at[1] + "/api/requests/%s",
	}, os.MkdirAll(filepath.Join(folder, "collector"), 0o700)
}

// Agent lays out our agent alone, which forwards to a collector's OTLP address.
func Agent(path, folder, collector string, env ...string) (Program, error) {
	at, err := addresses(5)
	if err != nil {
		return Program{}, err
	}
	return Program{
		Name: "agent", Path: path, Data: filepath.Join(folder, "agent"), Log: filepath.Join(folder, "agent.log"),
		Env: append([]string{
			"WEFT_AGENT_DATA=" + filepath.Join(folder, "agent"), "WEFT_AGENT_OTLP_GRPC=" + at[0], "WEFT_AGENT_OTLP_HTTP=" + at[1],
			"WEFT_AGENT_OPS=" + at[2], "WEFT_AGENT_LANE=" + at[3], "WEFT_AGENT_COLLECTOR=" + collector, "WEFT_AGENT_COLLECTOR_LANE=" + at[4],
			"WEFT_AGENT_FILELOG=" + filepath.Join(folder, "agent", "none", "*.json"),
		}, env...),
		OTLP: at[0], Ops: at[2], Ready: "http://" + at[2] + "/readyz",
	}, os.MkdirAll(filepath.Join(folder, "agent"), 0o700)
}

// addresses finds n loopback addresses that nobody listens at now.
func addresses(n int) ([]string, error) {
	var out []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = listener.Close() }() // all at the end: none is found twice
		out = append(out, listener.Addr().String())
	}
	return out, nil
}
