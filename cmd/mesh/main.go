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
	role, args := append(os.Args, "", "")[1], os.Args[min(2, len(os.Args)):]
	run := map[string]func(context.Context, string) error{"sidecar": sidecar.Run, "control": control.Run}[role]
	if len(args) > 0 && args[0] == "check" {
		check := map[string]func(string) error{"sidecar": sidecar.Check, "control": control.Check}[role]
		run, args = func(_ context.Context, path string) error { return check(path) }, args[1:]
	}
	flags := flag.NewFlagSet("mesh "+role, flag.ExitOnError)
	path := flags.String("config", "", "the role's YAML file")
	_ = flags.Parse(args) // ends the process itself
	if role != "sidecar" && role != "control" || *path == "" || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: mesh sidecar|control [check] --config FILE")
		os.Exit(2)
	}
	err := run(ctx, *path)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mesh:", err)
		os.Exit(1)
	}
}
