// Command mesh is a sidecar or the control plane: mesh sidecar|control [check] --config FILE.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"weft/mesh/control"
	"weft/mesh/sidecar"
)

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mesh:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	const usage = "usage: mesh sidecar|control [check] --config FILE"
	role := append(args, "")[0]
	run, ok := map[string]func(context.Context, string) error{"sidecar": sidecar.Run, "control": control.Run}[role]
	if !ok {
		return fmt.Errorf("%s", usage)
	}
	args = args[1:]
	if len(args) > 0 && args[0] == "check" {
		check := map[string]func(string) error{"sidecar": sidecar.Check, "control": control.Check}[role]
		run, args = func(_ context.Context, path string) error { return check(path) }, args[1:]
	}
	flags := flag.NewFlagSet("mesh "+role, flag.ContinueOnError)
	path := flags.String("config", "", "the role's YAML file")
	if err := flags.Parse(args); err != nil || *path == "" || flags.NArg() > 0 {
		return fmt.Errorf("%s", usage)
	}
	return run(ctx, *path)
}
