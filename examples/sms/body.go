package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

// readBody parses a form, or decodes JSON into v.
func readBody(r *http.Request, v any) (isForm bool, err error) {
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case typeForm:
		return true, unreadable(r.ParseForm())
	case typeJSON:
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		err := decoder.Decode(v)
		if err == nil {
			if _, more := decoder.Token(); more != io.EOF {
				err = errors.New("there is more after the end of the JSON value")
			}
		}
		return false, unreadable(err)
	}
	return false, requestError{http.StatusUnsupportedMediaType, "send " + typeJSON + " or " + typeForm, nil}
}

// unreadable makes an error of the request out of one of its body.
func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	var mistyped *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return requestError{http.StatusRequestEntityTooLarge, fmt.Sprintf("a request has at most %d bytes", tooLarge.Limit), err}
	case errors.As(err, &mistyped) && mistyped.Field != "":
		return Invalid{{mistyped.Field, fmt.Sprintf("this is a JSON %s, and should be a %v", mistyped.Value, mistyped.Type)}}
	}
	return requestError{http.StatusBadRequest, "the request cannot be read: " + err.Error(), err}
}
