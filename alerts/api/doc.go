// Package api answers version 2 of Alertmanager's HTTP API, by Alertmanager's own handlers, from the alerts and silences
// that Weft keeps. What it adds is that a write is durable before it is answered.
package api
