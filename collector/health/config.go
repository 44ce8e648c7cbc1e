package health

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"weft/internal/config"
)

// Trust says how far a verdict on a service may go.
type Trust string

const (
	TrustObserve Trust = "observe" // judge and record, move nothing
	TrustWeight  Trust = "weight"  // lower weights, never eject
	TrustEject   Trust = "eject"   // the whole ladder
)

// Config is what an operator may choose; DefaultConfig is what Weft ships.
type Config struct {
	// Trust per service; a service not named here has DefaultTrust.
	Trust        map[string]Trust
	DefaultTrust Trust
	// Percent of a service that may be ejected: max(1, ⌊n·Percent/100⌋) of n endpoints, never the last one.
	Percent int
	// BetweenFalseAlarms is the mean time between two false alarms of one service; the sequential test's threshold
	// follows from it (see sequential).
	BetweenFalseAlarms time.Duration
	// Settle is how long a new engine listens before it judges.
	Settle time.Duration
	// Backoff is the first wait between an ejection and the probe; it doubles with every probe that fails, to MaxBackoff.
	Backoff    time.Duration
	MaxBackoff time.Duration
	// Expiry is how long a verdict may stand without one attempt to support it, and how long a vanished endpoint is
	// remembered.
	Expiry time.Duration
}

// DefaultConfig is the ladder's top step, half of a service, and one false alarm per service and year.
func DefaultConfig() Config {
	return Config{
		DefaultTrust: TrustEject, Percent: 50, BetweenFalseAlarms: 365 * 24 * time.Hour, Settle: 5 * time.Second,
		Backoff: 5 * time.Second, MaxBackoff: 30 * time.Second, Expiry: 10 * time.Minute,
	}
}

// Validate names every key at fault below prefix ("" or "name.").
func (c Config) Validate(prefix string) []error {
	var faults []error
	check := func(ok bool, key, want string, got any) {
		if !ok {
			faults = append(faults, config.Faultf(prefix+key, "%s, not %v", want, got))
		}
	}
	check(c.DefaultTrust.valid(), "default_trust", "is observe, weight or eject", c.DefaultTrust)
	for _, service := range slices.Sorted(maps.Keys(c.Trust)) {
		check(c.Trust[service].valid(), fmt.Sprintf("trust.%s", service), "is observe, weight or eject", c.Trust[service])
	}
	check(c.Percent >= 0 && c.Percent <= 100, "percent", "is 0 to 100", c.Percent)
	check(c.BetweenFalseAlarms >= time.Minute, "between_false_alarms", "is at least 1m", c.BetweenFalseAlarms)
	check(c.Settle >= 0, "settle", "is not negative", c.Settle)
	check(c.Backoff >= time.Second && c.MaxBackoff >= c.Backoff, "backoff", "is at least 1s and at most max_backoff", c.Backoff)
	check(c.Expiry >= time.Minute, "expiry", "is at least 1m", c.Expiry)
	return faults
}

func (t Trust) valid() bool { return t == TrustObserve || t == TrustWeight || t == TrustEject }

func (c Config) trust(service string) Trust {
	if t, named := c.Trust[service]; named {
		return t
	}
	return c.DefaultTrust
}

// ejectable is how many of n endpoints may be ejected at once; one always stays.
func (c Config) ejectable(n int) int {
	return max(0, min(max(1, n*c.Percent/100), n-1))
}
