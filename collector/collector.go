package collector

import (
	"context"
	_ "embed"
	"os"
	"runtime/debug"

	"weft/internal/distro"
	"weft/internal/distro/opsextension"
	"weft/internal/ops"
)

//go:embed collector.yaml
var defaults []byte

// softMemory makes the garbage collector work harder before the process outgrows a gigabyte; it is no bound.
const softMemory = 900 << 20

// Command is the command line of bin/collector: [check] [--config FILE]..., or store …, see storeCommand.
func Command(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "store" {
		return storeCommand(ctx, args[1:], os.Stdout)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
	return distro.Command(ctx, distro.Settings{Name: "collector", Version: "0.1.0", Defaults: defaults, Factories: factories}, args)
}

func listenOps(addr string, ready func() error) (opsextension.Server, error) {
	server, err := ops.Listen(addr, ready)
	if err != nil {
		return opsextension.Server{}, err
	}
	return opsextension.Server{Addr: server.Addr(), Registry: server.Registry, Run: server.Run}, nil
}
