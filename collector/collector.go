package collector

import (
	"context"
	_ "embed"

	"weft/internal/distro"
	"weft/internal/distro/opsextension"
	"weft/internal/ops"
)

//go:embed collector.yaml
var defaults []byte

// Command is the command line of bin/collector: [check] [--config FILE]...
func Command(ctx context.Context, args []string) error {
	return distro.Command(ctx, distro.Settings{Name: "collector", Version: "0.1.0", Defaults: defaults, Factories: factories}, args)
}

func listenOps(addr string, ready func() error) (opsextension.Server, error) {
	server, err := ops.Listen(addr, ready)
	if err != nil {
		return opsextension.Server{}, err
	}
	return opsextension.Server{Addr: server.Addr(), Registry: server.Registry, Run: server.Run}, nil
}
