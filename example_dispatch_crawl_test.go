package twill_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/twillgo/twill"
)

// A crawler fetches each page once, at most three at a time, those near the
// front first. What a page links to is put from inside the job that has read it.
func ExampleResizableDispatchQueue_crawl() {
	links := map[string]string{"/": "/news /about", "/news": "/news/1 /news/2 /", "/about": "/", "/news/1": "/news"}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, links[r.URL.Path])
	}))
	defer site.Close()

	var seen sync.Map
	var q *twill.ResizableDispatchQueue[string, int]
	visit := func(path string) {
		if _, before := seen.LoadOrStore(path, true); !before {
			q.Put(path, strings.Count(path, "/"))
		}
	}
	q = twill.NewResizableDispatchQueue(func(ctx context.Context, path string) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, site.URL+path, nil)
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		for _, link := range strings.Fields(string(body)) {
			visit(link)
		}
		return len(body), err
	}, &twill.DispatchOptions{Width: 3})

	ctx := context.Background()
	pages := q.Results(ctx)
	visit("/")
	q.Empty().Await(ctx) // a job ends after it has put what it found
	q.Stop()
	for job := range pages {
		size, err := job.Await(ctx)
		fmt.Println(job.Arg(), size, err)
	}
	// Unordered output:
	// / 12 <nil>
	// /about 1 <nil>
	// /news 17 <nil>
	// /news/1 5 <nil>
	// /news/2 0 <nil>
}
