// Package bell tells waiters that something has changed.
package bell

// Bell holds at most one signal: whoever waits looks for itself at what has changed.
type Bell chan struct{}

// New makes a silent bell.
func New() Bell { return make(Bell, 1) }

// Ring never blocks.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// Bells are rung together.
type Bells []Bell

// Ring rings each.
func (b Bells) Ring() {
	for _, one := range b {
		one.Ring()
	}
}
