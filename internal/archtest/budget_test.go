package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// What to stop at; aim for half.
const (
	maxFunction   = 80
	maxFile       = 500
	maxPackage    = 1500 // without tests and generated files
	maxMain       = 40
	maxParameters = 4 // a context does not count, nor does a *testing.T
)

var junkDrawers = []string{"util", "utils", "common", "helper", "helpers", "manager", "managers", "types", "misc", "base"}

func TestSizes(t *testing.T) {
	complaints := map[string]bool{}
	packages := map[string]int{}
	for _, s := range sources(t) {
		if s.generated {
			continue
		}
		if !s.test {
			packages[s.pkg] += s.lines
			if s.lines > maxFile {
				complaints[fmt.Sprintf("%s has %d lines, at most %d", s.name, s.lines, maxFile)] = true
			}
		}
		if strings.HasPrefix(s.name, "cmd/") && path.Base(s.name) == "main.go" && s.lines > maxMain {
			complaints[fmt.Sprintf("%s has %d lines, at most %d: the role belongs in its own package", s.name, s.lines, maxMain)] = true
		}
		if s.test {
			continue // a table of cases may be long
		}
		for _, declaration := range s.file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok {
				for _, fault := range function(s, f) {
					complaints[fault] = true
				}
			}
		}
	}
	for pkg, lines := range packages {
		if lines > maxPackage {
			complaints[fmt.Sprintf("%s has %d lines, at most %d", pkg, lines, maxPackage)] = true
		}
	}
	report(t, complaints)
}

// dictated are methods whose parameters the interface of a library fixes.
var dictated = map[string]bool{
	"collector/store/metricstore/metricstore.go: Append": true, // Prometheus' storage.AppenderV2
}

func function(s *source, f *ast.FuncDecl) []string {
	var faults []string
	lines := s.positions.Position(f.End()).Line - s.positions.Position(f.Pos()).Line + 1
	if lines > maxFunction {
		faults = append(faults, fmt.Sprintf("%s: %s has %d lines, at most %d", s.name, f.Name.Name, lines, maxFunction))
	}
	if n := parameters(f.Type); n > maxParameters && !dictated[s.name+": "+f.Name.Name] {
		faults = append(faults, fmt.Sprintf("%s: %s has %d parameters, at most %d", s.name, f.Name.Name, n, maxParameters))
	}
	if f.Recv == nil && f.Name.Name == "init" {
		faults = append(faults, fmt.Sprintf("%s has an init(): nothing may happen because a package is linked", s.name))
	}
	return faults
}

func parameters(f *ast.FuncType) int {
	n := 0
	for _, field := range f.Params.List {
		if selector, ok := field.Type.(*ast.SelectorExpr); ok && slices.Contains([]string{"Context", "TB"}, selector.Sel.Name) {
			continue
		}
		n += max(1, len(field.Names))
	}
	return n
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	complaints := map[string]bool{}
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if slices.Contains(junkDrawers, path.Base(s.pkg)) {
			complaints[s.pkg+": a package is a noun with one job, not a drawer"] = true
		}
		if !s.test && !documented[s.pkg] {
			documented[s.pkg] = s.file.Doc != nil
		}
	}
	for pkg, said := range documented {
		if !said {
			complaints[pkg+" has no package comment"] = true
		}
	}
	report(t, complaints)
}

// Endpoint is the one word for one address of a service.
func TestOneWordPerThing(t *testing.T) {
	complaints := map[string]bool{}
	for _, s := range sources(t) {
		if s.generated || s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && strings.Contains(strings.ToLower(spec.Name.Name), "upstream") {
				complaints[fmt.Sprintf("%s: type %s: the word is endpoint", s.name, spec.Name.Name)] = true
			}
			return true
		})
	}
	report(t, complaints)
}
