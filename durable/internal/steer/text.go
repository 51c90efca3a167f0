package steer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// isUnsafe reports whether a terminal may do something else with r than show
// it: control characters, those that turn the direction of text, and ends of
// lines.
func isUnsafe(r rune) bool {
	if r < 0x7f {
		return r < ' '
	}
	return r != 0x200c && r != 0x200d && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// isSafe reports whether s is UTF-8 and may be printed to a terminal.
func isSafe(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, isUnsafe) < 0
}

// Clean returns s as it may be printed to a terminal: what is not text in it is
// written as in a Go string.
func Clean(s string) string {
	if isSafe(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + hex(s[0]))
		case r < 0x80 && isUnsafe(r), r == '\\' && n == 1:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		case isUnsafe(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

func hex(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// Text is text of a job in JSON: a string or, if it is not UTF-8 or a terminal
// must not see it, an object with the bytes, {"base64": "..."}.
type Text string

type encoded struct {
	Bytes *[]byte `json:"base64"`
}

// MarshalJSON is part of [json.Marshaler].
func (t Text) MarshalJSON() ([]byte, error) {
	if isSafe(string(t)) {
		return marshal(string(t))
	}
	b := []byte(t)
	return marshal(encoded{&b})
}

// UnmarshalJSON is part of [json.Unmarshaler].
func (t *Text) UnmarshalJSON(b []byte) error {
	if b, ok := decodeBytes(b); ok {
		*t = Text(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// Data is an argument or a result in JSON: as it is if it is JSON, or an object
// with the bytes, {"base64": "..."}.
type Data []byte

// MarshalJSON is part of [json.Marshaler].
func (d Data) MarshalJSON() ([]byte, error) {
	if d.isText() {
		return d, nil
	}
	b := []byte(d)
	return marshal(encoded{&b})
}

// isText reports whether d, written as it is, is read as it was.
func (d Data) isText() bool {
	var compact bytes.Buffer
	if json.Compact(&compact, d) != nil || !bytes.Equal(compact.Bytes(), d) || !isSafe(string(d)) {
		return false
	}
	_, isEncoded := decodeBytes(d)
	return !isEncoded
}

// UnmarshalJSON is part of [json.Unmarshaler].
func (d *Data) UnmarshalJSON(b []byte) error {
	if b, ok := decodeBytes(b); ok {
		*d = b
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return err
	}
	*d = compact.Bytes()
	return nil
}

// decodeBytes returns the bytes of an object that has nothing but them.
func decodeBytes(b []byte) ([]byte, bool) {
	if len(b) == 0 || b[0] != '{' {
		return nil, false
	}
	var e encoded
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if dec.Decode(&e) != nil || e.Bytes == nil {
		return nil, false
	}
	if *e.Bytes == nil {
		return []byte{}, true
	}
	return *e.Bytes, true
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// CleanJSON returns JSON with escapes for what a terminal must not see. The
// ends of lines between values stay.
func CleanJSON(b []byte) []byte {
	if bytes.IndexFunc(b, isUnsafeInJSON) < 0 {
		return b
	}
	var out bytes.Buffer
	for _, r := range string(b) {
		switch {
		case !isUnsafeInJSON(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}

func isUnsafeInJSON(r rune) bool { return r != '\n' && isUnsafe(r) }
