package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
		"+1\xff2125550123":    "cannot be part",
	} {
		got, err := ParsePhone(typed)
		require.ErrorContains(t, err, want, "%q", typed)
		require.Empty(t, got)
	}
}
