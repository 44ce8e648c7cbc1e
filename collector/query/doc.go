// Package query answers what happened to a request, and how services and endpoints are, as JSON over HTTP.
//
// A question's journey: guard.go lets it in, query.go finds its handler, gather.go asks the stores in parallel and
// follows every ID they name, correlate.Assemble joins what came, and answer.go writes it down.
package query
