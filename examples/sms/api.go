package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// postMessage takes a message, from a program or from the form on the page.
func (s *server) postMessage(w http.ResponseWriter, r *http.Request) {
	draft, err := readDraft(r)
	var message Message
	if err == nil {
		message, err = s.outbox.Accept(draft)
	}
	switch {
	case err != nil:
		s.fail(w, r, err, draft)
	case wantsPage(r):
		http.Redirect(w, r, "/", http.StatusSeeOther)
	default:
		w.Header().Set("Location", "/messages/"+message.ID)
		row, _ := s.outbox.Message(message.ID)
		writeJSON(w, http.StatusAccepted, row)
	}
}

// postFile takes the messages of a CSV file: a text/csv body, or the form of
// the page. Lines that cannot be sent are skipped and listed.
func (s *server) postFile(w http.ResponseWriter, r *http.Request) {
	drafts, skipped, err := readFile(r)
	switch {
	case err != nil:
	case len(drafts) == 0 && len(skipped) == 0:
		err = requestError{http.StatusUnprocessableEntity, "the file has no message", nil}
	case len(drafts) == 0:
		err = skipped
	default:
		_, err = s.outbox.AcceptAll(drafts)
	}
	switch {
	case err != nil:
		s.fail(w, r, err, Draft{})
	case !wantsPage(r):
		writeJSON(w, http.StatusAccepted, Taken{len(drafts), append([]FieldError{}, skipped...)})
	case len(skipped) == 0:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	default:
		notice := fmt.Sprintf("%d messages are in the queue; skipped: %v", len(drafts), skipped)
		s.writePage(w, http.StatusAccepted, pageView{Notice: notice})
	}
}

// Taken is the answer to a file.
type Taken struct {
	Accepted int          `json:"accepted"`
	Skipped  []FieldError `json:"skipped"`
}

// readFile reads the messages of a CSV file.
func readFile(r *http.Request) (drafts []Draft, skipped Invalid, err error) {
	body := io.Reader(r.Body)
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "text/csv":
	case "multipart/form-data":
		file, _, err := r.FormFile("file")
		if errors.Is(err, http.ErrMissingFile) {
			return nil, nil, Invalid{{"file", "choose a file"}}
		} else if err != nil {
			return nil, nil, unreadable(err)
		}
		defer func() { _ = file.Close() }()
		body = file
	default:
		return nil, nil, requestError{http.StatusUnsupportedMediaType, "send text/csv", nil}
	}
	good, bad, err := ReadRecipients(body)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	for _, r := range good {
		drafts = append(drafts, Draft{To: r.Message.To, Text: r.Message.Text})
	}
	for _, b := range bad {
		skipped.note(fmt.Sprintf("line %d", b.Line), b.Err)
	}
	return drafts, skipped, nil
}

// Changed is the answer to a change of all messages that match a filter.
type Changed struct {
	Filter  string `json:"filter"`
	Changed int    `json:"changed"`
	TooLate int    `json:"tooLate"` // messages that were over by then
}

func (s *server) postCancelMatching(w http.ResponseWriter, r *http.Request) {
	s.matching(w, r, "canceled", s.outbox.CancelMatching)
}

func (s *server) postSendMatchingAgain(w http.ResponseWriter, r *http.Request) {
	s.matching(w, r, "sent again", s.outbox.SendMatchingAgain)
}

// matching answers a request to change all messages that match.
func (s *server) matching(w http.ResponseWriter, r *http.Request, done string, change func(Filter) (int, int, error)) {
	var typed string
	fields, err := readFields(r, "filter")
	if err == nil {
		err = fields.read("filter", &typed)
	}
	var filter Filter
	if err == nil {
		filter, err = ParseFilter(typed)
	}
	if err != nil {
		var asked requestError
		if !errors.As(err, &asked) {
			err = Invalid{{"filter", err.Error()}}
		}
		s.fail(w, r, err, Draft{})
		return
	}
	changed, late, err := change(filter)
	switch {
	case err != nil:
		s.fail(w, r, err, Draft{})
	case wantsPage(r):
		notice := fmt.Sprintf("%d messages that match %q were %s", changed, typed, done)
		if late > 0 {
			notice += fmt.Sprintf("; for %d it was too late", late)
		}
		s.writePage(w, http.StatusOK, pageView{Notice: notice, Filter: typed})
	default:
		writeJSON(w, http.StatusOK, Changed{typed, changed, late})
	}
}

// getMessages answers with the messages that match a filter and are not over.
func (s *server) getMessages(w http.ResponseWriter, r *http.Request) {
	filter, err := ParseFilter(r.FormValue("filter"))
	if err != nil {
		writeProblem(w, Invalid{{"filter", err.Error()}})
		return
	}
	writeJSON(w, http.StatusOK, append([]Row{}, s.outbox.Matching(filter)...))
}

