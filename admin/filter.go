package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/twillgo/twill"
)

// jobFilter selects jobs. The page, the API, the command line and actions on
// many jobs use the same language: words separated by blanks, all of which must
// match.
//
//	all                     every job; it must be the only word
//	word, "two words"       in the shown argument, the key or the error
//	state:failed            the state; several by commas
//	id:17  key:user-5       exactly; a star at the end matches any rest
//	group:host              likewise
//	priority:5  priority:<0 the priority; also <=, >, >=
//	attempts:>2             how often the call was started
//	age:>10m                time since the job was put
//	arg:text  error:text    in the shown argument, in the error
//	-word, -key:user-5      not this
//
// Letters match in any case, except in id, key and group.
type jobFilter struct {
	text  string
	terms []filterTerm
	all   bool
}

// maxFilter is the maximum number of bytes of a filter, and maxTerms the
// maximum number of words.
const (
	maxFilter = 1000
	maxTerms  = 32
)

type filterTerm struct {
	field  string // "" is any text
	negate bool
	op     string // of a number: "", "<", "<=", ">", ">="
	number int64
	text   string
	states []twill.JobState
}

// parseFilter returns the filter with the given text. An empty text is an
// error: the filter "all" selects every job.
func parseFilter(text string) (*jobFilter, error) {
	if len(text) > maxFilter {
		return nil, badCommand{fmt.Sprintf("filter longer than %d bytes", maxFilter)}
	}
	words, err := splitWords(text)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, badCommand{`empty filter; to select every job write "all"`}
	}
	if len(words) > maxTerms {
		return nil, badCommand{fmt.Sprintf("filter of more than %d words", maxTerms)}
	}
	f := &jobFilter{text: strings.TrimSpace(text)}
	for _, w := range words {
		if w == (filterWord{text: "all"}) {
			f.all = true
			continue
		}
		t, err := parseTerm(w)
		if err != nil {
			return nil, err
		}
		f.terms = append(f.terms, t)
	}
	if f.all && len(words) > 1 {
		return nil, badCommand{`"all" with other words in a filter`}
	}
	return f, nil
}

// String returns the text of the filter.
func (f *jobFilter) String() string { return f.text }

type filterWord struct {
	negate bool
	field  string
	text   string
	quoted bool
}

// splitWords splits a filter into words, with fields and quotes.
func splitWords(text string) (words []filterWord, err error) {
	rest := text
	for {
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
		if rest == "" {
			return words, nil
		}
		var w filterWord
		if len(rest) > 1 && rest[0] == '-' {
			w.negate, rest = true, rest[1:]
		}
		if i := strings.IndexByte(rest, ':'); i > 0 && fields[rest[:i]] {
			w.field, rest = rest[:i], rest[i+1:]
		}
		if strings.HasPrefix(rest, `"`) {
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				return nil, badCommand{"filter with an open quote"}
			}
			w.text, w.quoted, rest = rest[1:end+1], true, rest[end+2:]
		} else {
			end := strings.IndexFunc(rest, unicode.IsSpace)
			if end < 0 {
				end = len(rest)
			}
			w.text, rest = rest[:end], rest[end:]
		}
		if w.text == "" {
			return nil, badCommand{fmt.Sprintf("filter with nothing to look for after %q", w.field+":")}
		}
		words = append(words, w)
	}
}

var fields = map[string]bool{
	"state": true, "id": true, "key": true, "priority": true, "attempts": true,
	"age": true, "arg": true, "error": true, "group": true,
}

func parseTerm(w filterWord) (filterTerm, error) {
	t := filterTerm{field: w.field, negate: w.negate, text: w.text}
	switch w.field {
	case "", "arg", "error":
		t.text = strings.ToLower(t.text)
	case "state":
		for name := range strings.SplitSeq(strings.ToLower(w.text), ",") {
			s, ok := stateOf(name)
			if !ok {
				return t, badCommand{fmt.Sprintf("filter with an unknown state %q", name)}
			}
			t.states = append(t.states, s)
		}
	case "priority", "attempts", "age":
		for _, op := range []string{"<=", ">=", "<", ">"} {
			if rest, ok := strings.CutPrefix(t.text, op); ok {
				t.op, t.text = op, rest
				break
			}
		}
		if w.field == "age" {
			d, err := time.ParseDuration(t.text)
			if err != nil {
				return t, badCommand{fmt.Sprintf("filter with %q, which is no duration such as 10m", t.text)}
			}
			t.number, t.op = int64(d), cmp.Or(t.op, ">=")
			break
		}
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return t, badCommand{fmt.Sprintf("filter with %q, which is no number", t.text)}
		}
		t.number = n
	}
	return t, nil
}

// stateDead is the state of the dead jobs of a [DeadKeeper].
const stateDead = twill.JobCanceled + 1

// stateOf returns the state with the given name in lower case.
func stateOf(name string) (twill.JobState, bool) {
	for s := twill.JobPending; s <= stateDead; s++ {
		if stateName(s) == name {
			return s, true
		}
	}
	return 0, false
}

func stateName(s twill.JobState) string {
	if s == stateDead {
		return "dead"
	}
	return s.String()
}

// job is a job in the form that filters, pages and the API use.
type job struct {
	ID string
	twill.JobRecord[string]
	Err func() string // the error, for the few filters that need it; nil if there is none
}

func (j *job) errorText() string {
	if j.Err == nil {
		return ""
	}
	return j.Err()
}

// matches reports whether f selects j.
func (f *jobFilter) matches(j *job, now time.Time) bool {
	for i := range f.terms {
		if f.terms[i].matches(j, now) == f.terms[i].negate {
			return false
		}
	}
	return true
}

func (t *filterTerm) matches(j *job, now time.Time) bool {
	switch t.field {
	case "state":
		return slices.Contains(t.states, j.State)
	case "id":
		return matchStar(t.text, j.ID)
	case "key":
		return matchStar(t.text, j.Key)
	case "group":
		return matchStar(t.text, j.Group)
	case "priority":
		return t.compare(int64(j.Priority))
	case "attempts":
		return t.compare(int64(j.Attempts))
	case "age":
		return t.compare(int64(now.Sub(j.Queued)))
	case "arg":
		return containsFold(j.Arg, t.text)
	case "error":
		return containsFold(j.errorText(), t.text)
	}
	return containsFold(j.Arg, t.text) || containsFold(j.Key, t.text) || containsFold(j.errorText(), t.text)
}

func (t *filterTerm) compare(n int64) bool {
	switch t.op {
	case "<":
		return n < t.number
	case "<=":
		return n <= t.number
	case ">":
		return n > t.number
	case ">=":
		return n >= t.number
	}
	return n == t.number
}

func matchStar(pattern, s string) bool {
	if rest, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, rest)
	}
	return s == pattern
}

func containsFold(s, lower string) bool {
	return len(s) >= len(lower) && strings.Contains(strings.ToLower(s), lower)
}

// inStates reports whether f can select jobs in state s: a scan leaves the
// other states out.
func (f *jobFilter) inStates(s twill.JobState) bool {
	for i := range f.terms {
		if t := &f.terms[i]; t.field == "state" && slices.Contains(t.states, s) == t.negate {
			return false
		}
	}
	return true
}
