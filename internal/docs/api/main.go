// Command api prints the exported API of the package in a folder, one line for
// each name, field and method, in order. A line that disappears breaks callers;
// a new line does not.
//
//	go run ./internal/docs/api .
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: api FOLDER")
		os.Exit(2)
	}
	lines, err := api(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, line := range lines {
		fmt.Println(line)
	}
}

// api returns the lines for the package in dir. Files that need a newer version
// of Go than the module are left out.
func api(dir string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var l listing
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || strings.Contains(filepath.Base(name), "_go1") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			l.decl(decl)
		}
	}
	slices.Sort(l.lines)
	return slices.Compact(l.lines), nil
}

type listing struct{ lines []string }

func (l *listing) add(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *listing) decl(decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() {
			return
		}
		if d.Recv == nil {
			l.add("func %s%s%s", d.Name.Name, typeParams(d.Type.TypeParams), signature(d.Type))
		} else if recv := source(d.Recv.List[0].Type); ast.IsExported(strings.TrimLeft(recv, "*")) {
			l.add("method (%s) %s%s", recv, d.Name.Name, signature(d.Type))
		}
	case *ast.GenDecl:
		var typ ast.Expr // the type of the constants before
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				l.typ(s)
			case *ast.ValueSpec:
				if s.Type != nil || len(s.Values) > 0 {
					typ = s.Type
				}
				for _, name := range s.Names {
					if name.IsExported() {
						l.add("%s", strings.TrimSpace(d.Tok.String()+" "+name.Name+" "+source(typ)))
					}
				}
			}
		}
	}
}

func (l *listing) typ(s *ast.TypeSpec) {
	if !s.Name.IsExported() {
		return
	}
	name := s.Name.Name + typeParams(s.TypeParams)
	switch t := s.Type.(type) {
	case *ast.StructType:
		l.add("type %s struct", name)
		for _, field := range t.Fields.List {
			if len(field.Names) == 0 {
				if embedded := source(field.Type); ast.IsExported(strings.TrimLeft(embedded, "*")) {
					l.add("type %s struct, embedded %s", s.Name.Name, embedded)
				}
			}
			for _, f := range field.Names {
				if f.IsExported() {
					l.add("type %s struct, %s %s", s.Name.Name, f.Name, source(field.Type))
				}
			}
		}
	case *ast.InterfaceType: // in one line: if a method is added, callers' types no longer implement it
		l.add("type %s interface { %s }", name, strings.Join(methods(t), "; "))
	default:
		equals := ""
		if s.Assign.IsValid() {
			equals = "= "
		}
		l.add("type %s %s%s", name, equals, source(t))
	}
}

// methods returns the elements of an interface. All methods without an exported
// name are one element, as only this package can implement it.
func methods(t *ast.InterfaceType) (elements []string) {
	sealed := false
	for _, field := range t.Methods.List {
		switch {
		case len(field.Names) == 0:
			elements = append(elements, source(field.Type))
		case field.Names[0].IsExported():
			elements = append(elements, field.Names[0].Name+signature(field.Type.(*ast.FuncType)))
		default:
			sealed = true
		}
	}
	if sealed {
		elements = append(elements, "unexported methods")
	}
	return elements
}

func typeParams(list *ast.FieldList) string {
	if list == nil {
		return ""
	}
	var params []string
	for _, field := range list.List {
		for _, name := range field.Names {
			params = append(params, name.Name+" "+source(field.Type))
		}
	}
	return "[" + strings.Join(params, ", ") + "]"
}

func signature(t *ast.FuncType) string {
	return strings.TrimPrefix(source(&ast.FuncType{Params: t.Params, Results: t.Results}), "func")
}

// source returns a type as it is written, without the names of parameters and
// results, on which callers do not depend.
func source(node ast.Expr) string {
	if node == nil {
		return ""
	}
	ast.Inspect(node, func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncType); ok {
			unname(f.Params)
			unname(f.Results)
		}
		return true
	})
	var b bytes.Buffer
	if err := printer.Fprint(&b, token.NewFileSet(), node); err != nil {
		panic(err) // a parsed node can always be printed
	}
	return b.String()
}

func unname(list *ast.FieldList) {
	if list == nil {
		return
	}
	var fields []*ast.Field
	for _, field := range list.List {
		for range max(1, len(field.Names)) {
			fields = append(fields, &ast.Field{Type: field.Type})
		}
	}
	list.List = fields
}