func (s *server) getMessage(w http.ResponseWriter, r *http.Request) {
	row, ok := s.outbox.Message(r.PathValue("id"))
	if !ok {
		writeProblem(w, ErrUnknown)
		return
	}
	writeJSON(w, http.StatusOK, row)
}

// Health is the answer to GET /healthz, and to changes of the pipeline.
type Health struct {
	Status string `json:"status"` // ok, stopping, or not saving
	State  string `json:"state"`
	Settings
	Waiting  int `json:"waiting"`
	InFlight int `json:"inFlight"`
}

func (s *server) health() Health {
	now := s.outbox.Snapshot()
	h := Health{"ok", now.State, now.Settings, now.Waiting, now.InFlight}
	switch {
	case now.Trouble != "":
		h.Status = "not saving"
	case now.State == "stopping":
		h.Status = "stopping"
	}
	return h
}

func (s *server) getHealth(w http.ResponseWriter, _ *http.Request) {
	h, status := s.health(), http.StatusOK
	if h.Status != "ok" {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, h)
}

// wantsPage reports whether the answer is for a person: a browser accepts HTML,
// a program does not.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// readDraft reads a message from a JSON object or a form. With an error it
// returns what it could read.
func readDraft(r *http.Request) (Draft, error) {
	var d Draft
	fields, err := readFields(r, "to", "text", "priority")
	if err != nil {
		return d, err
	}
	var wrong Invalid
	wrong.note("to", fields.read("to", &d.To))
	wrong.note("text", fields.read("text", &d.Text))
	if fields.typed == nil {
		wrong.note("priority", fields.read("priority", &d.Priority))
	} else if p, err := parsePriority(fields.typed.Get("priority")); err != nil {
		wrong.note("priority", err)
	} else {
		d.Priority = p
	}
	if wrong != nil {
		return d, wrong
	}
	return d, nil
}

// readNumber reads the number called name, the only field of the request.
func readNumber(r *http.Request, name string) (int, error) {
	fields, err := readFields(r)
	if err != nil {
		return 0, err
	}
	if fields.typed != nil {
		typed := strings.TrimSpace(fields.typed.Get(name))
		n, err := strconv.Atoi(typed)
		if err != nil {
			return 0, Invalid{{name, fmt.Sprintf("%.40q is not a whole number", typed)}}
		}
		return n, nil
	} else if _, ok := fields.object[name]; ok && len(fields.object) == 1 {
		var n int
		if fields.read(name, &n) == nil {
			return n, nil
		}
	}
	return 0, Invalid{{name, "send one whole number called " + name}}
}

func (s *server) postWidth(w http.ResponseWriter, r *http.Request) {
	n, err := readNumber(r, "width")
	if err == nil {
		err = s.outbox.SetWidth(n)
	}
	s.pipeline(w, r, err)
}

func (s *server) postRate(w http.ResponseWriter, r *http.Request) {
	n, err := readNumber(r, "perSecond")
	if err == nil {
		err = s.outbox.SetRate(n)
	}
	s.pipeline(w, r, err)
}

func (s *server) postPause(w http.ResponseWriter, r *http.Request) {
	s.pipeline(w, r, s.outbox.Pause())
}

func (s *server) postResume(w http.ResponseWriter, r *http.Request) {
	s.pipeline(w, r, s.outbox.Resume())
}

// pipeline answers a request to change the pipeline.
func (s *server) pipeline(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.fail(w, r, err, Draft{})
		return
	}
	s.succeed(w, r, s.health())
}

func (s *server) postPriority(w http.ResponseWriter, r *http.Request) {
	n, err := readNumber(r, "priority")
	if err == nil {
		err = s.outbox.Reprioritize(r.PathValue("id"), n)
	}
	s.one(w, r, err)
}

func (s *server) postCancel(w http.ResponseWriter, r *http.Request) {
	s.one(w, r, s.outbox.Cancel(r.PathValue("id")))
}

func (s *server) postSendAgain(w http.ResponseWriter, r *http.Request) {
	s.one(w, r, s.outbox.SendAgain(r.PathValue("id")))
}

// one answers a request to change one message.
func (s *server) one(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.fail(w, r, err, Draft{})
		return
	}
	row, _ := s.outbox.Message(r.PathValue("id"))
	s.succeed(w, r, row)
}

