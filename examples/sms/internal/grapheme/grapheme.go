// Package grapheme counts the characters of a text as the person who wrote it
// does: an accented letter, a flag, a family joined from four faces and a
// Hangul syllable are one each. These are the extended grapheme clusters of
// Unicode Standard Annex 29, which a browser's Intl.Segmenter counts too.
package grapheme

import "unicode/utf8"

// Count returns the number of extended grapheme clusters in s.
// A byte that is not valid UTF-8 counts as one.
func Count(s string) int {
	n := 0
	for len(s) > 0 {
		s = s[first(s):]
		n++
	}
	return n
}

// first returns the length in bytes of the cluster that a non-empty s begins
// with.
func first(s string) int {
	r, size := utf8.DecodeRuneInString(s)
	if r < utf8.RuneSelf && len(s) > 1 && s[1] < utf8.RuneSelf && r != '\r' {
		return size // what most text is made of
	}
	at := state{}
	at.add(r)
	for end := size; end < len(s); end += size {
		if r, size = utf8.DecodeRuneInString(s[end:]); at.breaksBefore(r) {
			return end
		}
		at.add(r)
	}
	return len(s)
}

// state is what the rules need to know about the cluster so far.
type state struct {
	last    class
	flags   int     // regional indicators at its end
	picture picture // how much of "pictograph Extend* ZWJ" it ends with
	linked  linked  // how much of "consonant ... linker ..." it ends with
}

type picture uint8

const (
	noPicture picture = iota
	pictured          // a pictograph, and perhaps marks on it
	pictureJoined
)

type linked uint8

const (
	notLinked     linked = iota
	hasConsonant         // an Indic consonant, and perhaps marks on it
	consonantLink        // and a virama, which joins the next consonant
)

// breaksBefore reports whether a new cluster begins at r. The names are those
// of the rules in the annex.
func (s *state) breaksBefore(r rune) bool {
	next := classOf(r)
	switch {
	case s.last == carriageReturn && next == lineFeed: // GB3
		return false
	case s.last.isControl() || next.isControl(): // GB4, GB5
		return true
	case s.last == hangulL && (next == hangulL || next == hangulV || next == hangulLV || next == hangulLVT), // GB6
		(s.last == hangulLV || s.last == hangulV) && (next == hangulV || next == hangulT), // GB7
		(s.last == hangulLVT || s.last == hangulT) && next == hangulT:                     // GB8
		return false
	case next == extend, next == joiner, next == spacingMark, // GB9, GB9a
		s.last == prepend: // GB9b
		return false
	case s.linked == consonantLink && isConsonant(r): // GB9c
		return false
	case s.picture == pictureJoined && next == pictograph: // GB11
		return false
	case s.last == flag && next == flag: // GB12, GB13
		return s.flags%2 == 0
	}
	return true // GB999
}

// add takes r into the cluster.
func (s *state) add(r rune) {
	s.last = classOf(r)
	if s.last == flag {
		s.flags++
	} else {
		s.flags = 0
	}
	switch {
	case s.last == pictograph:
		s.picture = pictured
	case s.last == joiner && s.picture == pictured:
		s.picture = pictureJoined
	case s.last == extend && s.picture == pictured: // a skin tone, a variant
	default:
		s.picture = noPicture
	}
	switch {
	case isConsonant(r):
		s.linked = hasConsonant
	case s.linked != notLinked && isLinker(r):
		s.linked = consonantLink
	case s.last == joiner || s.last == extend && r != zeroWidthNonJoiner: // keeps the link there is
	default:
		s.linked = notLinked
	}
}
