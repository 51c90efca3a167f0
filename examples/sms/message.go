package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxText     = 160 // code points
	maxPriority = 1000
	minDigits   = 8
	maxDigits   = 15 // the limit of E.164
)

// Message is a text message that was accepted. It is the argument of a job in
// the queue and does not change.
type Message struct {
	ID     string `json:"id"`
	Number int64  `json:"number"` // counts the accepted messages
	To     string `json:"to"`
	Text   string `json:"text"`
}

var validID = regexp.MustCompile(`^[a-z0-9]{8,64}$`)

// newID returns an identifier that cannot be guessed.
func newID() string { return strings.ToLower(rand.Text()) }

// Draft is a message as it was typed.
type Draft struct {
	To       string
	Text     string
	Priority int // lower goes first
}

// FieldError is the mistake in one field of a form or a JSON object.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (e FieldError) Error() string { return e.Field + ": " + e.Detail }

// Invalid is the error for input with mistakes: one for each wrong field.
type Invalid []FieldError

func (e Invalid) Error() string {
	var lines []string
	for _, f := range e {
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "; ")
}

// Of returns the mistake in field, or "".
func (e Invalid) Of(field string) string {
	for _, f := range e {
		if f.Field == field {
			return f.Detail
		}
	}
	return ""
}

// note adds the mistake in field, if err is one.
func (e *Invalid) note(field string, err error) {
	if err != nil {
		*e = append(*e, FieldError{field, err.Error()})
	}
}

// Check returns the draft in the form in which it is sent. The error is an
// [Invalid] that names every field with a mistake.
func (d Draft) Check() (Draft, error) {
	var wrong Invalid
	var err error
	clean := Draft{Priority: d.Priority}
	clean.To, err = ParsePhone(d.To)
	wrong.note("to", err)
	clean.Text, err = parseText(d.Text)
	wrong.note("text", err)
	wrong.note("priority", checkPriority(d.Priority))
	if wrong != nil {
		return Draft{}, wrong
	}
	return clean, nil
}

// parseText checks a message text. Line ends become \n, and space around the
// text is removed.
func parseText(typed string) (string, error) {
	if !utf8.ValidString(typed) {
		return "", errInvalidUTF8
	}
	text := strings.TrimSpace(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(typed))
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return "", fmt.Errorf("the text has a control character, %U", r)
		}
	}
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		return "", errors.New("write a message")
	case n > maxText:
		return "", fmt.Errorf("a message has at most %d characters, this one has %d", maxText, n)
	}
	return text, nil
}

var errInvalidUTF8 = errors.New("this is not valid UTF-8")

func checkPriority(p int) error {
	if p < -maxPriority || p > maxPriority {
		return fmt.Errorf("a priority is a number from %d to %d", -maxPriority, maxPriority)
	}
	return nil
}

// parsePriority reads a priority from a form; an empty one is 0.
func parsePriority(typed string) (int, error) {
	typed = strings.TrimSpace(typed)
	if typed == "" {
		return 0, nil
	}
	p, err := strconv.Atoi(typed)
	if err != nil {
		p = maxPriority + 1
	}
	return p, checkPriority(p)
}

// Priorities are those that the page offers, by the names that it shows
// everywhere.
var priorities = []struct {
	Value int
	Name  string
}{{-10, "Urgent"}, {0, "Normal"}, {10, "Low"}}

// priorityName returns how the page shows a priority: as "Urgent (-10)", after
// its sign.
func priorityName(p int) string {
	name := priorities[1].Name
	switch {
	case p < 0:
		name = priorities[0].Name
	case p > 0:
		name = priorities[2].Name
	}
	return fmt.Sprintf("%s (%d)", name, p)
}

// Filter chooses messages by words: each has to be in the phone number, the
// text, the state, the name of the priority or the trouble of a message. Case
// does not matter.
type Filter []string

// ParseFilter reads a filter. An empty one is refused, so that nothing happens
// to all messages by accident: "*" matches all.
func ParseFilter(typed string) (Filter, error) {
	if !utf8.ValidString(typed) {
		return nil, errInvalidUTF8
	}
	words := strings.Fields(strings.ToLower(typed))
	switch {
	case len(words) == 0:
		return nil, errors.New("write what to look for, or * for all messages")
	case len(words) == 1 && words[0] == "*":
		return Filter{}, nil
	}
	return words, nil
}

// Match reports whether a message matches.
func (f Filter) Match(r Row) bool {
	in := strings.ToLower(strings.Join([]string{r.To, r.Text, r.State, priorityName(r.Priority), r.Trouble}, "\n"))
	for _, word := range f {
		if !strings.Contains(in, word) {
			return false
		}
	}
	return true
}

// ParsePhone returns the E.164 form of a number as a person types it: a plus
// and 8 to 15 digits. Spaces, dashes and brackets are removed.
func ParsePhone(typed string) (string, error) {
	typed = strings.TrimSpace(typed)
	switch {
	case typed == "":
		return "", errors.New("enter a phone number, such as +1 212 555 0123")
	case !utf8.ValidString(typed):
		return "", errInvalidUTF8
	case strings.Contains(strings.ReplaceAll(typed, " ", ""), "(0)"):
		return "", errors.New("leave out the (0), which is not dialed from abroad")
	}
	var digits strings.Builder
	plus := false
	for _, r := range typed {
		switch {
		case r >= '0' && r <= '9':
			digits.WriteRune(r)
		case r == '+' && !plus && digits.Len() == 0:
			plus = true
		case unicode.IsSpace(r), unicode.Is(unicode.Pd, r), strings.ContainsRune("()[]{}", r):
		case r == '+':
			return "", errors.New("the plus belongs at the beginning, and only there")
		default:
			return "", fmt.Errorf("%q cannot be part of a phone number", r)
		}
	}
	number := digits.String()
	switch n := len(number); {
	case !plus && strings.HasPrefix(number, "00"):
		return "", errors.New("write a plus instead of the leading 00")
	case !plus:
		return "", errors.New("begin with a plus and the country code, such as +1 or +44")
	case strings.HasPrefix(number, "0"):
		return "", errors.New("no country code begins with 0")
	case n < minDigits:
		return "", fmt.Errorf("a number has at least %d digits, this one has %d", minDigits, n)
	case n > maxDigits:
		return "", fmt.Errorf("a number has at most %d digits, this one has %d", maxDigits, n)
	}
	return "+" + number, nil
}
