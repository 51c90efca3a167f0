package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/twillgo/twill"
)

// fetcher gets a list that a server serves in pages.
type fetcher struct {
	url      string
	progress func(got, total int) // called after each page
	repeated func(err error)      // called for each attempt that is repeated
}

// followers returns a future of all names, in order and without duplicates. It
// fails with the first error that another attempt cannot fix.
func (f *fetcher) followers(ctx context.Context) *twill.Future[[]string] {
	options := &twill.RetryOptions{
		Backoff:        twill.LimitBackoff(twill.EqualJitter(twill.CapBackoff(twill.ExponentialBackoff(5*time.Millisecond, 2), time.Second)), 10),
		NewTester:      newTester,
		AttemptTimeout: 10 * time.Second,
		OnPause:        func(e twill.RetryEvent) { f.repeated(e.Err) },
	}
	return twill.Go(ctx, func(ctx context.Context) ([]string, error) {
		var all []string
		seen := make(map[string]bool)
		for cursor := -1; cursor != 0; {
			p, err := twill.Retry(ctx, func(ctx context.Context) (page, error) { return f.page(ctx, cursor) }, options)
			if err != nil {
				return nil, fmt.Errorf("after %d followers: %w", len(all), err)
			}
			// If a follower leaves during the run, the others move to earlier pages, so
			// names may come twice.
			for _, name := range p.Followers {
				if !seen[name] {
					seen[name] = true
					all = append(all, name)
				}
			}
			f.progress(len(all), p.Total)
			cursor = p.Next
		}
		return all, nil
	})
}

// newTester makes the failure tester of one page: it goes on if another attempt
// may help, which it may once for a page that was not found.
func newTester() func(error) error {
	missing := 0
	return func(err error) error {
		if isStatus(err, http.StatusNotFound) {
			missing++
		}
		if missing > 1 || !worthAnother(err) {
			return err
		}
		return nil
	}
}

// worthAnother reports whether the next attempt may succeed: if the status says
// so, or if the connection was lost. A page that is not JSON, or a server that
// does not run, will not change.
func worthAnother(err error) bool {
	if isStatus(err, 500, 502, 503, 404) {
		return true
	}
	lost, ok := errors.AsType[*net.OpError](err)
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || ok && lost.Op != "dial"
}

// statusError is the failure of a request that was answered with an error
// status.
type statusError int

func (e statusError) Error() string { return fmt.Sprint("status ", int(e)) }

func isStatus(err error, statuses ...int) bool {
	status, ok := errors.AsType[statusError](err)
	return ok && slices.Contains(statuses, int(status))
}

// page makes one attempt to get a page.
func (f *fetcher) page(ctx context.Context, cursor int) (p page, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprint(f.url, "?cursor=", cursor), nil)
	if err != nil {
		return p, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return p, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return p, statusError(resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return p, err
	}
	err = json.Unmarshal(body, &p)
	return p, err
}
