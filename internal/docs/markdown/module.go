package markdown

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CheckModule checks the documents of the module in the current folder, without
// those of nested modules: every block of Go is formatted and compiles with the
// module's requirements. It writes only to dir. Blocks marked "peers" are left
// out: they show other libraries and are compiled in benchmarks.
func CheckModule(dir string) error {
	var blocks []Block
	where := make(map[Block]string)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || path == ".":
			return err
		case entry.IsDir():
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, b := range Blocks(string(text)) {
			if b.Lang != "go" {
				continue
			}
			where[b] = fmt.Sprintf("%s:%d", filepath.ToSlash(path), b.Line)
			formatted, err := format.Source([]byte(b.Code))
			if err != nil {
				return fmt.Errorf("%s: %w", where[b], err)
			}
			if !bytes.Equal(formatted, []byte(b.Code)) {
				return errors.New(where[b] + " is not formatted")
			}
			if b.Mark != "peers" {
				blocks = append(blocks, b)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return Check(dir, blocks, func(b Block) string { return where[b] })
}
