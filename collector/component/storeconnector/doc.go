// Package storeconnector is where pipelines end in the stores: a batch goes into the intake, and what is stored is handed
// on to whatever stands behind, such as an exporter to another engine.
package storeconnector

// Config is connectors.store, and exporters.stored, in the YAML: neither has settings.
type Config struct{}
