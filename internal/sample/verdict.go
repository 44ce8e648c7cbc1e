package sample

import "time"

// State is what was concluded about an endpoint.
type State uint8

const (
	Healthy State = iota
	Degraded
	Ejected
	Probing
)

func (s State) String() string {
	return [...]string{"healthy", "degraded", "ejected", "probing"}[s&3]
}

// MarshalText makes JSON carry the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Verdict is the fleet-wide judgement of one endpoint.
type Verdict struct {
	Endpoint Key
	Address  string
	State    State
	Weight   int // 0 to 100, the share of its normal traffic
	Version  uint64
	Enforced bool
	Reason   string // one sentence for a person
	Since    time.Time
	Evidence Evidence
}

// Evidence is what the verdict rests on.
type Evidence struct {
	Attempts           uint64        `json:"attempts"`
	Failures           uint64        `json:"failures"`
	ErrorRatio         float64       `json:"error_ratio"`
	BaselineErrorRatio float64       `json:"baseline_error_ratio"`
	P99                time.Duration `json:"p99_ns"`
	RestP99            time.Duration `json:"rest_p99_ns"`
	Window             time.Duration `json:"window_ns"`
	Reporters          []string      `json:"reporters"`
	Witnesses          []string      `json:"witnesses"`
	RequestIDs         []string      `json:"request_ids"`
	Test               string        `json:"test"`
}
