// Package queryextension serves what people and their tools ask of the collector, on one HTTP port.
package queryextension
