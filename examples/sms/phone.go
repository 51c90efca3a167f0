package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

const (
	minDigits = 8
	maxDigits = 15 // the limit of E.164
)

// ParsePhone returns the E.164 form of a number as a person types it: a plus
// and 8 to 15 digits. Spaces, dashes and brackets are taken out.
func ParsePhone(typed string) (string, error) {
	typed = strings.TrimSpace(typed)
	switch {
	case typed == "":
		return "", errors.New("enter a phone number, such as +1 212 555 0123")
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
