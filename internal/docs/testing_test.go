//go:build suites

package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/docs/markdown"
	"github.com/twillgo/twill/internal/test/kit"
)

// The tests of docs/testing.md pass as they are.
func TestTestingPasses(t *testing.T) {
	if !kit.Long() {
		t.Skip("runs the compiler; set TWILL_LONG")
	}
	text, err := os.ReadFile("docs/testing.md")
	require.NoError(t, err)
	written, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	dir, err := filepath.Abs(".")
	require.NoError(t, err)
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	names := 0
	for _, b := range markdown.Blocks(string(text)) {
		if b.Lang != "go" || b.Mark != "test" {
			continue
		}
		names += strings.Count("\n"+b.Code, "\nfunc Test")
		file, err := b.File()
		require.NoError(t, err)
		name := fmt.Sprintf("block%d_test.go", len(overlay.Replace))
		require.NoError(t, os.WriteFile(filepath.Join(written, name), file, 0o600))
		overlay.Replace[filepath.Join(dir, "blocks", "testing", name)] = filepath.Join(written, name)
	}
	require.Len(t, overlay.Replace, 5)
	list, err := json.Marshal(overlay)
	require.NoError(t, err)
	file := filepath.Join(written, "overlay.json")
	require.NoError(t, os.WriteFile(file, list, 0o600))
	binary := filepath.Join(written, "testing.test")
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-o", binary, "-overlay="+file, "./blocks/testing").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(binary, "-test.v").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, names, strings.Count(string(out), "--- PASS"), "%s", out)
}
