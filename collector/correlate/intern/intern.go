// Package intern makes texts that are seen again and again one text in memory.
package intern

import (
	"hash/maphash"
	"strings"
)

// Texts remembers the texts that came last, one for each value of a hash. It never grows: a text that has to make room
// is cloned again when it comes back. It is not safe for concurrent use.
type Texts struct {
	seed  maphash.Seed
	slots []string
}

const (
	slots = 4096
	// longest is the longest text that is remembered; longer ones are no names.
	longest = 256
)

// New remembers nothing yet.
func New() *Texts { return &Texts{maphash.MakeSeed(), make([]string, slots)} }

// Own is the text in memory of its own, shared with those before that are equal.
func (t *Texts) Own(view string) string {
	if len(view) == 0 {
		return ""
	}
	if len(view) > longest {
		return strings.Clone(view)
	}
	slot := &t.slots[maphash.String(t.seed, view)%slots]
	if *slot != view {
		*slot = strings.Clone(view)
	}
	return *slot
}
