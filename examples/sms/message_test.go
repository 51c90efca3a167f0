//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const family = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"

func TestCheckCleansADraft(t *testing.T) {
	got, err := Draft{To: "+1 (212) 555-0123", Text: " one\r\ntwo\rthree \n", Priority: -3}.Check()
	require.NoError(t, err)
	require.Equal(t, Draft{To: "+12125550123", Text: "one\ntwo\nthree", Priority: -3}, got)
}

func TestCheckNamesEveryWrongField(t *testing.T) {
	_, err := Draft{To: "12", Text: " ", Priority: 1001}.Check()
	var invalid Invalid
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid, 3)
	require.Contains(t, invalid.Of("to"), "begin with a plus")
	require.Equal(t, "write a message", invalid.Of("text"))
	require.Contains(t, invalid.Of("priority"), "from -1000 to 1000")
	require.Empty(t, invalid.Of("width"))
}

func TestATextHasAtMost160CodePoints(t *testing.T) {
	for _, c := range []struct {
		name, text, wrong string
	}{
		{"160 letters", strings.Repeat("a", 160), ""},
		{"161 letters", strings.Repeat("a", 161), "at most 160 characters, this one has 161"},
		{"160 emoji", strings.Repeat("\U0001f600", 160), ""},
		{"161 emoji", strings.Repeat("\U0001f600", 161), "at most 160 characters, this one has 161"},
		{"a family is 7", strings.Repeat(family, 23), "at most 160 characters, this one has 161"},
		{"80 accents", strings.Repeat("e\u0301", 80), ""},
		{"80 letters, 80 line ends", strings.Repeat("\r\na", 80) + "a", ""},
		{"NUL", "a\x00b", "control character, U+0000"},
		{"escape", "a\x1b[31mb", "control character, U+001B"},
		{"no UTF-8", "a\xff", "not valid UTF-8"},
		{"tab and line end", "a\tb\nc", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseText(c.text)
			if c.wrong == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.wrong)
			}
		})
	}
}

func TestAPriorityIsAWholeNumber(t *testing.T) {
	for typed, want := range map[string]int{"": 0, " 7 ": 7, "-1000": -1000, "1000": 1000} {
		got, err := parsePriority(typed)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, typed := range []string{"1001", "-1001", "x", "1.5", "99999999999999999999"} {
		_, err := parsePriority(typed)
		require.ErrorContains(t, err, "from -1000 to 1000", typed)
	}
}

func TestIdentifiersAreValidAndDiffer(t *testing.T) {
	a, b := newID(), newID()
	require.Regexp(t, validID, a)
	require.NotEqual(t, a, b)
}

func TestParsePhoneTakesWhatAPersonTypes(t *testing.T) {
	for typed, want := range map[string]string{
		"+12125550123":                   "+12125550123",
		" +1 (212) 555-0123 ":            "+12125550123",
		"+44 7700 900123":                "+447700900123",
		"+1\u00a0212\u2011555\u20130123": "+12125550123", // as pasted: no-break space, other dashes
		"(+44) [7700] 900123":            "+447700900123",
		"+12345678":                      "+12345678",
		"+123456789012345":               "+123456789012345",
	} {
		got, err := ParsePhone(typed)
		require.NoError(t, err, typed)
		require.Equal(t, want, got, typed)
	}
}

func TestParsePhoneSaysWhatIsWrong(t *testing.T) {
	for typed, want := range map[string]string{
		"":                    "enter a phone number",
		" \t":                 "enter a phone number",
		"+":                   "at least 8 digits, this one has 0",
		"2125550123":          "begin with a plus",
		"00442079460123":      "write a plus instead of the leading 00",
		"+0442079460":         "no country code begins with 0",
		"+44 (0)20 7946 0123": "leave out the (0)",
		"+44 ( 0 ) 207946012": "leave out the (0)",
		"+1234567":            "at least 8 digits, this one has 7",
		"+1234567890123456":   "at most 15 digits, this one has 16",
		"+1 212 555 0123 x4":  `'x' cannot be part`,
		"+1212555012\u0663":   "cannot be part", // an Arabic digit
		"++12125550123":       "the plus belongs at the beginning",
		"1+2125550123":        "the plus belongs at the beginning",
		"+1<script>":          `'<' cannot be part`,
		"+1\x0012125550123":   `'\x00' cannot be part`,
		"+1\xff2125550123":    "not valid UTF-8",
	} {
		got, err := ParsePhone(typed)
		require.ErrorContains(t, err, want, "%q", typed)
		require.Empty(t, got)
	}
}
