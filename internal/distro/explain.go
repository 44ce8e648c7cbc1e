package distro

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"weft/internal/config"
)

// explain turns the Collector's nested, many-line errors into "FILE:LINE: KEY: what is wrong", one fault a line.
func explain(err error, documents []document) error {
	if err == nil {
		return nil
	}
	var lines []error
	for _, f := range faults(err, nil) {
		text := oneLine(f.message)
		if len(f.path) > 0 {
			text = config.Faultf(strings.Join(f.path, "."), "%s", text).Error()
		}
		place := locate(f.path, documents)
		if m := unset.FindStringSubmatch(text); m != nil {
			place = mention(m[1], documents)
		}
		lines = append(lines, errors.New(place+text))
	}
	return errors.Join(lines...)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// fault is one thing wrong, and where.
type fault struct {
	path    []string
	message string
}

var (
	ofComponent = regexp.MustCompile(`^error reading configuration for "([^"]+)"`)
	unknownType = regexp.MustCompile(`^unknown type: "[^"]*" for id: "([^"]+)" (\(valid values: .*\))$`)
	unknownKeys = regexp.MustCompile(`^has invalid keys: (.+)$`)
	validated   = regexp.MustCompile(`(?s)^([\w./-]+(?:::[\w./\[\]-]+)+): (.*)$`)
	key         = regexp.MustCompile(`^([a-z][a-z0-9_.]*): (.*)$`)
	unset       = regexp.MustCompile(`environment variable (\w+) is not set`)
	goType      = regexp.MustCompile(`^\w+\.\w*[A-Z]\w*$`)
)

// faults walks the tree of a configuration error: mapstructure names the field of every level, the Collector the
// component, and both join siblings.
func faults(err error, path []string) []fault {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []fault
		for _, e := range joined.Unwrap() {
			all = append(all, faults(e, path)...)
		}
		return all
	}
	if m := validated.FindStringSubmatch(err.Error()); m != nil {
		return named(append(path[:len(path):len(path)], strings.Split(m[1], "::")...), m[2])
	}
	if field, ok := err.(interface{ Name() string }); ok && !goType.MatchString(field.Name()) && field.Name() != "" {
		path = append(path[:len(path):len(path)], step.FindAllString(field.Name(), -1)...)
	}
	if m := ofComponent.FindStringSubmatch(err.Error()); m != nil {
		path = append(path[:len(path):len(path)], m[1])
	}
	if inner := errors.Unwrap(err); inner != nil {
		return faults(inner, path)
	}
	return leaf(err.Error(), path)
}

// named splits what one component's Validate said: a fault a line, each of which may begin with its key.
func named(path []string, message string) []fault {
	var all []fault
	for line := range strings.SplitSeq(message, "\n") {
		f := fault{path, line}
		if m := key.FindStringSubmatch(line); m != nil {
			f = fault{append(path[:len(path):len(path)], step.FindAllString(m[1], -1)...), m[2]}
		}
		all = append(all, f)
	}
	return all
}

func leaf(message string, path []string) []fault {
	if m := unset.FindStringSubmatch(message); m != nil {
		return []fault{{nil, m[0]}}
	}
	if m := unknownType.FindStringSubmatch(message); m != nil {
		return []fault{{append(path[:len(path):len(path)], m[1]), "unknown component " + m[2]}}
	}
	m := unknownKeys.FindStringSubmatch(message)
	if m == nil {
		return []fault{{path, message}}
	}
	var all []fault
	for key := range strings.SplitSeq(m[1], ", ") {
		all = append(all, fault{append(path[:len(path):len(path)], key), "unknown key"})
	}
	return all
}

// step is one element of a field's name: "operators[0].parse_from" has three.
var step = regexp.MustCompile(`[^.\[\]]+`)

// locate is "FILE:LINE: " of the document that has most of path, the later one of two; empty when none has any.
func locate(path []string, documents []document) string {
	deepest, place := 0, ""
	for _, doc := range documents {
		var tree yaml.Node
		if yaml.Unmarshal(doc.text, &tree) != nil || len(tree.Content) == 0 {
			continue
		}
		depth, line := follow(tree.Content[0], path)
		if depth > 0 && depth >= deepest {
			deepest, place = depth, fmt.Sprintf("%s:%d: ", doc.name, line)
		}
	}
	return place
}

// mention is "FILE:LINE: " of the first reference to an environment variable.
func mention(variable string, documents []document) string {
	reference := regexp.MustCompile(`\$\{(env:)?` + variable + `\}`)
	for _, doc := range documents {
		for i, line := range strings.Split(string(doc.text), "\n") {
			if reference.MatchString(line) {
				return fmt.Sprintf("%s:%d: ", doc.name, i+1)
			}
		}
	}
	return ""
}

// follow is how many elements of path the tree has, and the line of the last of them.
func follow(node *yaml.Node, path []string) (depth, line int) {
	for _, name := range path {
		var next *yaml.Node
		switch node.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				if node.Content[i].Value == name {
					next, line = node.Content[i+1], node.Content[i].Line
				}
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(node.Content) {
				next, line = node.Content[i], node.Content[i].Line
			}
		}
		if next == nil {
			return depth, line
		}
		node = next
		depth++
	}
	return depth, line
}
