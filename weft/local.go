package weft

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"weft/internal/config"
	"weft/weft/up"
	"weft/weft/up/plan"
)

func runUp(ctx context.Context, in *invocation) error {
	options := plan.DefaultOptions()
	var file string
	var noDemo, noTraffic bool
	in.flags.StringVar(&file, "config", "", "a YAML file with the same settings, and overlays for each role")
	in.flags.IntVar(&options.Nodes, "nodes", options.Nodes, "how many agents")
	in.flags.StringVar(&options.Webhook, "webhook", "", "where alerts are sent")
	in.flags.BoolVar(&noDemo, "no-demo", false, "run without the demo shop")
	in.flags.BoolVar(&noTraffic, "no-traffic", false, "run the demo shop without visitors")
	in.flags.Func("addr", "NAME=HOST:PORT, e.g. gateway.http=127.0.0.1:9000; port 0 picks a free one; may be repeated", func(pair string) error {
		name, address, found := strings.Cut(pair, "=")
		if !found {
			return fmt.Errorf("%q is not NAME=HOST:PORT", pair)
		}
		options.Addresses[name] = address
		return nil
	})
	if err := in.parse(0, 0); err != nil {
		return err
	}
	options.Data = in.data
	if file != "" {
		var err error
		if options, err = withFile(file, options, in); err != nil {
			return err
		}
	}
	options.Demo.Enabled = options.Demo.Enabled && !noDemo
	if noTraffic {
		options.Demo.Traffic = 0
	}
	if err := options.Validate(); err != nil {
		return err
	}
	return up.Run(ctx, options, in.stdout)
}

// withFile lays what was said on the command line over what the file says.
func withFile(file string, said plan.Options, in *invocation) (plan.Options, error) {
	options := plan.DefaultOptions()
	if err := config.Load(file, &options); err != nil {
		return options, err
	}
	for _, flag := range in.given() {
		switch flag {
		case "data":
			options.Data = said.Data
		case "nodes":
			options.Nodes = said.Nodes
		case "webhook":
			options.Webhook = said.Webhook
		}
	}
	if options.Addresses == nil {
		options.Addresses = map[string]string{}
	}
	for name, address := range said.Addresses {
		options.Addresses[name] = address
	}
	return options, nil
}

func runStatus(ctx context.Context, in *invocation) error {
	in.flags.BoolVar(&in.json, "json", false, "print the status as JSON")
	if err := in.parse(0, 0); err != nil {
		return err
	}
	client, err := up.Connect(in.data)
	if err != nil {
		return err
	}
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if in.json {
		encoder := json.NewEncoder(in.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	table := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PART\tPID\tHEALTHY\tADDRESSES")
	for _, part := range status.Parts {
		fmt.Fprintf(table, "%s\t%d\t%v\t%s\n", part.Name, part.PID, part.Healthy, addressList(part.Addresses))
	}
	return table.Flush()
}

func runDemo(ctx context.Context, in *invocation) error {
	var fault up.Fault
	var share string
	in.flags.StringVar(&share, "errors", "", "share of requests that fail, e.g. 30%")
	in.flags.StringVar(&fault.Delay, "delay", "", "how much later every answer comes, e.g. 2s")
	in.flags.BoolVar(&fault.Kill, "kill", false, "kill -9 the process; sidecar/NAME kills its sidecar")
	if err := in.parse(1, 2); err != nil {
		return err
	}
	client, err := up.Connect(in.data)
	if err != nil {
		return err
	}
	switch {
	case in.args[0] == "heal":
		return client.Heal(ctx)
	case in.args[0] != "break" || len(in.args) != 2:
		in.flags.Usage()
		return errUsage
	}
	if share != "" {
		if fault.Errors, err = parseShare(share); err != nil {
			return err
		}
	}
	if fault == (up.Fault{}) {
		return fmt.Errorf("say how %s should break: --errors 30%%, --delay 2s or --kill", in.args[1])
	}
	return client.Break(ctx, in.args[1], fault)
}

// parseShare reads "30%" or "0.3".
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || share <= 0 || share > 1 {
		return 0, fmt.Errorf("--errors %q: want a share such as 30%% or 0.3", text)
	}
	return share, nil
}

func runStop(ctx context.Context, in *invocation) error  { return onPart(ctx, in, (*up.Client).Stop) }
func runStart(ctx context.Context, in *invocation) error { return onPart(ctx, in, (*up.Client).Start) }

func onPart(ctx context.Context, in *invocation, act func(*up.Client, context.Context, string) error) error {
	if err := in.parse(1, 1); err != nil {
		return err
	}
	client, err := up.Connect(in.data)
	if err != nil {
		return err
	}
	return act(client, ctx, in.args[0])
}

// addressList is "name=address", sorted by name.
func addressList(addresses map[string]string) string {
	pairs := make([]string, 0, len(addresses))
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		pairs = append(pairs, name+"="+addresses[name])
	}
	return strings.Join(pairs, " ")
}
