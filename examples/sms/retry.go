package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	maxAttempts   = 8
	firstDelay    = 250 * time.Millisecond
	maxDelay      = 16 * time.Second
	maxRetryAfter = time.Minute
)

// Retry calls attempt until it succeeds, fails for good, was called 8 times,
// or ctx ends. Before each wait it calls note. It returns the number of calls
// and the error of the last one.
func Retry(ctx context.Context, attempt func(context.Context) error, note func(n int, err error)) (int, error) {
	for n := 1; ; n++ {
		err := attempt(ctx)
		switch {
		case ctx.Err() != nil && err != nil:
			return n, context.Cause(ctx)
		case err == nil, n == maxAttempts, !temporary(err):
			return n, err
		}
		wait := delay(n, err)
		note(n, err)
		select {
		case <-ctx.Done():
			return n, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// temporary reports whether another attempt may succeed: every failure of the
// network may pass, and so may some answers.
func temporary(err error) bool {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return true
	}
	switch refusal.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return refusal.Status >= 500 && refusal.Status != http.StatusNotImplemented
}

// delay returns the wait after attempt n: it doubles each time, part of it is
// chance, so that many senders do not come back at once, and it is never less
// than what the carrier asked for.
func delay(n int, err error) time.Duration {
	backoff := min(firstDelay<<(n-1), maxDelay)
	wait := backoff/2 + rand.N(backoff/2)
	var refusal *Refusal
	if errors.As(err, &refusal) {
		wait += min(refusal.RetryAfter, maxRetryAfter)
	}
	return wait
}

// parseRetryAfter reads a Retry-After header: seconds, or a date. What makes
// no sense is 0; what is beyond a minute is a minute.
func parseRetryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
