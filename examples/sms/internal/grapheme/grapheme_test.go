package grapheme_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/examples/sms/internal/grapheme"
)

func TestCountsWhatAPersonCounts(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       int
	}{
		{"nothing", "", 0},
		{"plain letters", "Hello, Ada!", 11},
		{"a letter and a combining accent", "e\u0301", 1},
		{"many accents on one letter", "e" + strings.Repeat("\u0301", 40), 1},
		{"an accent at the start stands alone", "\u0301a", 2},
		{"an accent does not sit on a line end", "\n\u0301", 2},
		{"CRLF", "\r\n", 1},
		{"CR, LF and LFCR", "\r\r\n\n\r", 4},
		{"tab and NUL", "a\t\x00b", 4},
		{"a face with a skin tone", "\U0001f44d\U0001f3fd", 1},
		{"a heart in color", "\u2764\ufe0f", 1},
		{"a keycap", "1\ufe0f\u20e3", 1},
		{"a family", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 1},
		{"a dark skinned doctor", "\U0001f469\U0001f3ff\u200d\u2695\ufe0f", 1},
		{"a joiner joins pictographs only", "a\u200d\U0001f467", 2},
		{"two joiners join nothing", "\U0001f468\u200d\u200d\U0001f467", 2},
		{"a flag", "\U0001f1e9\U0001f1ea", 1},
		{"two flags", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", 2},
		{"half a flag after two", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1e9", 3},
		{"letters between half flags", "\U0001f1e9a\U0001f1ea", 3},
		{"the flag of Scotland", "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", 1},
		{"Hangul syllables", "\ud55c\uad6d\uc5b4", 3},
		{"Hangul from its letters", "\u1112\u1161\u11ab\u1100\u116e\u11a8", 2},
		{"a Hangul syllable and a final", "\uac00\u11a8", 1},
		{"a full syllable takes no vowel", "\uac01\u1161", 2},
		{"Thai with vowels", "\u0e01\u0e33\u0e19\u0e35\u0e49", 2},
		{"Devanagari", "\u0928\u092e\u0938\u094d\u0924\u0947", 3},
		{"a conjunct of three", "\u0938\u094d\u0924\u094d\u0930\u0940", 1},
		{"a conjunct kept apart", "\u0915\u094d\u200c\u0937", 2},
		{"Tamil has no conjuncts", "\u0b95\u0bcd\u0bb7", 2},
		{"a prepended sign", "\u0600\u0661", 1},
		{"a zero width space", "a\u200bb", 3},
		{"bytes that are no UTF-8", "a\xff\xfeb", 4},
		{"U+2028", "a\u2028b", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, grapheme.Count(c.text))
		})
	}
}

func FuzzCount(f *testing.F) {
	f.Add("e\u0301\U0001f1e9\U0001f1ea", "\r\n")
	f.Add("\U0001f468\u200d", "\U0001f469\u0915\u094d\u0937")
	f.Fuzz(func(t *testing.T, a, b string) {
		n := grapheme.Count(a + b)
		require.LessOrEqual(t, n, utf8.RuneCountInString(a+b))
		require.LessOrEqual(t, n, grapheme.Count(a)+grapheme.Count(b), "joining texts makes no new boundary")
		require.Equal(t, grapheme.Count(a)+1+grapheme.Count(b), grapheme.Count(a+"\n"+b)+joined(a, b))
	})
}

// joined is 1 where the line end between a and b makes one with a's end.
func joined(a, _ string) int {
	if strings.HasSuffix(a, "\r") {
		return 1
	}
	return 0
}
