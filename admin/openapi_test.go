package admin_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/admin"
)

// description is the OpenAPI document that the page serves.
var description = sync.OnceValue(func() routers.Router {
	page := admin.New(admin.Options{Insecure: true})
	defer page.Close()
	w := httptest.NewRecorder()
	page.ServeHTTP(w, request(http.MethodGet, "/api/openapi.json", ""))
	doc := must(openapi3.NewLoader().LoadFromData(w.Body.Bytes()))
	if err := doc.Validate(context.Background()); err != nil {
		panic(err)
	}
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/csv", openapi3filter.PlainBodyDecoder)
	return must(legacy.NewRouter(doc))
})

// requireDescribed checks an answer of the API against its description.
func requireDescribed(t testing.TB, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	if !strings.HasPrefix(r.URL.Path, "/api/") || r.Method == http.MethodHead {
		return
	}
	plain := r.Clone(context.Background())
	plain.URL.RawQuery = ""
	route, params, err := description().FindRoute(plain)
	if err != nil { // there is no such address
		require.Contains(t, []int{400, 401, 403, 404, 405, 413, 414, 415, 421, 500}, w.Code, "%s %s", r.Method, r.URL)
		return
	}
	require.NoError(t, openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route},
		Status:                 w.Code, Header: w.Header(), Body: nopCloser{bytes.NewReader(w.Body.Bytes())},
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}), "%s %s: %s", r.Method, r.URL, w.Body)
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	for _, rt := range admin.Routes() {
		method, path, _ := strings.Cut(rt, " ")
		if !strings.HasPrefix(path, "/api/") {
			continue
		}
		_, _, err := description().FindRoute(request(method, path, ""))
		require.NoError(t, err, rt)
	}
}
