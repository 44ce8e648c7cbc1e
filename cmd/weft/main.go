// Command weft is the person's command: it runs Weft on this machine and answers questions about it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"weft/weft"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := weft.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
