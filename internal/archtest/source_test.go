package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "weft"

// source is one Go file of ours, generated ones included.
type source struct {
	name      string // from the module's root
	pkg       string // folder, from the module's root
	test      bool
	generated bool
	lines     int
	file      *ast.File
	positions *token.FileSet
}

// imports are the packages of this module that the file imports, from its root, and the others in full.
func (s *source) imports() (ours, others []string) {
	for _, spec := range s.file.Imports {
		name := strings.Trim(spec.Path.Value, `"`)
		if rest, ok := strings.CutPrefix(name, module+"/"); ok {
			ours = append(ours, rest)
		} else {
			others = append(others, name)
		}
	}
	return ours, others
}

// sources reads the whole module.
func sources(t *testing.T) []*source {
	t.Helper()
	root := filepath.Join("..", "..")
	var out []*source
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); name != "." && (strings.HasPrefix(base, ".") || slices.Contains([]string{"node_modules", "testdata", "data", "bin"}, base)) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			s, err := read(root, filepath.ToSlash(name))
			if err != nil {
				return err
			}
			out = append(out, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(root, name string) (*source, error) {
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil, err
	}
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, raw, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{
		name: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(file),
		lines: strings.Count(string(raw), "\n"), file: file, positions: positions,
	}, nil
}

// within says whether pkg is folder or lies in it.
func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }
