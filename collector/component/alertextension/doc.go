// Package alertextension runs alerting inside the collector: it hears the health extension's verdicts and other
// extensions' conditions, watches the disk and who refuses, and offers the alerts to the query extension.
package alertextension
