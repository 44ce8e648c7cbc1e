package up

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"weft/weft/up/plan"
)

// printTable says what runs, where, and what to open.
func printTable(out io.Writer, layout *plan.Plan, took time.Duration) {
	fmt.Fprintf(out, "\nWeft is up after %.1f s. Data: %s\n\n", took.Seconds(), layout.Data)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHAT\tADDRESS\tWHAT TO DO WITH IT")
	row := func(part, address, use string) {
		for _, p := range layout.Parts {
			if p.Name == part {
				fmt.Fprintf(table, "%s\t%s\t%s\n", part, p.Addresses[address], use)
			}
		}
	}
	row("gateway", "http", "send requests here: curl -i http://"+layout.Address("gateway.http")+"/api/home")
	row("collector", "http", "open the console: http://"+layout.Address("collector.http")+"/")
	row("agent", "otlp_grpc", "send OTLP over gRPC here")
	row("agent", "otlp_http", "send OTLP over HTTP here")
	row("control", "grpc", "registry, certificates and xDS")
	if layout.Options.Demo.Enabled {
		fmt.Fprintf(table, "demo shop\tbehind the gateway\t%s, a sidecar beside each endpoint\n", plan.ShopServices())
		for _, p := range layout.Parts {
			if p.Note != "" && p.Addresses["tcp"] != "" {
				row(p.Name, "tcp", p.Note)
			}
		}
	}
	for _, missing := range layout.StandIns() {
		fmt.Fprintf(table, "%s\tno server\t%s\n", missing.What, missing.Note)
	}
	table.Flush()
	if layout.Options.Demo.Enabled {
		fmt.Fprint(out, walk(layout))
	}
	fmt.Fprintln(out, "\nCtrl-C stops everything.")
}

// walk is the newcomer's first five minutes.
func walk(layout *plan.Plan) string {
	data := ""
	if layout.Options.Data != plan.DefaultOptions().Data {
		data = " --data " + layout.Options.Data
	}
	lines := []string{
		"", "Try, in another terminal:",
		"  curl -i -X POST http://" + layout.Address("gateway.http") + "/api/checkout   # note its x-request-id",
		"  bin/weft request <that id>" + data + "   # what happened to it",
		"  bin/weft demo break payment-2 --errors 30%" + data + "   # an endpoint goes bad",
		"  bin/weft why payment-2" + data + "   # who saw it, and what was done",
		"  bin/weft demo heal" + data, "",
	}
	return strings.Join(lines, "\n")
}
