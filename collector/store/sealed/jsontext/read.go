package jsontext

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrSyntax says that text is not what this package writes.
var ErrSyntax = errors.New("malformed JSON")

// maxDepth is above what a walk lets through (32), with what the values of events and links stand in.
const maxDepth = 64

// Map reads a map, in memory of its own.
func Map(text string) (map[string]any, error) {
	v, err := Value(text)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: not a map", ErrSyntax)
	}
	return m, nil
}

// Value reads any value, in memory of its own.
func Value(text string) (any, error) {
	p := parser{text: text}
	v, err := p.value(0)
	if p.space(); err == nil && p.pos < len(text) {
		err = p.fault("more text")
	}
	return v, err
}

type parser struct {
	text string
	pos  int
}

func (p *parser) fault(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, what, p.pos)
}

func (p *parser) space() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\n' || p.text[p.pos] == '\t' || p.text[p.pos] == '\r') {
		p.pos++
	}
}

// take passes over a byte if it is the next one.
func (p *parser) take(b byte) bool {
	p.space()
	if p.pos < len(p.text) && p.text[p.pos] == b {
		p.pos++
		return true
	}
	return false
}

func (p *parser) value(depth int) (any, error) {
	if p.space(); p.pos >= len(p.text) || depth > maxDepth {
		return nil, p.fault("no value")
	}
	switch p.text[p.pos] {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		return p.string()
	}
	end := p.pos
	for end < len(p.text) && !strings.ContainsRune(" \n\t\r,]}", rune(p.text[end])) {
		end++
	}
	word := p.text[p.pos:end]
	p.pos = end
	switch word {
	case "null":
		return nil, nil
	case "true", "false":
		return word == "true", nil
	}
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return nil, p.fault("no number")
	}
	return f, nil
}

func (p *parser) array(depth int) (any, error) {
	p.pos++
	out := []any{}
	if p.take(']') {
		return out, nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if p.take(']') {
			return out, nil
		}
		if !p.take(',') {
			return nil, p.fault("no comma")
		}
	}
}

func (p *parser) object(depth int) (any, error) {
	p.pos++
	out := map[string]any{}
	if p.take('}') {
		return out, nil
	}
	for {
		if p.space(); p.pos >= len(p.text) || p.text[p.pos] != '"' {
			return nil, p.fault("no key")
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if !p.take(':') {
			return nil, p.fault("no colon")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if special := strings.HasPrefix(key, "$"); special && !strings.HasPrefix(key, "$$") {
			if !p.take('}') {
				return nil, p.fault("no end")
			}
			return p.special(key, v)
		} else if special {
			key = key[1:]
		}
		out[key] = v
		if p.take('}') {
			return out, nil
		}
		if !p.take(',') {
			return nil, p.fault("no comma")
		}
	}
}

func (p *parser) special(key string, v any) (any, error) {
	text, _ := v.(string)
	switch key {
	case "$bytes":
		raw, err := base64.StdEncoding.DecodeString(text)
		if err == nil {
			return raw, nil
		}
	case "$double":
		f, err := strconv.ParseFloat(text, 64)
		if err == nil {
			return f, nil
		}
	}
	return nil, p.fault(key)
}

func (p *parser) string() (string, error) {
	p.pos++
	end := strings.IndexAny(p.text[p.pos:], `"\`)
	if end >= 0 && p.text[p.pos+end] == '"' { // nothing to unescape
		text := strings.Clone(p.text[p.pos : p.pos+end])
		p.pos += end + 1
		return text, nil
	}
	var out []byte
	for p.pos < len(p.text) {
		b := p.text[p.pos]
		p.pos++
		switch b {
		case '"':
			return string(out), nil
		case '\\':
			var err error
			if out, err = p.escape(out); err != nil {
				return "", err
			}
		default:
			out = append(out, b)
		}
	}
	return "", p.fault("no end of text")
}

func (p *parser) escape(out []byte) ([]byte, error) {
	if p.pos >= len(p.text) {
		return nil, p.fault("no escape")
	}
	b := p.text[p.pos]
	p.pos++
	if i := strings.IndexByte(`"\/bfnrt`, b); i >= 0 {
		return append(out, "\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := p.hex()
	if b != 'u' || !ok {
		return nil, p.fault("no escape")
	}
	if utf16.IsSurrogate(r) && strings.HasPrefix(p.text[p.pos:], `\u`) {
		p.pos += 2
		low, ok := p.hex()
		if !ok {
			return nil, p.fault("no escape")
		}
		r = utf16.DecodeRune(r, low)
	}
	return utf8.AppendRune(out, r), nil
}

// hex reads four hex digits.
func (p *parser) hex() (rune, bool) {
	if len(p.text)-p.pos < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(p.text[p.pos:p.pos+4], 16, 16)
	p.pos += 4
	return rune(n), err == nil
}
