package identity

import (
	"context"
	"fmt"
	"time"

	"weft/internal/wire"
)

// CreateJoinToken asks control, over its Unix socket, for a one-time token with which id can join from another node.
// A ttl of 0 is control's default.
func CreateJoinToken(ctx context.Context, socket string, id ID, ttl time.Duration) (JoinToken, error) {
	if err := id.Validate(); err != nil {
		return JoinToken{}, err
	}
	conn, err := DialSocket(socket)
	if err != nil {
		return JoinToken{}, err
	}
	defer conn.Close()
	request := &wire.JoinTokenRequest{SpiffeId: id.URI(), TtlSeconds: uint32(ttl / time.Second)}
	answer, err := wire.NewIdentityClient(conn).CreateJoinToken(ctx, request)
	if err != nil {
		return JoinToken{}, fmt.Errorf("control at %s: %w", socket, err)
	}
	return ParseJoinToken(answer.GetJoinToken())
}

// ListEndpoints asks control, over its Unix socket, for everything it knows of endpoints.
func ListEndpoints(ctx context.Context, socket string) ([]*wire.RegisteredEndpoint, error) {
	conn, err := DialSocket(socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answer, err := wire.NewRegistryClient(conn).List(ctx, &wire.ListRequest{})
	if err != nil {
		return nil, fmt.Errorf("control at %s: %w", socket, err)
	}
	return answer.GetEndpoints(), nil
}
