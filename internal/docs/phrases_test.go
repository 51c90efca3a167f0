//go:build suites

package docs_test

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const (
	commentWidth  = 80 // characters of a line with a comment
	markdownWidth = 140
)

// phrases are patterns that plain technical English does not need, with what to
// write instead.
var phrases = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\b(whoever|whomever|nobody|somebody|everybody)\b`), `"a caller that", "no goroutine"`},
	{regexp.MustCompile(`(?i)\b(those|these|the one|one|the first|the last|all|others|two) who\b`), `"callers that"`},
	{regexp.MustCompile(`(^|[.;:] )Who [^?.]*\.`), `"A caller that"`},
	{regexp.MustCompile(`\b(future|goroutine|caller|call|job|queue|function|handler|getter|reader|waiter|listener|loser|joiner|client|browser)s?,? who\b`), `"that"`},
	{regexp.MustCompile(`(?i)\balso (if|when|where|one|those|with|after|while|of|by|from|in|as|at|even|without)\b`), `"even if", "including"`},
	{regexp.MustCompile(`(?i)\b(is|are|was|were|be|been|being|get|gets|has|have|had|when|not|to) told\b`), `"receives", "is called with"`},
	{regexp.MustCompile(`(?i)\b(hears?|heard)\b`), `"receives"`},
	{regexp.MustCompile(`(?i)\b(holds?|held) up (nothing|no|its|their|those|that|what)\b`), `"blocks", "delays"`},
	{regexp.MustCompile(`(?i)\b(lets?|letting) go\b`), `"releases", "drops"`},
	{regexp.MustCompile(`(?i)\b(lets?|letting) in\b`), `"admits"`},
	{regexp.MustCompile(`(?i)\btakes? down\b`), `"cancels"`},
	{regexp.MustCompile(`(?i)\b(hangs?|hung) (on|from) (a|the|it|which|that|its)\b`), `"depends on", "waits for", "listens to"`},
	{regexp.MustCompile(`(?i)\bfor ever\b`), `"forever"`},
	{regexp.MustCompile(`(?i)\bany ?more\b`), `"no longer"`},
	{regexp.MustCompile(`(?i)\bat the latest\b`), `"no later than"`},
	{regexp.MustCompile(`(?i)\bmeanwhile\b`), `"concurrently", "in the meantime"`},
	{regexp.MustCompile(`\b([Cc]ancell(ed|ing|ers?|able))\b`), `"canceled", "canceling", "canceler"; but "cancellation"`},
	{regexp.MustCompile(`(?i)\bthe ones? that\b`), `the noun`},
	{regexp.MustCompile(`(?i)\bthose (that|of|which|whose|with|underway|pending)\b[^.]*\bthose (that|of|which|whose|with)\b`), `the noun`},
	{regexp.MustCompile(`(?i)\bit mirrors\b`), `"is the equivalent of Twisted's"`},
	{regexp.MustCompile(`(?i)\bmirrors\b`), `"is the equivalent of"`},
	{regexp.MustCompile(`(?i)\bthe (making|putting|watching|getting|telling|following|taking|handing) of\b`), `the verb`},
	{regexp.MustCompile(`(?i)\bby way of\b`), `"through"`},
	{regexp.MustCompile(`(?i)\bof (its|their) own make\b`), `a plain sentence`},
	{regexp.MustCompile(`(?i)\bwhat becomes? of\b`), `"the outcome of"`},
	{regexp.MustCompile(`(?i)\bgoes off\b`), `"fires"`},
	{regexp.MustCompile(`(?i)\b(so it does|as many as may be|mostly as|as is mostly so|come by|comes by|came by|is no incident|0 is none|give back|gives back|given back|gave back)\b`), `a plain sentence`},
}

// Comments, documents and errors are plain English: they have none of the
// phrases above. Comments are wrapped at 80 columns, and Markdown at 140.
func TestProse(t *testing.T) {
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() {
			if strings.HasPrefix(name, ".") && name != "." && name != ".github" {
				return fs.SkipDir
			}
			return nil
		}
		var check func(string) []string
		switch filepath.Ext(path) {
		case ".go":
			check = checkGo
		case ".md":
			check = checkMarkdown
		default:
			return nil
		}
		path = filepath.ToSlash(path)
		if path == "internal/docs/phrases_test.go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, f := range check(strings.ReplaceAll(string(text), "\r\n", "\n")) {
			t.Errorf("%s:%s", path, f)
		}
		return nil
	}))
}

func TestProseFindsWhatItShould(t *testing.T) {
	long := strings.Repeat("word ", 20)
	for text, want := range map[string][]string{
		"package p // fine": nil,
		"package p\n\n// It is fine, it is fine, it is fine, it is fine, it is fine, and\n// it is fine, though nobody asks.\nvar x int": {"3: nobody"},
		"package p\n\n// It is fine, it is fine, it is fine, it is fine, and it lasts for\n// ever.\nvar x int":                          {"3: for ever"},
		"package p\n\nvar x int // was cancelled":                                     {"3: cancelled"},
		"package p\n\nvar err = errors.New(\"twill: nobody waits\")":                  {"3: nobody"},
		"package p\n\nvar text = \"nobody waits\"":                                    nil,
		"package p\n\n// " + long + "\nvar x int":                                     {"3: 102 columns"},
		"package p\n\n// A short line\n// is not wrapped.\nvar x int":                 {"3: not wrapped"},
		"package p\n\n// A short line.\n//\n// Another.\nvar x int":                   nil,
		"package p\n\nfunc f() {\n\t// Output:\n\t// nobody\n\t//\n\t// a\n\t// b\n}": nil,
		"package p\n\n// A list:\n//   - one\n//   - two\nvar x int":                  nil,
		"package p\n\n// Code:\n//\n//\tnobody(1) // " + long + "\nvar x int":         nil,
	} {
		findings := checkGo(text)
		require.Len(t, findings, len(want), "%s: %q", text, findings)
		for i := range want {
			require.True(t, strings.HasPrefix(findings[i], want[i]), findings[i])
		}
	}
	for text, want := range map[string][]string{
		"# Nobody\n\nThis is `nobody`.\n":              {"1: Nobody"},
		"| nobody | " + long + long + " |\n":           {"1: nobody"},
		"```\nnobody\n```\n\n    nobody\n":             nil,
		strings.Repeat("word ", 30) + "\n":             {"1: 149 columns"},
		"A short line\nis not wrapped.\n":              {"1: not wrapped"},
		"- one\n- two\n\n1. three\n2. four\n":          nil,
		"[a link](" + strings.Repeat("x", 150) + ")\n": nil,
	} {
		findings := checkMarkdown(text)
		require.Len(t, findings, len(want), "%s: %q", text, findings)
		for i := range want {
			require.True(t, strings.HasPrefix(findings[i], want[i]), findings[i])
		}
	}
}

// paragraph is prose that belongs together, and the line where it begins.
type paragraph struct {
	line  int
	lines []string // without the marks of comments
}

// check returns the findings in p as "line: what".
func (p paragraph) check() (findings []string) {
	text := strings.Join(strings.Fields(code.ReplaceAllString(strings.Join(p.lines, " "), "")), " ")
	for _, phrase := range phrases {
		for _, found := range phrase.pattern.FindAllString(text, -1) {
			findings = append(findings, fmt.Sprintf("%d: %s: write %s", p.line, strings.TrimLeft(found, ".;: "), phrase.instead))
		}
	}
	return findings
}

var code = regexp.MustCompile("`[^`]*`")

// checkWidth returns the findings in lines that are wrapped at width, each with
// as many columns before it.
func (p paragraph) checkWidth(before, width int) (findings []string) {
	for i, line := range p.lines {
		columns := before + utf8.RuneCountInString(strings.TrimRight(line, " "))
		words := strings.Fields(line)
		switch {
		case columns > width && len(words) > 1 && before+utf8.RuneCountInString(longest(words)) <= width:
			findings = append(findings, fmt.Sprintf("%d: %d columns, of at most %d", p.line+i, columns, width))
		case i+1 < len(p.lines):
			next := strings.Fields(p.lines[i+1])
			// A line that is shorter by a quarter was not wrapped at this width.
			if len(next) > 0 && columns+1+utf8.RuneCountInString(next[0]) < width*3/4 {
				findings = append(findings, fmt.Sprintf("%d: not wrapped at %d columns, %d fit with the next word", p.line+i, width, columns+1+utf8.RuneCountInString(next[0])))
			}
		}
	}
	return findings
}

func longest(words []string) (word string) {
	for _, w := range words {
		if len(w) > len(word) {
			word = w
		}
	}
	return word
}

// checkGo returns the findings in the comments and error strings of a Go file.
func checkGo(text string) (findings []string) {
	var s scanner.Scanner
	fset := token.NewFileSet()
	file := fset.AddFile("", -1, len(text))
	s.Init(file, []byte(text), nil, scanner.ScanComments)
	lines := strings.Split(text, "\n")

	var p paragraph // of a comment
	var columns int // before its text
	var wrapped bool
	output := -1 // of an example: its last line
	flush := func() {
		findings = append(findings, p.check()...)
		if wrapped {
			findings = append(findings, p.checkWidth(columns, commentWidth)...)
		}
		p = paragraph{}
	}
	var before [2]string // the tokens
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			break
		}
		at := file.Position(pos)
		switch {
		case tok == token.COMMENT:
			indent := lines[at.Line-1][:at.Column-1]
			alone := strings.TrimSpace(indent) == ""
			body, isLine := strings.CutPrefix(lit, "//")
			if strings.HasPrefix(body, " Output:") || strings.HasPrefix(body, " Unordered output:") || output == at.Line-1 {
				output = at.Line // and the lines after it
				continue
			}
			continues := isLine && len(p.lines) > 0 && at.Line == p.line+len(p.lines)
			prose := isLine && strings.HasPrefix(body, " ") && !strings.HasPrefix(body, "  ") && !strings.HasPrefix(body, " #")
			plain := alone && prose
			if !continues || !plain || !wrapped {
				flush()
			}
			switch {
			case !isLine, strings.HasPrefix(body, "\t"), !strings.HasPrefix(body, " "): // code, and directives
			default:
				if len(p.lines) == 0 {
					p.line, wrapped = at.Line, plain
					columns = len(indent) + len("// ")
				}
				p.lines = append(p.lines, strings.TrimPrefix(body, " "))
			}
		case tok == token.STRING && before[1] == "(" && slices.Contains([]string{"New", "Errorf", "panic"}, before[0]):
			flush()
			if message, err := strconv.Unquote(lit); err == nil {
				findings = append(findings, paragraph{at.Line, []string{message}}.check()...)
			}
		}
		name := tok.String()
		if tok == token.IDENT {
			name = lit
		}
		if tok != token.COMMENT && tok != token.SEMICOLON {
			before = [2]string{before[1], name}
		}
	}
	flush()
	return findings
}

var (
	listItem = regexp.MustCompile(`^\s*([-*]|\d+\.) `)
	notProse = regexp.MustCompile(`^(\||<|#|\[[^\]]*\]: )`)
)

// checkMarkdown returns the findings in a document, other than in its code.
func checkMarkdown(text string) (findings []string) {
	var p paragraph
	flush := func() {
		findings = append(findings, p.check()...)
		findings = append(findings, p.checkWidth(0, markdownWidth)...)
		p = paragraph{}
	}
	fenced, hidden := false, false
	for i, line := range strings.Split(text, "\n") {
		if hidden || line == "<!-- with" { // code that a reader does not see
			flush()
			hidden = line != "-->"
			continue
		}
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		item := listItem.MatchString(line)
		switch {
		case fence || fenced:
			flush()
			fenced = fence != fenced
		case strings.TrimSpace(line) == "":
			flush()
		case len(p.lines) == 0 && strings.HasPrefix(line, "    ") && !item: // code
		case notProse.MatchString(line):
			flush()
			findings = append(findings, paragraph{i + 1, []string{line}}.check()...)
		default:
			if item || len(p.lines) == 0 {
				flush()
				p.line = i + 1
			}
			p.lines = append(p.lines, line)
		}
	}
	flush()
	return findings
}
