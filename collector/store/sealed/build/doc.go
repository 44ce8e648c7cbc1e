// Package build makes rows of spans and of log records: from the OTLP bytes they came in, or from the rows of other files.
//
// Each item is walked once, and its fields and attributes set column by column in order of arrival; then the rows are
// sorted, so that a request is one run of them, and those that are there twice left out.
package build
