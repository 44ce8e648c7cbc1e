// Command agent is the OpenTelemetry Collector distribution of a node.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"weft/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := agent.Command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}
