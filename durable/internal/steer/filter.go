package steer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twillgo/twill/durable/internal/store"
)

// Filter says which jobs are wanted: those for which all of its fields that are
// set hold. The zero Filter is all jobs.
type Filter struct {
	States    []string `json:"states,omitempty"` // one of them
	Causes    []string `json:"causes,omitempty"` // one of them is in the error
	Low       *int64   `json:"low,omitempty"`    // the priority is not lower
	High      *int64   `json:"high,omitempty"`   // or higher
	KeyPrefix Text     `json:"key,omitempty"`
	Group     *Text    `json:"group,omitempty"`

	// Older and Newer are for how long the job has ended or, if it has not, was
	// queued.
	Older time.Duration `json:"older,omitempty"`
	Newer time.Duration `json:"newer,omitempty"`

	Error Text `json:"error,omitempty"` // is in the error
	Arg   Text `json:"arg,omitempty"`   // is in the argument, as it is or as in a string of JSON
	Kind  Text `json:"kind,omitempty"`  // is the member "kind" or "type" of the argument
}

// needsArg reports whether the filter looks into arguments.
func (f *Filter) needsArg() bool { return f.Arg != "" || f.Kind != "" }

// tables reports in which tables wanted jobs may be: that of live jobs, and
// that of ended ones.
func (f *Filter) tables() (live, ended bool) {
	if len(f.States) == 0 {
		return true, true
	}
	for _, name := range f.States {
		if s, ok := StateOf(name); ok && isEnded(s) {
			ended = true
		} else if ok {
			live = true
		}
	}
	return live, ended
}

// matches reports whether the filter wants j, whatever its argument is.
func (f *Filter) matches(j *store.Job, now time.Time) bool {
	since := j.Queued
	if j.Ended != 0 {
		since = j.Ended
	}
	age := now.Sub(time.UnixMilli(since))
	switch {
	case len(f.States) > 0 && !slices.Contains(f.States, j.State.String()),
		f.Low != nil && j.Priority < *f.Low,
		f.High != nil && j.Priority > *f.High,
		!strings.HasPrefix(j.Key, string(f.KeyPrefix)),
		f.Group != nil && j.Group != string(*f.Group),
		f.Older != 0 && age < f.Older,
		f.Newer != 0 && age > f.Newer,
		!strings.Contains(j.Error, string(f.Error)):
		return false
	}
	if len(f.Causes) == 0 {
		return true
	}
	for _, name := range causesOf(j.Kind) {
		if slices.Contains(f.Causes, name) {
			return true
		}
	}
	return false
}

// matchesArg reports whether the filter wants a job with that argument.
func (f *Filter) matchesArg(arg []byte) bool {
	if !containsText(arg, string(f.Arg)) {
		return false
	}
	if f.Kind == "" {
		return true
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(arg, &members) != nil {
		return false
	}
	for name, value := range members {
		var text string
		if (strings.EqualFold(name, "kind") || strings.EqualFold(name, "type")) && json.Unmarshal(value, &text) == nil && text == string(f.Kind) {
			return true
		}
	}
	return false
}

// containsText reports whether s is in an argument: as it is, or as it is in a
// string of JSON, with the escapes for HTML or without.
func containsText(arg []byte, s string) bool {
	if bytes.Contains(arg, []byte(s)) {
		return true
	}
	if !utf8.ValidString(s) {
		return false
	}
	for _, encode := range []func(any) ([]byte, error){json.Marshal, marshal} {
		quoted, err := encode(s)
		if err == nil && bytes.Contains(arg, quoted[1:len(quoted)-1]) {
			return true
		}
	}
	return false
}
