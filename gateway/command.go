package gateway

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// Command runs "gateway --config F", or "gateway check --config F", which only validates.
func Command(ctx context.Context, args []string) error {
	check := len(args) > 0 && args[0] == "check"
	if check {
		args = args[1:]
	}
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.String("config", "gateway.yaml", "configuration `file`")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return fmt.Errorf("usage: gateway [check] --config FILE (%w)", orUnexpected(err, flags.Args()))
	}
	if check {
		if err := Check(*path); err != nil {
			return err
		}
		fmt.Println(*path + ": ok")
		return nil
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	return Run(ctx, *path)
}

func orUnexpected(err error, rest []string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("unexpected %q", rest)
}
