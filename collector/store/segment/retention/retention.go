// Package retention says how long segments stay.
package retention

import (
	"errors"
	"time"

	"weft/internal/config"
)

// least is as much as a limit in bytes must leave.
const least = 8 << 20

// Policy is how long data stays.
type Policy struct {
	Age   time.Duration `yaml:"age" mapstructure:"age"`     // since receipt; 0 = for ever
	Bytes int64         `yaml:"bytes" mapstructure:"bytes"` // of all files; 0 = no limit
	// Tail is what becomes of errors, slow requests, and requests that an alert or a verdict names, when the bulk goes.
	Tail Tail `yaml:"tail" mapstructure:"tail"`
}

// Tail is how long what is worth more than the bulk stays.
type Tail struct {
	Age   time.Duration `yaml:"age" mapstructure:"age"`     // since receipt; 0 = no tail
	Bytes int64         `yaml:"bytes" mapstructure:"bytes"` // of all tail segments; 0 = no limit of their own
	Slow  time.Duration `yaml:"slow" mapstructure:"slow"`   // a request that took as long is kept; 0 = none for that
}

// Validate names the faulty key under prefix.
func (r Policy) Validate(prefix string) error {
	var faults []error
	fault := func(bad bool, key, format string, args ...any) {
		if bad {
			faults = append(faults, config.Faultf(prefix+key, format, args...))
		}
	}
	fault(r.Age < 0, "age", "must not be negative")
	fault(r.Bytes < 0 || r.Bytes > 0 && r.Bytes < least, "bytes", "must be 0 (no limit) or at least %d MiB", least>>20)
	fault(r.Tail.Age < 0, "tail.age", "must not be negative")
	fault(r.Tail.Age > 0 && r.Age > 0 && r.Tail.Age < r.Age, "tail.age", "must be 0 (no tail) or at least age")
	fault(r.Tail.Bytes < 0, "tail.bytes", "must not be negative")
	fault(r.Tail.Slow < 0, "tail.slow", "must not be negative")
	return errors.Join(faults...)
}
