package story

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// sequence is an escape sequence: CSI, the strings OSC, DCS, SOS, PM and APC, or a short one. (ECMA-48, 5.3 to 5.6.)
var sequence = regexp.MustCompile("(?:\x1b\\[|\u009b)[0-?]*[ -/]*[@-~]?|" +
	"(?:\x1b[]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\x07\x1b\u009c]*(?:\x07|\x1b\\\\|\u009c)?|" +
	"\x1b[ -/]*[0-~]?")

// clean makes text that came with telemetry harmless and one line: no escape sequence, no control character, no mark
// that turns the direction of writing.
func clean(text string) string {
	if plain(text) {
		return text
	}
	text = sequence.ReplaceAllString(strings.ToValidUTF8(text, "�"), "")
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			out.WriteString(" ⏎ ")
		case r == '\t':
			out.WriteByte(' ')
		case !steers(r):
			out.WriteRune(r)
		}
	}
	return strings.TrimSpace(out.String())
}

func plain(text string) bool {
	for _, r := range text {
		if steers(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// steers reports whether a terminal does something with the character instead of showing it.
func steers(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f: // C0, DEL, C1
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // direction
		return true
	case r == 0x2028, r == 0x2029, r == 0xfeff:
		return true
	}
	return false
}

// cut shortens text to a number of columns.
func cut(text string, columns int) string {
	if columns < 1 {
		return ""
	}
	if utf8.RuneCountInString(text) <= columns {
		return text
	}
	runes := []rune(text)
	return string(runes[:columns-1]) + "…"
}
