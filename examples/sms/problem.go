package main

import (
	"encoding/json"
	"errors"
	"net/http"
)

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
		panic(err) // what is answered here is made of strings and numbers
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
