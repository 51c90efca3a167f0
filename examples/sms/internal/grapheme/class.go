package grapheme

import "unicode"

// class is the Grapheme_Cluster_Break property of a rune, with the pictographs
// as a class of their own.
type class uint8

const (
	other class = iota
	carriageReturn
	lineFeed
	control
	extend
	joiner
	spacingMark
	prepend
	flag // a regional indicator: two make a flag
	hangulL
	hangulV
	hangulT
	hangulLV
	hangulLVT
	pictograph
)

const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
)

func (c class) isControl() bool {
	return c == carriageReturn || c == lineFeed || c == control
}

// classOf derives the class of r from the general categories and properties
// that package unicode has; tables.go adds what it has not.
func classOf(r rune) class {
	switch {
	case r == '\r':
		return carriageReturn
	case r == '\n':
		return lineFeed
	case r < ' ':
		return control
	case r < 0x7f:
		return other
	case r == zeroWidthJoiner:
		return joiner
	case r >= 0xac00 && r <= 0xd7a3:
		if (r-0xac00)%28 == 0 {
			return hangulLV
		}
		return hangulLVT
	case r >= 0x1100 && r <= 0x115f, r >= 0xa960 && r <= 0xa97c:
		return hangulL
	case r >= 0x1160 && r <= 0x11a7, r >= 0xd7b0 && r <= 0xd7c6:
		return hangulV
	case r >= 0x11a8 && r <= 0x11ff, r >= 0xd7cb && r <= 0xd7fb:
		return hangulT
	case unicode.Is(unicode.Regional_Indicator, r):
		return flag
	case unicode.Is(pictographs, r):
		return pictograph
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Other_Grapheme_Extend, skinTones):
		return extend
	case unicode.Is(prepends, r), unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return prepend
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp), isReserved(r):
		return control
	case unicode.Is(unicode.Mc, r) && !unicode.Is(standingMarks, r), unicode.Is(spacingLetters, r):
		return spacingMark
	}
	return other
}

// isReserved reports whether r is unassigned but kept for invisible signs.
func isReserved(r rune) bool {
	return r == 0x2065 || r >= 0xfff0 && r <= 0xfff8 || r >= 0xe0000 && r <= 0xe0fff
}

// isConsonant and isLinker are the Indic_Conjunct_Break property: in six
// scripts of India a virama between two consonants makes them one.
func isConsonant(r rune) bool { return r >= 0x0915 && unicode.Is(consonants, r) }

func isLinker(r rune) bool {
	switch r {
	case 0x094d, 0x09cd, 0x0acd, 0x0b4d, 0x0c4d, 0x0d4d:
		return true
	}
	return false
}
