package demo

import (
	"context"
	"net"
	"strconv"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// backing is a database, cache or queue as its callers' spans describe it; instrumented drivers do the same.
type backing struct {
	kind       trace.SpanKind
	attributes []attribute.KeyValue
}

// databaseOf is a database or cache; service is its name in the mesh, and address empty when it is no server.
func databaseOf(system, service, address string) backing {
	return backing{trace.SpanKindClient, append(peer(service, address), attribute.String("db.system.name", system))}
}

func queueOf(system, service, address string) backing {
	return backing{trace.SpanKindProducer, append(peer(service, address), attribute.String("messaging.system", system))}
}

func peer(service, address string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	number, _ := strconv.Atoi(port)
	return []attribute.KeyValue{attribute.String("peer.service", service), attribute.String("server.address", host), attribute.Int("server.port", number)}
}

// span runs one call as a span of its own.
func (b backing) span(ctx context.Context, name string, do func(context.Context) error, attributes ...attribute.KeyValue) error {
	ctx, span := otel.Tracer("weft/demo").Start(ctx, name, trace.WithSpanKind(b.kind), trace.WithAttributes(b.attributes...), trace.WithAttributes(attributes...))
	defer span.End()
	err := do(ctx)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}
