// Package identity says who is who: SPIFFE identities, the certificates that prove them and who may call.
package identity

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// TrustDomain is the default SPIFFE trust domain.
const TrustDomain = "weft.local"

// Role is the first element of an identity's path: what the holder may do.
type Role string

const (
	RoleProxy     Role = "proxy"     // carries requests; may report samples and take xDS
	RoleAgent     Role = "agent"     // may relay samples that it stamped
	RoleCollector Role = "collector" // may send verdicts
	RoleControl   Role = "control"   // may ask for verdicts, and signs identities
	RoleOperator  Role = "operator"  // a person's command
)

// ID is spiffe://<trust domain>/<role>/<service>/<instance>.
type ID struct {
	TrustDomain string
	Role        Role
	Service     string
	Instance    string
}

var word = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// ParseID reads the URI form.
func ParseID(uri string) (ID, error) {
	id, err := spiffeid.FromString(uri)
	if err != nil {
		return ID{}, err
	}
	return FromSPIFFE(id)
}

// FromSPIFFE reads a SPIFFE ID whose path has Weft's three elements.
func FromSPIFFE(id spiffeid.ID) (ID, error) {
	part := strings.Split(strings.TrimPrefix(id.Path(), "/"), "/")
	if len(part) != 3 {
		return ID{}, fmt.Errorf("identity %q: want /role/service/instance", id)
	}
	out := ID{id.TrustDomain().Name(), Role(part[0]), part[1], part[2]}
	return out, out.Validate()
}

// Validate reports an unknown role or a name outside [A-Za-z0-9._-]{1,128}.
func (id ID) Validate() error {
	switch id.Role {
	case RoleProxy, RoleAgent, RoleCollector, RoleControl, RoleOperator:
	default:
		return fmt.Errorf("identity %q: unknown role %q", id.URI(), id.Role)
	}
	if !word.MatchString(id.Service) || !word.MatchString(id.Instance) {
		return fmt.Errorf("identity %q: service and instance are 1 to 128 of [A-Za-z0-9._-]", id.URI())
	}
	return nil
}

// URI is the spiffe:// form.
func (id ID) URI() string {
	return "spiffe://" + id.TrustDomain + "/" + string(id.Role) + "/" + id.Service + "/" + id.Instance
}

// Reporter is "service/instance", the name in samples, evidence and endpoint keys.
func (id ID) Reporter() string { return id.Service + "/" + id.Instance }
