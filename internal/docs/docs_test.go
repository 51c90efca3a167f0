//go:build suites

package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/docs/markdown"
	"github.com/twillgo/twill/internal/test/kit"
)

// The program in the README is complete and short, and prints what its comment
// says.
func TestReadmeProgram(t *testing.T) {
	_, rest, found := strings.Cut(documents(t)["README.md"], "```go\n")
	require.True(t, found)
	program, _, found := strings.Cut(rest, "```\n")
	require.True(t, found)
	_, body, _ := strings.Cut(program, "func main() {\n")
	require.LessOrEqual(t, strings.Count(body, "\n"), 15)

	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	out, err := exec.Command("go", "run", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "42 <nil>\n", string(out))
}

// The README is short; longer texts are in docs.
func TestReadmeIsShort(t *testing.T) {
	require.LessOrEqual(t, strings.Count(documents(t)["README.md"], "\n"), 150)
}

// documents returns the texts of the repository by their paths.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		texts[filepath.ToSlash(path)] = string(text)
		return err
	}))
	require.NotEmpty(t, texts["README.md"])
	return texts
}

// Each block of Go in each document of the root module is formatted and
// compiles. Nested modules test their own documents.
func TestDocumentsCompile(t *testing.T) {
	if !kit.Long() {
		t.Skip("runs the compiler; set TWILL_LONG")
	}
	require.NoError(t, markdown.CheckModule(t.TempDir()))
}

// The target of each link to a file or heading of the repository exists.
func TestDocumentsLink(t *testing.T) {
	texts := documents(t)
	for path, text := range texts {
		for _, link := range markdown.Links(text) {
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			target, anchor, _ := strings.Cut(link, "#")
			file := path
			if target != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(path), target))
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link to %s: %v", path, link, err)
				continue
			}
			if anchor != "" && !markdown.Anchors(texts[file])[anchor] {
				t.Errorf("%s: link to %s: no such heading", path, link)
			}
		}
	}
}

var testName = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9]*\b`)

// Each test that a document names exists.
func TestDocumentsNameTests(t *testing.T) {
	var code strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	}))
	for _, text := range documents(t) {
		for _, b := range markdown.Blocks(text) { // a document may contain its own tests
			code.WriteString(b.Code)
		}
	}
	for path, text := range documents(t) {
		for _, name := range testName.FindAllString(text, -1) {
			// A name in a command may be the beginning of several names.
			if !strings.Contains(code.String(), "func "+name) {
				t.Errorf("%s: there is no %s", path, name)
			}
		}
	}
}
