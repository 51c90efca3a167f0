package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// paused returns the handler of a server whose outbox sends nothing, and the
// outbox.
func paused(t *testing.T) (http.Handler, *Outbox) {
	t.Helper()
	o := begin(t, stateFile(t), &slow{})
	require.NoError(t, o.Pause())
	t.Cleanup(func() { end(t, o) })
	return newServer(t.Context(), "sms.example:8025", o, NewBoard(o)).Handler, o
}

// request makes a request of a program on this machine.
func request(method, target, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8025"+target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func postJSON(h http.Handler, target, body string) *httptest.ResponseRecorder {
	return do(h, request(http.MethodPost, target, typeJSON, body))
}

// postForm posts as a browser without scripts does.
func postForm(h http.Handler, target string, values url.Values) *httptest.ResponseRecorder {
	r := request(http.MethodPost, target, typeForm, values.Encode())
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	return do(h, r)
}

func body[T any](t *testing.T, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), w.Body.String())
	return v
}

const anyMessage = `{"to":"+1 212 555 0123","text":"Hello"}`

func TestAMessageIsAcceptedAndCanBeAskedFor(t *testing.T) {
	h, _ := paused(t)
	w := postJSON(h, "/messages", `{"to":"+1 (212) 555-0123","text":"Hello","priority":3}`)
	require.Equal(t, http.StatusAccepted, w.Code)
	require.Equal(t, typeJSON, w.Header().Get("Content-Type"))
	row := body[Row](t, w)
	require.Equal(t, "/messages/"+row.ID, w.Header().Get("Location"))
	require.Equal(t, "+12125550123", row.To)
	require.Equal(t, 3, row.Priority)
	require.Equal(t, "PENDING", row.State)
	w = do(h, request(http.MethodGet, "/messages/"+row.ID, "", ""))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, row, body[Row](t, w))
}

func TestErrorsAreProblemDocuments(t *testing.T) {
	h, o := paused(t)
	id := body[Row](t, postJSON(h, "/messages", anyMessage)).ID
	require.NoError(t, o.Cancel(id))
	for _, c := range []struct {
		name, method, target, contentType, body string
		status                                  int
		field                                   string
	}{
		{"a bad number", "POST", "/messages", typeJSON, `{"to":"12","text":"x"}`, 422, "to"},
		{"no text", "POST", "/messages", typeJSON, `{"to":"+12125550123"}`, 422, "text"},
		{"a number as text", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":7}`, 422, "text"},
		{"a bad priority in a form", "POST", "/messages", typeForm, `to=%2B12125550123&text=x&priority=high`, 422, "priority"},
		{"no JSON", "POST", "/messages", typeJSON, `hello`, 400, ""},
		{"nothing", "POST", "/messages", typeJSON, ``, 400, ""},
		{"more than JSON", "POST", "/messages", typeJSON, anyMessage + anyMessage, 400, ""},
		{"a member nobody knows", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":"x","from":"y"}`, 400, ""},
		{"a bad form", "POST", "/messages", typeForm, `to=%zz`, 400, ""},
		{"too large", "POST", "/messages", typeJSON, `{"text":"` + strings.Repeat("x", maxBody) + `"}`, 413, ""},
		{"too large a form", "POST", "/messages", typeForm, `text=` + strings.Repeat("x", maxBody), 413, ""},
		{"another type", "POST", "/messages", "text/plain", anyMessage, 415, ""},
		{"no type", "POST", "/messages", "", anyMessage, 415, ""},
		{"another method", "PUT", "/messages", typeJSON, anyMessage, 405, ""},
		{"a GET that would change something", "GET", "/pause", "", "", 405, ""},
		{"no such address", "GET", "/admin", "", "", 404, ""},
		{"no such message", "GET", "/messages/nobody", "", "", 404, ""},
		{"an encoded path", "GET", "/messages/..%2f..%2fetc%2fpasswd", "", "", 404, ""},
		{"a message nobody has", "POST", "/messages/nobody/cancel", "", "", 404, ""},
		{"a message that is over", "POST", "/messages/" + id + "/cancel", "", "", 409, ""},
		{"a message that has not failed", "POST", "/messages/" + id + "/send-again", "", "", 409, ""},
		{"a width that is too large", "POST", "/width", typeJSON, `{"width":101}`, 422, "width"},
		{"a width that is no number", "POST", "/width", typeForm, `width=wide`, 422, "width"},
		{"a width of another name", "POST", "/width", typeJSON, `{"breadth":5}`, 422, "width"},
		{"a width in words", "POST", "/width", typeJSON, `{"width":"five"}`, 422, "width"},
		{"a priority beyond all", "POST", "/messages/" + id + "/priority", typeJSON, `{"priority":9223372036854775807}`, 422, "priority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := do(h, request(c.method, c.target, c.contentType, c.body))
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			p := body[Problem](t, w)
			require.Equal(t, "about:blank", p.Type)
			require.Equal(t, http.StatusText(c.status), p.Title)
			require.Equal(t, c.status, p.Status)
			require.NotEmpty(t, p.Detail)
			if c.field == "" {
				require.Empty(t, p.Errors)
				return
			}
			require.Len(t, p.Errors, 1)
			require.Equal(t, c.field, p.Errors[0].Field)
			require.Equal(t, "#/"+c.field, p.Errors[0].Pointer)
			require.NotEmpty(t, p.Errors[0].Detail)
		})
	}
	require.Zero(t, o.Snapshot().Waiting)
	require.Equal(t, 1, o.Snapshot().Width)
}

func TestTheOperatorsControls(t *testing.T) {
	h, o := paused(t)
	id := body[Row](t, postJSON(h, "/messages", anyMessage)).ID
	require.Equal(t, Health{"ok", "PAUSED", 7, 1, 0}, body[Health](t, postJSON(h, "/width", `{"width":7}`)))
	require.Equal(t, -4, body[Row](t, postJSON(h, "/messages/"+id+"/priority", `{"priority":-4}`)).Priority)
	require.Equal(t, "CANCELED", body[Row](t, postJSON(h, "/messages/"+id+"/cancel", ``)).State)
	require.Equal(t, "RUNNING", body[Health](t, postJSON(h, "/resume", ``)).State)
	require.Equal(t, "PAUSED", body[Health](t, postJSON(h, "/pause", ``)).State)
	require.Equal(t, http.StatusSeeOther, postForm(h, "/width", url.Values{"width": {" 3 "}}).Code)
	require.Equal(t, 3, o.Snapshot().Width)
}

func TestHealth(t *testing.T) {
	h, o := paused(t)
	w := do(h, request(http.MethodGet, "/healthz", "", ""))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, Health{"ok", "PAUSED", 1, 0, 0}, body[Health](t, w))
	o.Stop()
	w = do(h, request(http.MethodGet, "/healthz", "", ""))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "stopping", body[Health](t, w).Status)
	w = postJSON(h, "/messages", anyMessage)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
}
