package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

// page is the argument of a job. Its depth is the priority of the job.
type page struct {
	URL   string `json:"url"`
	Depth int    `json:"depth"` // links from the first page to this one
}

// crawler fetches pages and the pages that they link to.
type crawler struct {
	client *http.Client
	wanted func(host string) bool // reports whether to follow a link to a host
	queue  *twill.ResizableDispatchQueue[page, int]

	mu    sync.Mutex // guards known
	known map[string]bool
}

func newCrawler(client *http.Client, wanted func(host string) bool, width, perHost int) *crawler {
	c := &crawler{client: client, wanted: wanted, known: make(map[string]bool)}
	c.queue = twill.NewResizableDispatchQueue(c.fetch, &twill.DispatchOptions{
		Width:      width,
		GroupLimit: twill.GroupLimit{Width: perHost}, // each host is a group
		TakeTurns:  true,                             // of the hosts, among pages of one depth
		Retry: &twill.RetryOptions{
			Backoff:        twill.LimitBackoff(twill.FullJitter(twill.ExponentialBackoff(100*time.Millisecond, 2)), 5),
			AttemptTimeout: 10 * time.Second,
		},
	})
	return c
}

// add adds a page to the queue, unless it is known already.
func (c *crawler) add(address string, depth int) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	u.Fragment = "" // the same page
	address = u.String()
	// A page is known if the queue has accepted it, so that no page is lost in
	// between when the queue is stopped.
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[address] {
		return nil
	}
	if _, err := c.queue.Put(page{address, depth}, depth, twill.JobOptions{Group: u.Host}); err != nil {
		return err
	}
	c.known[address] = true
	return nil
}

var link = regexp.MustCompile(`href="([^"]*)"`) // enough for these hosts; others need an HTML parser

// fetch is the function of the queue: one attempt to get a page. It adds the
// pages that this page links to before it returns, so that the queue is empty
// only when there are none left. It returns the number of links.
func (c *crawler) fetch(ctx context.Context, p page) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return 0, twill.Permanent(err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		return 0, twill.RetryAfterHeader(resp.Header, errors.New(resp.Status))
	case resp.StatusCode != http.StatusOK:
		return 0, twill.Permanent(errors.New(resp.Status))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	links := link.FindAllStringSubmatch(string(body), -1)
	for _, l := range links {
		to, err := req.URL.Parse(html.UnescapeString(l[1]))
		if err != nil || !c.wanted(to.Host) {
			continue
		}
		if err := c.add(to.String(), p.Depth+1); err != nil {
			return 0, err
		}
	}
	return len(links), nil
}

// print prints each page after it was fetched. The future settles when the
// queue is stopped and everything is printed.
func (c *crawler) print(out io.Writer) *twill.Future[struct{}] {
	results := c.queue.Results(context.Background())
	return twill.Go(context.Background(), func(ctx context.Context) (struct{}, error) {
		for job := range results {
			links, err := job.Await(ctx)
			switch {
			case err == nil:
				fmt.Fprintf(out, "%s: %d links\n", job.Arg().URL, links)
			case !errors.Is(err, twill.ErrStopped): // a page for the next start
				if all, ok := errors.AsType[*twill.RetryError](err); ok && all.Last() != nil {
					err = all.Last()
				}
				fmt.Fprintf(out, "%s: %v\n", job.Arg().URL, err)
			}
		}
		return struct{}{}, nil
	})
}

// state is the state that an interrupt saves.
type state struct {
	Known   []string                `json:"known"`
	Pending []twill.JobRecord[page] `json:"pending"`
}

// stop ends the crawl and returns what is left. A Stop alone would lose links:
// it refuses pages that fetches underway have found. Therefore the queue is
// paused first, which accepts these pages, and stopped when those fetches have
// ended, or at once after the given time: then they are among the pages that
// are left.
func (c *crawler) stop(patience time.Duration) *state {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = c.queue.Pause().Await(ctx)
	left, _ := c.queue.StopNow().Await(context.Background())

	s := new(state)
	for _, job := range left {
		s.Pending = append(s.Pending, job.Record())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Known = slices.Sorted(maps.Keys(c.known))
	return s
}

// restore continues a crawl that was stopped.
func (c *crawler) restore(s *state) error {
	c.mu.Lock()
	for _, address := range s.Known {
		c.known[address] = true
	}
	c.mu.Unlock()
	_, err := c.queue.Restore(s.Pending)
	return err
}

// load returns the state in a file, or nil if there is none.
func load(name string) (*state, error) {
	content, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	s := new(state)
	if err == nil {
		err = json.Unmarshal(content, s)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// save replaces the file, as a whole.
func save(name string, s *state) error {
	content, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".tmp", content, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}
