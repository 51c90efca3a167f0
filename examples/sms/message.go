package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twillgo/twill/examples/sms/internal/grapheme"
)

const (
	maxText      = 160  // characters, as a person counts them
	maxTextBytes = 8192 // one character may be made of any number of runes
	maxPriority  = 1000
)

// Message is a text message that was accepted. It is the argument of a job in
// the queue, and does not change.
type Message struct {
	ID       string    `json:"id"`
	Number   int64     `json:"number"` // counts the accepted messages
	To       string    `json:"to"`
	Text     string    `json:"text"`
	Priority int       `json:"priority"` // lower goes first
	Accepted time.Time `json:"accepted"`
}

var validID = regexp.MustCompile(`^[a-z0-9]{8,64}$`)

// newID returns an identifier that nobody can guess and nobody had before.
func newID() string { return strings.ToLower(rand.Text()) }

// Draft is a message as it was typed.
type Draft struct {
	To       string `json:"to"`
	Text     string `json:"text"`
	Priority int    `json:"priority"`
}

// FieldError says what is wrong with one field of a form or a JSON object.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (e FieldError) Error() string { return e.Field + ": " + e.Detail }

// Invalid is the error for a draft that cannot be sent.
type Invalid []FieldError

func (e Invalid) Error() string {
	var lines []string
	for _, f := range e {
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "; ")
}

// Of returns what is wrong with field, or "".
func (e Invalid) Of(field string) string {
	for _, f := range e {
		if f.Field == field {
			return f.Detail
		}
	}
	return ""
}

// Check returns the draft in the form in which it is sent. The error is an
// [Invalid] that names every field with a mistake.
func (d Draft) Check() (Draft, error) {
	var wrong Invalid
	note := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, FieldError{field, err.Error()})
		}
	}
	var err error
	clean := Draft{Priority: d.Priority}
	clean.To, err = ParsePhone(d.To)
	note("to", err)
	clean.Text, err = parseText(d.Text)
	note("text", err)
	note("priority", checkPriority(d.Priority))
	if wrong != nil {
		return Draft{}, wrong
	}
	return clean, nil
}

// parseText checks a message text. Line ends become \n; space around the text
// is taken off.
func parseText(typed string) (string, error) {
	if !utf8.ValidString(typed) {
		return "", errors.New("the text is not valid UTF-8")
	}
	text := strings.TrimSpace(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(typed))
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return "", fmt.Errorf("the text has a control character, %U", r)
		}
	}
	switch n := grapheme.Count(text); {
	case n == 0:
		return "", errors.New("write a message")
	case n > maxText:
		return "", fmt.Errorf("a message has at most %d characters, this one has %d", maxText, n)
	case len(text) > maxTextBytes:
		return "", fmt.Errorf("a message has at most %d bytes, this one has %d", maxTextBytes, len(text))
	}
	return text, nil
}

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
