package agent

import (
	"errors"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"

	"weft/agent/component/origin"
	"weft/agent/component/queue"
	"weft/agent/component/samplelane"
	"weft/agent/component/uplink"
	"weft/internal/distro"
	"weft/internal/distro/opsextension"
	"weft/internal/distro/otlpreceiver"
	"weft/internal/distro/pushback"
)

// factories lists every component that the agent's YAML may name.
func factories(process *distro.Process) (f otelcol.Factories, err error) {
	port := opsextension.NewPort(listenOps, process.Metrics)
	process.OnExit(port.Close)
	kept := queue.NewKeeper(process.Log)
	process.OnExit(kept.Close)

	var errs [4]error
	f.Receivers, errs[0] = otelcol.MakeFactoryMap[receiver.Factory](
		otlpreceiver.NewFactory(),        // OTLP over gRPC and HTTP, the SDKs' default ports
		hostmetricsreceiver.NewFactory(), // the node itself
		filelogreceiver.NewFactory(),     // applications that log JSON lines to a file
	)
	f.Processors, errs[1] = otelcol.MakeFactoryMap[processor.Factory](
		pushback.NewFactory(),               // every refusal says when to come again
		memorylimiterprocessor.NewFactory(), // refuse before the node suffers
		origin.NewFactory(),                 // which agent measured the node
	)
	f.Exporters, errs[2] = otelcol.MakeFactoryMap[exporter.Factory](
		uplink.NewFactory(), // what came through a pipeline, into the queue
	)
	f.Extensions, errs[3] = otelcol.MakeFactoryMap[extension.Factory](
		port.Factory(),           // health, readiness, own metrics, profiles
		kept.Factory(),           // everything for the collector, kept until it has it
		filestorage.NewFactory(), // up to where files were read
		samplelane.NewFactory(),  // the proxies' counts, past every queue
	)
	return f, errors.Join(errs[:]...)
}
