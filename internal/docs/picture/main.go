// Command picture draws the pictures of docs from their descriptions.
//
//	go run ./internal/docs/picture
//
// For each docs/pictures/*.txt it writes an SVG beside it, which is committed.
// A description has one line for each element:
//
//	title TEXT                        what the picture says, for those who do not see it
//	box NAME COLUMN ROW STATE "TEXT" "TEXT"
//	passes FROM TO                    FROM will pass its result to TO
//	cancel FROM TO "TEXT"             a cancel goes from FROM to TO
//	outcome FROM TO "TEXT"            a result goes from FROM to TO
//
// STATE is pending, value or failed. Lines that begin with # are ignored.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run("docs/pictures"); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

// run draws the descriptions in folder.
func run(folder string) error {
	names, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no descriptions in %s", folder)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		p, err := parse(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(strings.TrimSuffix(name, ".txt")+".svg", []byte(p.svg()), 0o666); err != nil {
			return err
		}
	}
	return nil
}
