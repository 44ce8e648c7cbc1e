package collector

import (
	"errors"

	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"

	"weft/collector/component/alertextension"
	"weft/collector/component/correlate"
	"weft/collector/component/healthextension"
	"weft/collector/component/queryextension"
	"weft/collector/component/storeconnector"
	"weft/collector/component/storeextension"
	"weft/internal/distro"
	"weft/internal/distro/opsextension"
	"weft/internal/distro/otlpreceiver"
	"weft/internal/distro/pushback"
)

// factories lists every component that the collector's YAML may name, and makes what outlives a reload.
func factories(process *distro.Process) (f otelcol.Factories, err error) {
	stores := storeextension.NewKeeper()
	process.OnExit(stores.Close)
	correlator := correlate.NewKeeper()
	judge := healthextension.NewKeeper()
	process.OnExit(judge.Close)
	port := opsextension.NewPort(listenOps, process.Metrics)
	process.OnExit(port.Close)

	var errs [5]error
	f.Receivers, errs[0] = otelcol.MakeFactoryMap[receiver.Factory](
		otlpreceiver.NewFactory(), // OTLP over gRPC and HTTP
	)
	f.Processors, errs[1] = otelcol.MakeFactoryMap[processor.Factory](
		pushback.NewFactory(),               // every refusal says when to come again
		memorylimiterprocessor.NewFactory(), // refuse before the process suffers
	)
	f.Connectors, errs[2] = otelcol.MakeFactoryMap[connector.Factory](
		storeconnector.NewFactory(), // append, acknowledge, then hand on
	)
	f.Exporters, errs[3] = otelcol.MakeFactoryMap[exporter.Factory](
		correlate.ExporterFactory(), // what is stored becomes exchanges and RED metrics
	)
	f.Extensions, errs[4] = otelcol.MakeFactoryMap[extension.Factory](
		port.Factory(),                // health, readiness, own metrics, profiles
		stores.Factory(),              // spans, logs and metrics on disk
		correlator.ExtensionFactory(), // exchanges in memory
		judge.Factory(),               // samples in, verdicts out
		alertextension.NewFactory(),   // verdicts become notifications
		queryextension.NewFactory(),   // the console and every API, on one port
	)
	return f, errors.Join(errs[:]...)
}
