//go:build suites

package markdown_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/docs/markdown"
)

const document = "# A first: `title`, of it\n" +
	"See [this](docs/this.md#part), ![that](that.svg) and <a href=\"there\">there</a>, not `[code](code)`.\n" +
	"```go\n# no heading [no link](x)\n```\n" +
	"## Next_one\n" +
	"<!-- with\ntype T int\n-->\n\n" +
	"```go peers\nvar x T\n```\n" +
	"#no heading\n" +
	"```go\nreturn\n```\n"

func TestBlocks(t *testing.T) {
	require.Equal(t, []markdown.Block{
		{Line: 4, Lang: "go", Code: "# no heading [no link](x)\n"},
		{Line: 12, Lang: "go", Mark: "peers", Code: "var x T\n", With: "type T int\n"},
		{Line: 16, Lang: "go", Code: "return\n"},
	}, markdown.Blocks(document))
}

func TestLinks(t *testing.T) {
	require.Equal(t, []string{"docs/this.md#part", "that.svg", "there"}, markdown.Links(document))
}

func TestAnchors(t *testing.T) {
	require.Equal(t, map[string]bool{"a-first-title-of-it": true, "next_one": true}, markdown.Anchors(document))
}

func TestFile(t *testing.T) {
	for _, c := range []struct{ name, code, want string }{
		{"a whole file", "package main\n", "package main\n"},
		{"declarations", "func f() error { return io.EOF }\n", "package block\n\nimport io \"io\"\n\nfunc f() error { return io.EOF }\n"},
		{"statements", "fmt.Println(time.Now())\n", "package block\n\nimport fmt \"fmt\"\nimport time \"time\"\n\nfunc _() {\n\tfmt.Println(time.Now())\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, err := markdown.Block{Code: c.code}.File()
			require.NoError(t, err)
			require.Equal(t, c.want, string(file))
		})
	}
	_, err := markdown.Block{Code: "func {"}.File()
	require.Error(t, err)
}
