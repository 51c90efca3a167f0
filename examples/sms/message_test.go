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

func TestATextHasAtMost160CharactersAsAPersonCounts(t *testing.T) {
	for _, c := range []struct {
		name, text, wrong string
	}{
		{"160 letters", strings.Repeat("a", 160), ""},
		{"161 letters", strings.Repeat("a", 161), "at most 160 characters, this one has 161"},
		{"160 families", strings.Repeat(family, 160), ""},
		{"161 families", strings.Repeat(family, 161), "at most 160 characters, this one has 161"},
		{"160 accents", strings.Repeat("e\u0301", 160), ""},
		{"80 letters, 80 line ends", strings.Repeat("\r\na", 80) + "a", ""},
		{"a letter with 5000 accents", "a" + strings.Repeat("\u0301", 5000), "at most 8192 bytes"},
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
