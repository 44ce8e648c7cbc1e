package endpoints

import (
	"fmt"
	"net"
	"regexp"
	"strings"

	"weft/internal/config"
)

// StaticService is a service that the configuration names: plain endpoints without a sidecar.
type StaticService struct {
	Protocol  string           `yaml:"protocol"` // "http" (default) or "tcp"
	Endpoints []StaticEndpoint `yaml:"endpoints"`
}

// StaticEndpoint is one address.
type StaticEndpoint struct {
	Instance string `yaml:"instance"`
	Address  string `yaml:"address"` // HOST:PORT, or unix:///PATH
	Version  string `yaml:"version"`
	Zone     string `yaml:"zone"`
}

var word = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// ValidName says whether a service or instance name is one that identities allow.
func ValidName(name string) bool { return word.MatchString(name) }

// ValidateAddress reports an address that is neither HOST:PORT nor unix:///PATH.
func ValidateAddress(address string) error {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("%q: a Unix socket is unix:///absolute/path", address)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return fmt.Errorf("%q is neither HOST:PORT nor unix:///PATH", address)
	}
	return nil
}

// ValidateStatic reports what is wrong with the services under the YAML key.
func ValidateStatic(key string, services map[string]StaticService) []error {
	var faults []error
	for name, s := range services {
		at := key + "." + name
		if !ValidName(name) {
			faults = append(faults, config.Faultf(at, "a service name is 1 to 128 of [A-Za-z0-9._-]"))
		}
		if s.Protocol != "" && s.Protocol != HTTP && s.Protocol != TCP {
			faults = append(faults, config.Faultf(at+".protocol", "is %q, want http or tcp", s.Protocol))
		}
		seen := map[string]bool{}
		for i, e := range s.Endpoints {
			here := fmt.Sprintf("%s.endpoints[%d]", at, i)
			if !ValidName(e.Instance) || seen[e.Instance] {
				faults = append(faults, config.Faultf(here+".instance", "%q is empty, malformed or used twice", e.Instance))
			}
			seen[e.Instance] = true
			if err := ValidateAddress(e.Address); err != nil {
				faults = append(faults, config.Faultf(here+".address", "%v", err))
			}
		}
	}
	return faults
}

func (s StaticService) endpoints(name string) []Endpoint {
	protocol := s.Protocol
	if protocol == "" {
		protocol = HTTP
	}
	out := make([]Endpoint, 0, len(s.Endpoints))
	for _, e := range s.Endpoints {
		out = append(out, Endpoint{
			Service: name, Instance: e.Instance, Address: e.Address, Version: e.Version, Zone: e.Zone,
			Protocol: protocol, Weight: fullWeight, Source: SourceDefault,
		})
	}
	return out
}
