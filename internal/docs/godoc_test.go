//go:build suites

package docs_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Methods of the interfaces of package fmt, which every example that prints a
// future shows.
var withoutExample = []string{"Future.String", "Future.Format", "Future.GoString", "Future.LogValue"}

// Each exported type, each function and each method of a future has an example.
// For another type an example of a method or constructor is enough, and for a
// constructor that is named after its type any example of the type.
func TestExamples(t *testing.T) {
	pkg := packageDoc(t)
	called := make(map[string]bool) // in any example
	note := func(examples []*doc.Example) bool {
		for _, e := range examples {
			ast.Inspect(e.Code, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					called[s.Sel.Name] = true
				}
				return true
			})
		}
		return len(examples) > 0
	}
	var missing []string
	want := func(name string, has bool) {
		if !has && !slices.Contains(withoutExample, name) {
			missing = append(missing, name)
		}
	}

	note(pkg.Examples)
	for _, f := range pkg.Funcs {
		want(f.Name, note(f.Examples))
	}
	var constructors []string
	for _, typ := range pkg.Types {
		has := note(typ.Examples)
		for _, f := range typ.Funcs {
			own := note(f.Examples)
			has = has || own
			if f.Name == "New"+typ.Name {
				constructors = append(constructors, f.Name)
			} else {
				want(f.Name, own)
			}
		}
		for _, m := range typ.Methods {
			own := note(m.Examples)
			has = has || own
			if typ.Name == "Future" {
				want("Future."+m.Name, own)
			}
		}
		want(typ.Name, has)
	}
	for _, name := range constructors {
		want(name, called[name])
	}
	require.Empty(t, missing, "without an example")
}

// packageDoc returns the documentation that go doc shows of this package. It
// leaves out the files for Go 1.27, which Go 1.26 cannot parse and which
// contain only methods with the names of functions.
func packageDoc(t *testing.T) *doc.Package {
	t.Helper()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.Contains(name, "_go127") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/twillgo/twill")
	require.NoError(t, err)
	require.NotEmpty(t, pkg.Types)
	return pkg
}

// Every exported name is documented. Only the method Error, whose name is
// enough, need not be.
func TestDocumented(t *testing.T) {
	pkg := packageDoc(t)
	var missing []string
	want := func(name, text string) {
		if strings.TrimSpace(text) == "" {
			missing = append(missing, name)
		}
	}
	for _, f := range pkg.Funcs {
		want(f.Name, f.Doc)
	}
	values := slices.Concat(pkg.Vars, pkg.Consts)
	for _, typ := range pkg.Types {
		want(typ.Name, typ.Doc)
		values = slices.Concat(values, typ.Vars, typ.Consts)
		for _, f := range slices.Concat(typ.Funcs, typ.Methods) {
			if f.Name != "Error" {
				want(typ.Name+"."+f.Name, f.Doc)
			}
		}
	}
	for _, v := range values {
		for _, spec := range v.Decl.Specs {
			s := spec.(*ast.ValueSpec)
			text := s.Doc.Text() + s.Comment.Text()
			if len(v.Decl.Specs) == 1 {
				text += v.Doc
			}
			want(s.Names[0].Name, text)
		}
	}
	require.Empty(t, missing, "without documentation")
}
