package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// SameUser are transport credentials for a Unix socket: the kernel says which UID is at the other end, and only our
// own or root is accepted. Nothing is encrypted, because nothing leaves the kernel.
func SameUser() credentials.TransportCredentials { return socketCredentials{accept: sameUser} }

type socketCredentials struct{ accept func(uid uint32) error }

// SocketInfo is what a call over the socket knows of its peer.
type SocketInfo struct {
	credentials.CommonAuthInfo
	UID uint32
}

// AuthType names the proof.
func (SocketInfo) AuthType() string { return "unix-uid" }

func (c socketCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.handshake(conn)
}

func (c socketCredentials) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.handshake(conn)
}

func (c socketCredentials) handshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	uid, err := uidOf(conn)
	if err == nil {
		err = c.accept(uid)
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	common := credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
	return conn, SocketInfo{CommonAuthInfo: common, UID: uid}, nil
}

func (c socketCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix-uid"}
}

func (c socketCredentials) Clone() credentials.TransportCredentials { return c }
func (c socketCredentials) OverrideServerName(string) error         { return nil }

func uidOf(conn net.Conn) (uint32, error) {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%s is not a Unix socket", conn.RemoteAddr().Network())
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var uid uint32
	var failed error
	if err := raw.Control(func(fd uintptr) { uid, failed = peerUID(int(fd)) }); err != nil {
		return 0, err
	}
	return uid, failed
}

func sameUser(uid uint32) error {
	if own := uint32(os.Getuid()); uid != own && uid != 0 {
		return fmt.Errorf("the socket's peer has UID %d, want %d or root", uid, own)
	}
	return nil
}

// UIDFromContext is the UID of a caller over the Unix socket, in a gRPC handler.
func UIDFromContext(ctx context.Context) (uint32, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return 0, false
	}
	info, ok := p.AuthInfo.(SocketInfo)
	return info.UID, ok
}
