// Command demo is one service of the demo shop.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"weft/compose/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo.Run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1) //nolint:gocritic // stop only releases signals, and the process ends here
	}
}
