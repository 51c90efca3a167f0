//go:build suites

package carrier_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/examples/sms/internal/carrier"
)

const message = `{"to":"+12125550123","text":"Hello"}`

func post(ctx context.Context, c *carrier.Carrier, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/messages", strings.NewReader(body))
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func TestAMessageIsDeliveredOnceForItsKey(t *testing.T) {
	c := carrier.New(carrier.Options{})
	for range 3 {
		require.Equal(t, http.StatusOK, post(t.Context(), c, "a", message).Code)
	}
	require.Equal(t, http.StatusOK, post(t.Context(), c, "b", message).Code)
	require.Equal(t, 2, c.Delivered())
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	c := carrier.New(carrier.Options{})
	for _, body := range []string{"", "x", `{}`, `{"to":"","text":"x"}`, `{"to":"x"}`, `{"to":"x","text":"` + strings.Repeat("y", 1<<17) + `"}`} {
		require.Equal(t, http.StatusBadRequest, post(t.Context(), c, "a", body).Code)
	}
	require.Equal(t, http.StatusBadRequest, post(t.Context(), c, "", message).Code)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/messages", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Zero(t, c.Delivered())
}

func TestACarrierTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := carrier.New(carrier.Options{MinLatency: time.Second, MaxLatency: 2 * time.Second})
		begun := time.Now()
		go func() {
			time.Sleep(500 * time.Millisecond)
			require.Equal(t, http.StatusConflict, post(t.Context(), c, "a", message).Code, "the same message meanwhile")
		}()
		require.Equal(t, http.StatusOK, post(t.Context(), c, "a", message).Code)
		require.GreaterOrEqual(t, time.Since(begun), time.Second)
		require.LessOrEqual(t, time.Since(begun), 2*time.Second)
	})
}

func TestASenderWhoGoesAwaySendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := carrier.New(carrier.Options{MinLatency: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		post(ctx, c, "a", message)
		require.Zero(t, c.Delivered())
		require.Equal(t, http.StatusOK, post(t.Context(), c, "a", message).Code)
		require.Equal(t, 1, c.Delivered())
	})
}

func TestTroubleIsAnAnswerThatIsLostOrAMessageThatIs(t *testing.T) {
	c := carrier.New(carrier.Options{Trouble: 1})
	for i := range 200 {
		require.Equal(t, http.StatusServiceUnavailable, post(t.Context(), c, strconv.Itoa(i), message).Code)
	}
	require.InDelta(t, 100, c.Delivered(), 60)
}

func TestASenderWhoPushesIsToldToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock begins with a full second
		c := carrier.New(carrier.Options{PerSecond: 10})
		for i := range 35 {
			w := post(t.Context(), c, strconv.Itoa(i), message)
			if i < 10 {
				require.Equal(t, http.StatusOK, w.Code)
				continue
			}
			require.Equal(t, http.StatusTooManyRequests, w.Code)
			require.Equal(t, strconv.Itoa(i/10), w.Header().Get("Retry-After"))
		}
		time.Sleep(time.Second)
		require.Equal(t, http.StatusOK, post(t.Context(), c, "later", message).Code)
	})
}
