// Package intern makes texts that are seen again and again one text in memory.
package intern

import (
	"hash/maphash"
	"strings"
	"unicode/utf8"
)

// Texts remembers the texts that came last, four for each value of a hash. It never grows: a text that had to make room
// is cloned again when it comes back. It is not safe for concurrent use.
type Texts struct {
	seed maphash.Seed
	sets [sets]set
}

type set [4]string

const (
	sets = 1024
	// Longest is the longest name, in bytes.
	Longest = 200
)

// New remembers nothing yet.
func New() *Texts { return &Texts{seed: maphash.MakeSeed()} }

// Own is the name, cut to Longest, in memory of its own, which it shares with those before that are equal.
func (t *Texts) Own(view string) string {
	if len(view) == 0 {
		return ""
	}
	view = Cut(view)
	set := &t.sets[maphash.String(t.seed, view)%sets]
	for i := range set {
		if set[i] == view {
			return set[i]
		}
	}
	copy(set[1:], set[:])
	set[0] = strings.Clone(view)
	return set[0]
}

// Cut is the text's beginning, valid UTF-8 if the text is.
func Cut(text string) string {
	if len(text) <= Longest {
		return text
	}
	end := Longest
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
