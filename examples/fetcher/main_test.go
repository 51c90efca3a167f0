//go:build suites

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// fetch gets the followers from a new server.
func fetch(t *testing.T, s *server) (names []string, repeated []error, err error) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	url, err := s.start(ctx, 7)
	require.NoError(t, err)
	f := &fetcher{
		url:      url,
		progress: func(int, int) {},
		repeated: func(err error) { repeated = append(repeated, err) },
	}
	names, err = f.followers(ctx).Await(ctx)
	return names, repeated, err
}

func wanted(n int) (names []string) {
	for i := range n {
		names = append(names, followerName(i))
	}
	return names
}

func TestAllOfThemInOrderAndEachOnce(t *testing.T) {
	names, repeated, err := fetch(t, &server{
		followers: 5000, size: 100, missing: 1, errors: 0.1, truncated: 0.1, resets: 0.1,
	})
	require.NoError(t, err)
	require.Equal(t, wanted(5000), names)

	count := func(kinds ...error) (n int) {
		for _, err := range repeated {
			for _, kind := range kinds {
				if errors.Is(err, kind) {
					n++
				}
			}
		}
		return n
	}
	require.Equal(t, 1, count(statusError(404)))
	require.NotZero(t, count(statusError(500), statusError(502), statusError(503)))
	require.NotZero(t, count(io.ErrUnexpectedEOF))
}

func TestAnyNumberOfFollowers(t *testing.T) {
	for _, n := range []int{0, 1, 99, 100, 101, 200} {
		names, _, err := fetch(t, &server{followers: n, size: 100})
		require.NoError(t, err)
		require.Equal(t, wanted(n), names)
	}
}

func TestSecond404EndsIt(t *testing.T) {
	_, repeated, err := fetch(t, &server{followers: 500, size: 100, missing: 2})
	require.ErrorIs(t, err, twill.ErrNotRetryable)
	require.ErrorIs(t, err, statusError(404))
	require.Len(t, repeated, 1)
	require.ErrorContains(t, err, "after 100 followers")
}

func TestOtherErrorsEndIt(t *testing.T) {
	_, repeated, err := fetch(t, &server{followers: 500, size: 100, garbage: 3})
	require.ErrorIs(t, err, twill.ErrNotRetryable)
	require.ErrorAs(t, err, new(*json.SyntaxError))
	require.ErrorContains(t, err, "after 200 followers")
	require.Empty(t, repeated)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	f := &fetcher{url: "http://" + listener.Addr().String()}
	_, err = f.followers(t.Context()).Await(t.Context())
	require.ErrorIs(t, err, twill.ErrNotRetryable)
}

func TestInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, interrupt)
	var out strings.Builder
	err := run(ctx, &out, io.Discard, &server{followers: 1_000_000, size: 10, latency: time.Millisecond}, 1)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, out.String())
}

func TestCancel(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	url, err := (&server{followers: 1_000_000, size: 10, latency: time.Millisecond}).start(ctx, 1)
	require.NoError(t, err)
	got := make(chan struct{}, 1_000_000)
	f := &fetcher{url: url, progress: func(int, int) { got <- struct{}{} }}
	followers := f.followers(ctx)
	<-got
	require.True(t, followers.Cancel(nil))
	_, err = followers.Await(ctx)
	require.ErrorIs(t, err, twill.ErrCanceled)
}

func TestBadFlags(t *testing.T) {
	require.EqualError(t, run(t.Context(), io.Discard, io.Discard, &server{followers: -5, size: 1}, 1), "-followers is -5, and should not be negative")
	require.EqualError(t, run(t.Context(), io.Discard, io.Discard, &server{}, 1), "-page is 0, and should be at least 1")
}

func TestProgram(t *testing.T) {
	var out, bar strings.Builder
	require.NoError(t, run(t.Context(), &out, &bar, &server{followers: 300, size: 100, missing: 1}, 1))
	require.Equal(t, "300 followers, from 3 pages; 1 attempts were repeated\n", out.String())
	full := strings.Repeat("#", 50)
	require.True(t, strings.HasSuffix(bar.String(), "\r["+full+"] 300/300\n"), bar.String())
	require.Equal(t, 3, strings.Count(bar.String(), "\r"))
}
