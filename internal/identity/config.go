package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"weft/internal/config"
)

// Config says how a role obtains its certificate. Socket, or Control with JoinToken, is required.
type Config struct {
	// TrustDomain is the SPIFFE trust domain; empty means weft.local.
	TrustDomain string `yaml:"trust_domain" mapstructure:"trust_domain"`
	// Socket is control's Unix socket: whoever has the same UID is believed.
	Socket string `yaml:"socket" mapstructure:"socket"`
	// Control is control's HOST:PORT, for a role on another node. Renewals go there too.
	Control string `yaml:"control" mapstructure:"control"`
	// JoinToken proves the first request to Control, once.
	JoinToken string `yaml:"join_token" mapstructure:"join_token"`
	// Data is a folder (0700) for key and certificate, so that a restart within the certificate's life needs no new
	// join token; empty keeps them in memory only.
	Data string `yaml:"data" mapstructure:"data"`
}

// Enabled reports whether any way to an identity is configured.
func (c Config) Enabled() bool { return c.Socket != "" || c.Control != "" }

// Validate joins all faults; key is the YAML path of this block.
func (c Config) Validate(key string) error {
	var faults []error
	if _, err := spiffeid.TrustDomainFromString(c.domain()); err != nil {
		faults = append(faults, config.Faultf(key+".trust_domain", "%v", err))
	}
	switch {
	case !c.Enabled():
		faults = append(faults, config.Faultf(key, "needs socket, or control with join_token"))
	case c.Socket != "" && c.JoinToken != "":
		faults = append(faults, config.Faultf(key+".join_token", "is not used with socket: leave one of them out"))
	case c.Socket == "" && c.JoinToken == "" && c.Data == "":
		faults = append(faults, config.Faultf(key+".join_token", "is required with control (get one from control's operator)"))
	}
	if c.Control != "" {
		if _, _, err := net.SplitHostPort(c.Control); err != nil {
			faults = append(faults, config.Faultf(key+".control", "want HOST:PORT: %v", err))
		}
	}
	if c.JoinToken != "" {
		if _, err := ParseJoinToken(c.JoinToken); err != nil {
			faults = append(faults, config.Faultf(key+".join_token", "%v", err))
		}
	}
	return errors.Join(faults...)
}

func (c Config) domain() string {
	if c.TrustDomain == "" {
		return TrustDomain
	}
	return c.TrustDomain
}

// JoinToken is "<secret>.<SHA-256 of control's root certificate in hex>".
type JoinToken struct {
	Secret string            // proves the holder to control
	Root   [sha256.Size]byte // proves control to the holder
}

// String is the form that people copy.
func (t JoinToken) String() string { return t.Secret + "." + hex.EncodeToString(t.Root[:]) }

var secretForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22,128}$`)

// ParseJoinToken reads a token. Errors never repeat the secret.
func ParseJoinToken(text string) (JoinToken, error) {
	secret, sum, ok := strings.Cut(text, ".")
	if !ok {
		return JoinToken{}, errors.New("join token: want <secret>.<hash of the root>")
	}
	if !secretForm.MatchString(secret) {
		return JoinToken{}, errors.New("join token: the secret is 22 to 128 of [A-Za-z0-9_-]")
	}
	token := JoinToken{Secret: secret}
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) != len(token.Root) {
		return JoinToken{}, fmt.Errorf("join token: the hash of the root is %d hex digits", 2*len(token.Root))
	}
	copy(token.Root[:], raw)
	return token, nil
}
