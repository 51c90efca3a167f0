package benchmarks_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/markdown"
)

// The blocks of docs/moving.md that show other libraries compile with them.
func TestMovingCompiles(t *testing.T) {
	text, err := os.ReadFile("../docs/moving.md")
	require.NoError(t, err)
	var blocks []markdown.Block
	for _, b := range markdown.Blocks(string(text)) {
		if b.Lang == "go" && b.Mark == "peers" {
			blocks = append(blocks, b)
		}
	}
	require.NoError(t, markdown.Check(t.TempDir(), blocks, func(b markdown.Block) string {
		return fmt.Sprint("docs/moving.md:", b.Line)
	}))
}
