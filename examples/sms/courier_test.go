//go:build suites

package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
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
	require.NoError(t, courier.Deliver(t.Context(), hello))
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
	err := courier.Deliver(t.Context(), hello)
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
		require.EqualError(t, courier.Deliver(t.Context(), hello), c.want)
	}
}

func TestErrorsDoNotShowTheAddress(t *testing.T) {
	courier := courierOf(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	courier.url = "http://user:secret@carrier.example/"
	err := courier.Deliver(t.Context(), hello)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotContains(t, err.Error(), "secret")
}

func TestACourierStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	courier := courierOf(func(r *http.Request) (*http.Response, error) {
		cancel(errOperator)
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	})
	require.ErrorIs(t, courier.Deliver(ctx, hello), errOperator)
}

// deliver sends a message with the retries of the queue, to a carrier that
// gives these answers.
func deliver(t *testing.T, answers ...*http.Response) (calls int, took time.Duration, err error) {
	begun := time.Now()
	courier := courierOf(func(*http.Request) (*http.Response, error) {
		calls++
		return answers[min(calls, len(answers))-1], nil
	})
	_, err = twill.Retry(t.Context(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, courier.Deliver(ctx, hello)
	}, retries)
	return calls, time.Since(begun), err
}

func TestWhatMaySucceedIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, _, err := deliver(t, answer(500), answer(503), answer(200))
		require.NoError(t, err)
		require.Equal(t, 3, calls)

		calls, took, err := deliver(t, answer(503))
		require.Equal(t, maxAttempts, calls)
		require.Equal(t, "the carrier answered 503 Service Unavailable", trouble(err))
		// 0.25 + 0.5 + ... + 16 s, half of it at least
		require.GreaterOrEqual(t, took, 15*time.Second)
		require.LessOrEqual(t, took, 32*time.Second)

		for status, again := range map[int]bool{
			301: false, 400: false, 401: false, 403: false, 404: false, 422: false, 501: false,
			408: true, 409: true, 425: true, 429: true, 500: true, 502: true, 503: true, 504: true,
		} {
			calls, _, _ = deliver(t, answer(status), answer(200))
			require.Equal(t, again, calls == 2, status)
		}
	})
}

func TestARetryWaitsAsLongAsTheCarrierAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after, want := range map[string]time.Duration{"7": 7 * time.Second, "3600": time.Minute, "99999999999999999999": time.Minute} {
			_, took, err := deliver(t, answer(429, "Retry-After", after), answer(200))
			require.NoError(t, err)
			require.Equal(t, want, took)
		}
		_, took, err := deliver(t, answer(429, "Retry-After", "soon"), answer(200))
		require.NoError(t, err)
		require.LessOrEqual(t, took, 250*time.Millisecond)
	})
}

func TestAnAttemptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		courier := courierOf(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		})
		begun := time.Now()
		_, err := twill.Retry(t.Context(), func(ctx context.Context) (struct{}, error) {
			return struct{}{}, courier.Deliver(ctx, hello)
		}, retries)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.GreaterOrEqual(t, time.Since(begun), maxAttempts*attemptTimeout)
	})
}

func TestMessagesAreStartedAtTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Nil(t, newPace(0))
		limit, begun := newPace(4), time.Now()
		for range 9 {
			require.NoError(t, limit.Wait(t.Context()))
		}
		require.Equal(t, 2*time.Second, time.Since(begun))
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errOperator)
		require.ErrorIs(t, limit.Wait(ctx), errOperator)
		require.NoError(t, limit.Wait(t.Context()))
		require.Equal(t, 2250*time.Millisecond, time.Since(begun), "a wait that was given up takes no start")
	})
}
