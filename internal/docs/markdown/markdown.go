// Package markdown reads the parts of this repository's documents that are
// tested: their blocks of Go code, and their links.
package markdown

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// Block is a block of code between two fences.
type Block struct {
	Line int    // of its first line in the document, counted from 1
	Lang string // the first word after the fence
	Mark string // the rest of that line
	Code string
	With string // declarations that the code needs and a reader does not see
}

// Blocks returns the blocks of code of a document. A comment before a block,
// of the form
//
//	<!-- with
//	type User struct{ Name string }
//	-->
//
// declares what the block uses.
func Blocks(text string) []Block {
	var blocks []Block
	var open *Block
	with, commented := "", false
	for i, line := range strings.Split(text, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case open != nil && fence:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.Code += line + "\n"
		case fence:
			lang, mark, _ := strings.Cut(info, " ")
			open = &Block{Line: i + 2, Lang: lang, Mark: mark, With: with}
			with = ""
		case line == "<!-- with":
			commented = true
		case commented && line == "-->":
			commented = false
		case commented:
			with += line + "\n"
		}
	}
	return blocks
}

// imports are the packages that a block may use without an import declaration.
var imports = map[string]string{
	"ants":         "github.com/panjf2000/ants/v2",
	"atomic":       "sync/atomic",
	"conc":         "github.com/sourcegraph/conc",
	"context":      "context",
	"errgroup":     "golang.org/x/sync/errgroup",
	"errors":       "errors",
	"fmt":          "fmt",
	"http":         "net/http",
	"io":           "io",
	"iter":         "iter",
	"log":          "log",
	"maps":         "maps",
	"os":           "os",
	"pool":         "github.com/sourcegraph/conc/pool",
	"rand":         "math/rand/v2",
	"runtime":      "runtime",
	"signal":       "os/signal",
	"singleflight": "golang.org/x/sync/singleflight",
	"slices":       "slices",
	"slog":         "log/slog",
	"sort":         "sort",
	"strconv":      "strconv",
	"strings":      "strings",
	"sync":         "sync",
	"synctest":     "testing/synctest",
	"testing":      "testing",
	"time":         "time",
	"twill":        "github.com/twillgo/twill",
}

// File returns the block as a file that can be compiled: unchanged if it begins
// with a package clause, and otherwise with a package clause, the imports that
// it needs and, if it consists of statements, a function around them.
func (b Block) File() ([]byte, error) {
	if strings.HasPrefix(b.Code, "package ") {
		return []byte(b.Code), nil
	}
	body := b.With + b.Code
	file, err := parser.ParseFile(token.NewFileSet(), "", "package block\n"+body, 0)
	if err != nil {
		body = b.With + "func _() {\n" + b.Code + "}\n"
		if file, err = parser.ParseFile(token.NewFileSet(), "", "package block\n"+body, 0); err != nil {
			return nil, err
		}
	}
	head := "package block\n"
	for _, name := range unresolved(file) {
		if path, ok := imports[name]; ok {
			head += fmt.Sprintf("import %s %q\n", name, path)
		}
	}
	return format.Source([]byte(head + body))
}

// unresolved returns the names that the file uses and does not declare.
func unresolved(file *ast.File) (names []string) {
	for _, ident := range file.Unresolved {
		names = append(names, ident.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
