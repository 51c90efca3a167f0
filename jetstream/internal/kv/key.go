package kv

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"regexp"
)

var plainKey = regexp.MustCompile(`^[a-zA-Z0-9_/-]+(\.[a-zA-Z0-9_/-]+)*$`)

// Lengths of text in bytes, up to which it is a key as it is, or in base64.
const (
	maxPlain   = 200
	maxEncoded = 150
)

// EncodeKey returns the key of a bucket for k. For a string that consists of
// letters, digits and "-_/", with single dots between them, and has at most 200
// bytes, it is the string itself. For other strings it is "=" and the string in
// base64 (URL alphabet, no padding), and for those longer than 150 bytes "=="
// and the SHA-256 of the string in base64. Any other k is encoded as the text
// of its JSON.
func EncodeKey[K comparable](k K) (string, error) {
	var text string
	if v := reflect.ValueOf(k); v.Kind() == reflect.String {
		text = v.String()
	} else {
		b, err := json.Marshal(k)
		if err != nil {
			return "", err
		}
		text = string(b)
	}
	switch {
	case len(text) <= maxPlain && plainKey.MatchString(text):
		return text, nil
	case len(text) <= maxEncoded:
		return "=" + base64.RawURLEncoding.EncodeToString([]byte(text)), nil
	}
	sum := sha256.Sum256([]byte(text))
	return "==" + base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
