package main

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

// pageView is what the page is made from. Scripts keep it up to date later; it
// is complete without them.
type pageView struct {
	Snapshot
	Typed  Draft  // what the form holds
	Notice string // what went wrong, other than with a field
	Wrong  Invalid
	Empty  Row // for the rows that scripts make
	Max    int // characters of a message
}

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"age":     age,
	"outcome": outcome,
	"add":     func(a, b int) int { return a + b },
	"rate":    func(perSecond float64) string { return fmt.Sprintf("%.1f", perSecond) },
	"row":     func(v pageView, r Row) map[string]any { return map[string]any{"Now": v.Now, "R": r} },
}).ParseFS(web, "web/page.html"))

// age writes the time from since to now as the page's script does.
func age(since, now int64) string {
	switch d := time.Duration(max(now-since, 0)) * time.Millisecond; {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	default:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
}

// More is how many pending messages have no row.
func (v pageView) More() int { return v.Waiting - len(v.Pending) }

// outcome says in the words of the page how a message ended.
func outcome(state string) string {
	if state == twill.JobFinished.String() {
		return "sent"
	}
	return strings.ToLower(state)
}

func (s *server) getPage(w http.ResponseWriter, _ *http.Request) {
	s.writePage(w, http.StatusOK, pageView{})
}

func (s *server) writePage(w http.ResponseWriter, status int, v pageView) {
	v.Snapshot, v.Max = s.outbox.Snapshot(), maxText
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		writeProblem(w, fmt.Errorf("the page cannot be made: %w", err))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// fail answers a request that was refused: a program gets a problem document, a
// person the page with what was typed, and what is wrong beside the field.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error, typed Draft) {
	if !wantsPage(r) {
		writeProblem(w, err)
		return
	}
	p := problemOf(err)
	v := pageView{Typed: typed}
	for _, f := range p.Errors {
		v.Wrong = append(v.Wrong, f.FieldError)
	}
	if v.Wrong == nil {
		v.Notice = p.Detail
	}
	s.writePage(w, p.Status, v)
}
