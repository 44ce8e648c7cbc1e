// Package config reads one role's YAML file: strict, with ${ENV} expansion, and with errors that name the key and line.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing wrong with a configuration. Key is the YAML path, e.g. "routes[2].service".
type Fault struct {
	Key     string
	Message string
}

func (f Fault) Error() string { return f.Key + ": " + f.Message }

// Faultf makes a Fault, for Validate methods.
func Faultf(key, format string, args ...any) error {
	return Fault{Key: key, Message: fmt.Sprintf(format, args...)}
}

// Validator is a configuration that judges itself; it joins every Fault it finds.
type Validator interface{ Validate() error }

// Load reads the file at path over the defaults already in into, then validates it. Errors read
// "FILE:LINE: KEY: what is wrong", one per line.
func Load(path string, into Validator) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return Parse(path, raw, into)
}

// Parse is Load on bytes; name stands for the file in errors.
func Parse(name string, raw []byte, into Validator) error {
	expanded, err := expand(name, string(raw))
	if err != nil {
		return err
	}
	var tree yaml.Node
	if err := yaml.Unmarshal([]byte(expanded), &tree); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(expanded)))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && len(tree.Content) > 0 {
		return decodeFault(name, err)
	}
	if err := into.Validate(); err != nil {
		return locate(name, &tree, err)
	}
	return nil
}

var unknownField = regexp.MustCompile(`line (\d+): field (\S+) not found in type \S+`)
var wrongType = regexp.MustCompile(`line (\d+): (.*)`)

// decodeFault turns the YAML library's messages into "FILE:LINE: KEY: …", one a line.
func decodeFault(name string, err error) error {
	var typeError *yaml.TypeError
	if !errors.As(err, &typeError) {
		return fmt.Errorf("%s: %w", name, err)
	}
	var faults []error
	for _, message := range typeError.Errors {
		if m := unknownField.FindStringSubmatch(message); m != nil {
			faults = append(faults, fmt.Errorf("%s:%s: %s: unknown key", name, m[1], m[2]))
		} else if m := wrongType.FindStringSubmatch(message); m != nil {
			faults = append(faults, fmt.Errorf("%s:%s: %s", name, m[1], m[2]))
		} else {
			faults = append(faults, fmt.Errorf("%s: %s", name, message))
		}
	}
	return errors.Join(faults...)
}

// locate adds the file and line of its key to every Fault in err.
func locate(name string, tree *yaml.Node, err error) error {
	var faults []error
	for _, fault := range flatten(err) {
		var f Fault
		if errors.As(fault, &f) {
			faults = append(faults, fmt.Errorf("%s:%d: %w", name, lineOf(tree, f.Key), fault))
		} else {
			faults = append(faults, fmt.Errorf("%s: %w", name, fault))
		}
	}
	return errors.Join(faults...)
}

func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

var step = regexp.MustCompile(`[^.\[\]]+`)

// lineOf is the line of the deepest part of key that the file has; a key left out is at its parent.
func lineOf(tree *yaml.Node, key string) int {
	node := tree
	if node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	line := max(node.Line, 1)
	for _, name := range step.FindAllString(key, -1) {
		next, at := child(node, name)
		if next == nil {
			break
		}
		node, line = next, at
	}
	return line
}

func child(node *yaml.Node, name string) (*yaml.Node, int) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == name {
				return node.Content[i+1], node.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		var index int
		if _, err := fmt.Sscanf(name, "%d", &index); err == nil && index >= 0 && index < len(node.Content) {
			return node.Content[index], node.Content[index].Line
		}
	}
	return nil, 0
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// expand replaces ${NAME} and ${NAME:-default} outside comments; an unset name without a default is an error.
func expand(name, text string) (string, error) {
	var faults []error
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		lines[i] = variable.ReplaceAllStringFunc(line, func(match string) string {
			part := variable.FindStringSubmatch(match)
			if value, set := os.LookupEnv(part[1]); set {
				return value
			}
			if part[2] == "" {
				faults = append(faults, fmt.Errorf("%s:%d: environment variable %s is not set", name, i+1, part[1]))
			}
			return part[3]
		})
	}
	return strings.Join(lines, "\n"), errors.Join(faults...)
}
