package work

import (
	"context"
	"net/http"
	"testing"

	"github.com/cristalhq/hedgedhttp"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"

	"github.com/twillgo/twill"
)

// Race of two: both start at once, the first result counts, and the other's
// context ends.

func twillRace(b *testing.B) {
	ctx := context.Background()
	r := twill.NewRace[int, int](nil)
	r.Register(echo)
	r.Register(echo)
	for n := range b.N {
		v, err := r.Execute(ctx, n).Await(ctx)
		must(b, err)
		Sink = v
	}
}

func chanRace(b *testing.B) {
	for n := range b.N {
		ctx, cancel := context.WithCancel(context.Background())
		results := make(chan int, 2)
		for range 2 {
			go func() {
				v, _ := echo(ctx, n)
				results <- v
			}()
		}
		Sink = <-results
		cancel()
	}
}

// A hedge without a delay.
func failsafeRace(b *testing.B) {
	ctx := context.Background()
	executor := failsafe.With(hedgepolicy.NewBuilderWithDelay[int](0).Build())
	for n := range b.N {
		v, err := executor.Get(func() (int, error) { return echo(ctx, n) })
		must(b, err)
		Sink = v
	}
}

// It supports only HTTP requests. This request goes nowhere: the status is the
// result. The second starts a nanosecond after the first.
func hedgedhttpRace(b *testing.B) {
	req, err := http.NewRequest(http.MethodGet, "http://localhost", nil)
	must(b, err)
	client, err := hedgedhttp.New(hedgedhttp.Config{Upto: 2, Transport: transport(func(req *http.Request) (*http.Response, error) {
		v, err := echo(req.Context(), http.StatusOK)
		return &http.Response{StatusCode: v, Body: http.NoBody}, err
	})})
	must(b, err)
	for range b.N {
		resp, err := client.Do(req)
		must(b, err)
		Sink = resp.StatusCode
	}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }
