// Command crawler fetches the pages of several hosts, from one page on, by the
// links between them: each page once, at most two at a time from one host,
// pages with the fewest links to them first. An overloaded host tells when to
// try again.
//
//	go run ./examples/crawler [-hosts 4] [-pages 30] [-width 6] [-per-host 2] [-latency 20ms] [-state crawler.json]
//
// It starts the hosts itself, on loopback addresses. It prints each page when
// it has arrived, and the number of pages at the end. It takes about two
// seconds. After an interrupt it waits for the fetches underway, saves the
// pages that are still to be fetched, and ends with status 1. The next start
// continues from there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// patience is the time that the fetches underway have after an interrupt.
// Fetches that take longer are canceled and repeated by the next start.
const patience = 5 * time.Second

type config struct {
	hosts, pages   int
	width, perHost int
	latency        time.Duration
	state          string
}

func main() {
	var c config
	flag.IntVar(&c.hosts, "hosts", 4, "how many hosts there are")
	flag.IntVar(&c.pages, "pages", 30, "how many pages each host has")
	flag.IntVar(&c.width, "width", 6, "how many pages are fetched at once")
	flag.IntVar(&c.perHost, "per-host", 2, "how many of them from one host")
	flag.DurationVar(&c.latency, "latency", 20*time.Millisecond, "how long a host takes for a page")
	flag.StringVar(&c.state, "state", "crawler.json", "the `file` for the pages that an interrupt leaves over")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, c); err != nil {
		fmt.Fprintln(os.Stderr, "crawler:", err)
		os.Exit(1)
	}
}

var errInterrupted = errors.New("interrupted")

// run crawls until there is no page left, or ctx ends.
func run(ctx context.Context, out io.Writer, c config) error {
	if min(c.hosts, c.pages, c.width, c.perHost) < 1 {
		return errors.New("-hosts, -pages, -width and -per-host should be at least 1")
	}
	sites := newSites(c.hosts, c.pages, c.perHost, c.latency)
	transport, closeSites, err := sites.listen()
	if err != nil {
		return err
	}
	defer closeSites()
	state, err := load(c.state)
	if err != nil {
		return err
	}

	crawl := newCrawler(&http.Client{Transport: transport}, sites.has, c.width, c.perHost)
	printed := crawl.print(out)
	if state == nil {
		err = crawl.add("http://"+hostName(0)+"/0", 0)
	} else {
		fmt.Fprintf(out, "continuing: %d pages are known, %d of them to be fetched\n", len(state.Known), len(state.Pending))
		err = crawl.restore(state)
	}
	if err != nil {
		return err
	}
	select {
	case <-crawl.queue.Empty().Done():
		crawl.queue.Stop()
		<-printed.Done()
		if err := os.Remove(c.state); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s := crawl.queue.Stats()
		fmt.Fprintf(out, "%d pages, %d missing, %d attempts repeated, at most %d at a time from one host\n",
			s.Finished, s.Failed, s.Retries, sites.busiest())
		return nil
	case <-ctx.Done():
		left := crawl.stop(patience)
		<-printed.Done()
		if err := save(c.state, left); err != nil {
			return err
		}
		return fmt.Errorf("%w: %d pages are to be fetched by the next start, from %s", errInterrupted, len(left.Pending), c.state)
	}
}
