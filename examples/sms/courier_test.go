package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// roundTrip is a carrier without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer makes a response of a carrier.
func answer(status int, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// courierOf returns a courier to a carrier without a network.
func courierOf(carrier roundTrip) *Courier {
	return &Courier{url: "http://carrier.example/messages", client: &http.Client{Transport: carrier}}
}

var hello = Message{ID: "abcdefgh12345678", Number: 1, To: "+12125550123", Text: "Hello \u2028 <Ada>"}

func TestACourierSendsTheMessageWithItsKey(t *testing.T) {
	var got *http.Request
	var body string
	carrier := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		got, body = r, string(content)
	}))
	defer carrier.Close()
	courier := NewCourier(carrier.URL+"/v1?x=y", 2)
	defer courier.Close()
	receipt, err := courier.Deliver(t.Context(), hello, unnoted)
	require.NoError(t, err)
	require.Equal(t, 1, receipt.Attempts)
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "/v1?x=y", got.URL.String())
	require.Equal(t, hello.ID, got.Header.Get("Idempotency-Key"))
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.JSONEq(t, `{"to":"+12125550123","text":"Hello \u2028 <Ada>"}`, body)
}

func TestACourierDoesNotFollowRedirects(t *testing.T) {
	calls := 0
	carrier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer carrier.Close()
	courier := NewCourier(carrier.URL, 1)
	defer courier.Close()
	_, err := courier.Deliver(t.Context(), hello, unnoted)
	require.ErrorContains(t, err, "302 Found")
	require.Equal(t, 1, calls)
}

func TestARefusalTellsWhatTheCarrierSays(t *testing.T) {
	for _, c := range []struct{ kind, body, want string }{
		{"text/plain; charset=utf-8", " nobody has this number\nat line 3", "the carrier answered 400 Bad Request: nobody has this number"},
		{"text/html", "<h1>no</h1>", "the carrier answered 400 Bad Request"},
		{"", "what", "the carrier answered 400 Bad Request"},
		{"text/plain", strings.Repeat("é", 500), "the carrier answered 400 Bad Request: " + strings.Repeat("é", 200)},
		{"text/plain", "bad \xff byte", "the carrier answered 400 Bad Request: bad  byte"},
	} {
		courier := courierOf(func(*http.Request) (*http.Response, error) {
			resp := answer(400, "Content-Type", c.kind)
			resp.Body = io.NopCloser(strings.NewReader(c.body))
			return resp, nil
		})
		require.EqualError(t, courier.attempt(t.Context(), hello), c.want)
	}
}

func TestErrorsDoNotShowTheAddress(t *testing.T) {
	courier := courierOf(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	courier.url = "http://user:secret@carrier.example/"
	err := courier.attempt(t.Context(), hello)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotContains(t, err.Error(), "secret")
	require.True(t, temporary(err))
}

func TestACourierStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	courier := courierOf(func(r *http.Request) (*http.Response, error) {
		cancel(errOperator)
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	_, err := courier.Deliver(ctx, hello, unnoted)
	require.ErrorIs(t, err, errOperator)
}
