package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
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

func (s *server) getMessage(w http.ResponseWriter, r *http.Request) {
	row, ok := s.outbox.Message(r.PathValue("id"))
	if !ok {
		writeProblem(w, ErrUnknown)
		return
	}
	writeJSON(w, http.StatusOK, row)
}

// Health is the answer to GET /healthz, and to the controls of the pipeline.
type Health struct {
	Status   string `json:"status"` // ok, stopping, or not saving
	State    string `json:"state"`
	Width    int    `json:"width"`
	Waiting  int    `json:"waiting"`
	InFlight int    `json:"inFlight"`
}

func (s *server) health() Health {
	now := s.outbox.Snapshot()
	h := Health{"ok", now.State, now.Width, now.Waiting, now.InFlight}
	switch {
	case now.Trouble != "":
		h.Status = "not saving"
	case now.State == "STOPPING":
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

// wantsPage reports whether the answer is for a person: a browser says that it
// takes HTML, a program does not.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// readDraft reads a message from a JSON object or a form. What was typed is
// returned also with an error, where it can be told.
func readDraft(r *http.Request) (Draft, error) {
	var d Draft
	isForm, err := readBody(r, &d)
	if err != nil || !isForm {
		return d, err
	}
	d.To, d.Text = r.PostForm.Get("to"), r.PostForm.Get("text")
	if d.Priority, err = parsePriority(r.PostForm.Get("priority")); err != nil {
		d.Priority = 0
		return d, Invalid{{"priority", err.Error()}}
	}
	return d, nil
}

// readNumber reads the number called name, the only one of the request.
func readNumber(r *http.Request, name string) (int, error) {
	var numbers map[string]int
	var mistyped *json.UnmarshalTypeError
	isForm, err := readBody(r, &numbers)
	switch {
	case errors.As(err, &mistyped):
	case err != nil:
		return 0, err
	case isForm:
		if n, err := strconv.Atoi(strings.TrimSpace(r.PostForm.Get(name))); err == nil {
			return n, nil
		}
	case len(numbers) == 1:
		if n, ok := numbers[name]; ok {
			return n, nil
		}
	}
	return 0, Invalid{{name, "send one whole number called " + name}}
}
