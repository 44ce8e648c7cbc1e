package weft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"weft/internal/identity"
	"weft/internal/wire"
	"weft/weft/up"
)

// runCheck hands the file to the role's own binary: this command links no role.
func runCheck(ctx context.Context, in *invocation) error {
	var role string
	in.flags.StringVar(&role, "role", "", "gateway, sidecar, control, agent or collector; otherwise told from the file's keys")
	if err := in.parse(1, 1); err != nil {
		return err
	}
	file := in.args[0]
	if role == "" {
		var err error
		if role, err = roleOf(file); err != nil {
			return err
		}
	}
	words := map[string][]string{
		"gateway": {"gateway", "check"}, "sidecar": {"mesh", "sidecar", "check"}, "control": {"mesh", "control", "check"},
		"agent": {"agent", "check"}, "collector": {"collector", "check"},
	}[role]
	if words == nil {
		return fmt.Errorf("--role %q: there are gateway, sidecar, control, agent and collector", role)
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(filepath.Dir(executable), words[0]), append(words[1:], "--config", file)...).CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return errors.New(strings.TrimSpace(string(out)))
		}
		return err
	}
	fmt.Fprintf(in.stdout, "%s: a valid %s configuration\n", file, role)
	return nil
}

// runStore hands on to bin/collector: this command links no store.
func runStore(ctx context.Context, in *invocation) error {
	if err := in.parse(1, 2); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, filepath.Join(filepath.Dir(executable), "collector"),
		append(append([]string{"store"}, in.args...), "--data", filepath.Join(in.data, "collector"))...)
	var complaint strings.Builder
	command.Stdout, command.Stderr = in.stdout, &complaint
	if err := command.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return errors.New(strings.TrimPrefix(strings.TrimSpace(complaint.String()), "collector: "))
		}
		return err
	}
	return nil
}

// roleOf tells a configuration by a key that only one role has.
func roleOf(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var keys map[string]any
	if err := yaml.Unmarshal(raw, &keys); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	for _, mark := range []struct{ key, role string }{
		{"routes", "gateway"}, {"trusted_hops", "gateway"}, {"inbound", "sidecar"}, {"outbound", "sidecar"}, {"tcp_routes", "sidecar"},
		{"collectors", "control"}, {"panic_percent", "control"}, {"svid_ttl", "control"}, {"lease_ttl", "control"}, {"policies", "control"},
	} {
		if _, there := keys[mark.key]; there {
			return mark.role, nil
		}
	}
	return "", fmt.Errorf("%s: cannot tell which role this configures; say so with --role", file)
}

// runJoinToken asks control over its Unix socket, which admits only the user that runs it.
func runJoinToken(ctx context.Context, in *invocation) error {
	socket := in.flags.String("socket", "", "control's Unix socket; otherwise that of the running weft up")
	domain := in.flags.String("trust-domain", identity.TrustDomain, "SPIFFE trust domain")
	role := in.flags.String("as", string(identity.RoleProxy), "role of the identity: proxy, agent or collector")
	ttl := in.flags.Duration("ttl", 0, "how long the token may be used; 0 is control's default")
	if err := in.parse(1, 1); err != nil {
		return err
	}
	service, instance, found := strings.Cut(in.args[0], "/")
	id := identity.ID{TrustDomain: *domain, Role: identity.Role(*role), Service: service, Instance: instance}
	if err := id.Validate(); err != nil || !found {
		return fmt.Errorf("%q: want SERVICE/INSTANCE, e.g. payment/payment-4", in.args[0])
	}
	if *socket == "" {
		var err error
		if *socket, err = addressOf(ctx, in.data, "control", "socket"); err != nil {
			return err
		}
	}
	conn, err := grpc.NewClient("unix:"+*socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := wire.NewIdentityClient(conn).CreateJoinToken(ctx, &wire.JoinTokenRequest{SpiffeId: id.URI(), TtlSeconds: uint32(ttl.Seconds())})
	if err != nil {
		return err
	}
	fmt.Fprintln(in.stdout, answer.GetJoinToken())
	return nil
}

// addressOf is one address of one part of the running weft up.
func addressOf(ctx context.Context, data, part, name string) (string, error) {
	client, err := up.Connect(data)
	if err != nil {
		return "", err
	}
	status, err := client.Status(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range status.Parts {
		if p.Name == part {
			return p.Addresses[name], nil
		}
	}
	return "", fmt.Errorf("the running weft up has no %s", part)
}
