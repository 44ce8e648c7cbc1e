package identity

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"weft/internal/wire"
)

// attested is an Identity service that tells who called over the socket.
type attested struct {
	wire.UnimplementedIdentityServer
	ca *testCA
}

func (a attested) Issue(ctx context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
	if uid, ok := UIDFromContext(ctx); !ok || uid != uint32(os.Getuid()) {
		return nil, fmt.Errorf("uid %d, %v", uid, ok)
	}
	return a.ca.issue(ctx, in)
}

func serveSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-identity-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(SameUser()))
	wire.RegisterIdentityServer(server, attested{ca: newTestCA(t, TrustDomain)})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return path
}

func TestSocketAttestation(t *testing.T) {
	s := NewSource(Config{Socket: serveSocket(t)}, ID{Role: RoleAgent, Service: "agent", Instance: "agent-1"})
	run(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if s.ID().TrustDomain != TrustDomain {
		t.Fatalf("trust domain %q, want the default", s.ID().TrustDomain)
	}
}

const strangerSocket = "WEFT_TEST_STRANGER_SOCKET"

// TestStrangerHelper is not a test: the next one runs it in a process of another user.
func TestStrangerHelper(t *testing.T) {
	path := os.Getenv(strangerSocket)
	if path == "" {
		t.Skip("helper of TestSocketRefusesAnotherUser")
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		fmt.Println("no connection:", err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err == nil {
		_, err = conn.Read(make([]byte, 1))
		fmt.Println("refused:", err)
		return
	}
	fmt.Println("refused at write")
}

func TestSocketRefusesAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	path := serveSocket(t)
	binary := filepath.Join(filepath.Dir(path), "stranger")
	raw, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, open := range []string{filepath.Dir(path), path} { // so that the UID is what refuses, not the file mode
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	stranger := exec.Command(binary, "-test.run=^TestStrangerHelper$", "-test.v")
	stranger.Dir = "/"
	stranger.Env = append(os.Environ(), strangerSocket+"="+path)
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := stranger.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "refused") || strings.Contains(string(out), "refused: <nil>") {
		t.Fatalf("another user was not refused: %v\n%s", err, out)
	}
}

func TestSameUser(t *testing.T) {
	if err := sameUser(uint32(os.Getuid())); err != nil {
		t.Errorf("own UID: %v", err)
	}
	if err := sameUser(0); err != nil {
		t.Errorf("root: %v", err)
	}
	if err := sameUser(uint32(os.Getuid()) + 1); err == nil {
		t.Error("another UID was accepted")
	}
	left, right := net.Pipe()
	defer left.Close()
	defer right.Close()
	if _, _, err := SameUser().(socketCredentials).ServerHandshake(left); err == nil {
		t.Error("a connection that is no Unix socket was accepted")
	}
}
