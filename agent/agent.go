// Package agent is the OpenTelemetry Collector distribution that runs on every node: it takes what proxies and
// applications send, keeps it on disk, and hands it to the collector.
package agent

import (
	"context"
	_ "embed"

	"weft/internal/distro"
	"weft/internal/distro/opsextension"
	"weft/internal/ops"
)

//go:embed agent.yaml
var defaults []byte

// Command is the command line of bin/agent: [check] [--config FILE]...
func Command(ctx context.Context, args []string) error {
	return distro.Command(ctx, distro.Settings{Name: "agent", Version: "0.1.0", Defaults: defaults, Factories: factories}, args)
}

func listenOps(addr string, ready func() error) (opsextension.Server, error) {
	server, err := ops.Listen(addr, ready)
	if err != nil {
		return opsextension.Server{}, err
	}
	return opsextension.Server{Addr: server.Addr(), Registry: server.Registry, Run: server.Run}, nil
}