// succeed answers a program with v, and sends a person back to the page.
func (s *server) succeed(w http.ResponseWriter, r *http.Request, v any) {
	if wantsPage(r) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

// fields is the body of a request: a form or a JSON object.
type fields struct {
	typed  url.Values
	object map[string]json.RawMessage
}

// readFields reads a form or a JSON object. If there are names, an object may
// have no other members.
func readFields(r *http.Request, names ...string) (f fields, err error) {
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case typeForm:
		if err := r.ParseForm(); err != nil {
			return f, unreadable(err)
		}
		f.typed = r.PostForm
	case typeJSON:
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &f.object)
		}
		if err != nil {
			return f, unreadable(err)
		}
	default:
		return f, requestError{http.StatusUnsupportedMediaType, "send " + typeJSON + " or " + typeForm, nil}
	}
	for name := range f.object {
		switch {
		case len(names) == 0, slices.Contains(names, name):
		case strings.Contains(name, "\ufffd"): // perhaps what encoding/json made of other bytes
			return f, requestError{http.StatusUnprocessableEntity, "the name of a member is not valid UTF-8", nil}
		default:
			return f, requestError{http.StatusBadRequest, fmt.Sprintf("the request has an unknown member %q", name), nil}
		}
	}
	return f, nil
}

// read reads one field, if it exists. Text must be valid UTF-8: encoding/json
// would replace other bytes, and would not change v for null.
func (f fields) read(name string, v any) error {
	if f.typed != nil {
		text := f.typed.Get(name)
		*v.(*string) = text
		if !utf8.ValidString(text) {
			return errInvalidUTF8
		}
		return nil
	}
	raw, ok := f.object[name]
	switch {
	case !ok:
		return nil
	case string(raw) == "null":
		return errors.New("this is null, leave the member out or give a value")
	case !utf8.Valid(raw), loneSurrogate(raw):
		return errInvalidUTF8
	}
	var mistyped *json.UnmarshalTypeError
	if err := json.Unmarshal(raw, v); errors.As(err, &mistyped) {
		return fmt.Errorf("this is a JSON %s, and should be a %v", mistyped.Value, mistyped.Type)
	} else if err != nil {
		return err
	}
	return nil
}

// loneSurrogate reports whether a JSON value has an escape, such as \ud800, for
// one half of a character.
func loneSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		first, second := escaped(raw[i:]), rune(0)
		i++
		if !utf16.IsSurrogate(first) {
			continue
		}
		if i += 4; i+1 < len(raw) {
			second = escaped(raw[i+1:])
		}
		if utf16.DecodeRune(first, second) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// escaped returns the code of the escape \uXXXX at the start of raw, if there
// is one.
func escaped(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0
	}
	code, _ := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(code)
}

// unreadable returns the error of a request whose body cannot be read.
func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return requestError{http.StatusRequestEntityTooLarge, fmt.Sprintf("a request has at most %d bytes", tooLarge.Limit), err}
	}
	return requestError{http.StatusBadRequest, "the request cannot be read: " + err.Error(), err}
}

// Problem is an error as RFC 9457 wants it, application/problem+json.
type Problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Errors []ProblemField `json:"errors,omitempty"`
}

// ProblemField is what is wrong with one member of the request.
type ProblemField struct {
	FieldError
	Pointer string `json:"pointer"` // RFC 6901, into the JSON of the request
}

// problemOf returns the problem document for an error.
func problemOf(err error) Problem {
	p := Problem{Type: "about:blank", Status: http.StatusInternalServerError}
	var (
		invalid Invalid
		asked   requestError
	)
	switch {
	case errors.As(err, &invalid):
		p.Status = http.StatusUnprocessableEntity
		for _, f := range invalid {
			p.Errors = append(p.Errors, ProblemField{f, "#/" + f.Field})
		}
	case errors.As(err, &asked):
		p.Status = asked.status
	case errors.Is(err, ErrUnknown):
		p.Status = http.StatusNotFound
	case errors.Is(err, ErrOver):
		p.Status = http.StatusConflict
	case errors.Is(err, ErrStopping), errors.Is(err, ErrFull), errors.Is(err, ErrNotSaved):
		p.Status = http.StatusServiceUnavailable
	}
	p.Title, p.Detail = http.StatusText(p.Status), err.Error()
	return p
}

// requestError is a request that cannot be understood or is not allowed.
type requestError struct {
	status int
	detail string
	cause  error // or nil
}

func (e requestError) Error() string { return e.detail }

func (e requestError) Unwrap() error { return e.cause }

// writeProblem answers with the problem document for err.
func writeProblem(w http.ResponseWriter, err error) {
	p := problemOf(err)
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	writeAs(w, "application/problem+json", p.Status, p)
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, status int, v any) {
	writeAs(w, "application/json", status, v)
}

func writeAs(w http.ResponseWriter, contentType string, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // v consists of strings and numbers
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
