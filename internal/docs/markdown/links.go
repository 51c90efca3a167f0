package markdown

import (
	"regexp"
	"strings"
	"unicode"
)

var (
	inline = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
	html   = regexp.MustCompile(`<(?:img|a)[^>]* (?:src|href)="([^"]+)"`)
	code   = regexp.MustCompile("`[^`]*`")
)

// Links returns the targets of the links and images in the document, in order,
// except those in code.
func Links(text string) (links []string) {
	for _, line := range prose(text) {
		line = code.ReplaceAllString(line, "code")
		for _, expr := range []*regexp.Regexp{inline, html} {
			for _, match := range expr.FindAllStringSubmatch(line, -1) {
				links = append(links, match[1])
			}
		}
	}
	return links
}

// Anchors returns the fragments of the document's headings, as GitHub makes
// them.
func Anchors(text string) map[string]bool {
	anchors := make(map[string]bool)
	for _, line := range prose(text) {
		level := len(line) - len(strings.TrimLeft(line, "#"))
		if level == 0 || level > 6 || !strings.HasPrefix(line[level:], " ") {
			continue
		}
		anchors[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(line[level:]))] = true
	}
	return anchors
}

// prose returns the lines that are not in a block of code.
func prose(text string) (lines []string) {
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			inside = !inside
			continue
		}
		if !inside {
			lines = append(lines, line)
		}
	}
	return lines
}
