//go:build suites

package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/docs/markdown"
)

// The table of docs/programs.md has the numbers of lines of the programs.
func TestProgramsAreCounted(t *testing.T) {
	read, err := os.ReadFile("docs/programs.md")
	require.NoError(t, err)
	text := string(read)
	sections := regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatchIndex(text, -1)
	require.Len(t, sections, 8)
	for i, s := range sections {
		end := len(text)
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		title, lines := text[s[2]:s[3]], map[string]int{}
		for _, b := range markdown.Blocks(text[s[0]:end]) {
			if b.Lang == "go" {
				lines[b.Mark] += strings.Count(b.Code, "\n")
			}
		}
		row := regexp.MustCompile(`(?mi)^\| \[` + title + `\]\(#[a-z-]+\) \| (.+) \| (.+) \|$`).FindStringSubmatch(text)
		require.NotNil(t, row, "no row for %s", title)
		require.Equal(t, []string{fmt.Sprint(lines[""]), fmt.Sprint(lines["plain"])}, row[1:], title)
	}
}
