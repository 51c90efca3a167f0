// Package prom exports the statistics of twill's dispatch queues, pools and
// poolers to Prometheus. Its nearest neighbor is a set of hand-written gauges.
// Unlike those it reads everything at the moment of a scrape, so that it costs
// nothing in between and runs no goroutine.
//
//	c := prom.NewCollector(nil)
//	c.MustAdd(prom.Dispatch("sms", queue.Stats))
//	registry.MustRegister(c)
//
// # Metrics
//
// All names begin with the namespace, "twill" unless [Options] says otherwise.
// Durations are in seconds. For each dispatch queue, with the label "queue":
//
//   - jobs_enqueued_total, jobs_joined_total, jobs_refused_total,
//     job_retries_total: counters since the queue was created;
//   - jobs_finished_total: a counter with the label "outcome", which is
//     "finished", "failed" or "canceled";
//   - queue_jobs: a gauge with the label "state", which is "pending" (due),
//     "delayed" (not due) or "underway";
//   - queue_width: the width; queue_paused: 1 while the queue is paused, else 0;
//   - queue_next_job_age_seconds: how long the job that starts next has been due,
//     0 if there is none. It grows where nothing starts;
//   - job_wait_duration_seconds, job_run_duration_seconds: histograms of the
//     time from a job's due time to its first start, and of each call.
//
// For each pool, with the label "pool": pool_futures, pool_peak_futures,
// pool_waiting and pool_oldest_age_seconds (gauges), pool_added_total. For each
// pooler, with the label "pooler": pooler_underway and pooler_waiting (gauges),
// pooler_calls_total and pooler_merged_total.
//
// The only other label values are the names that the program adds, at most
// [Options].MaxNames of them. No data of a job becomes a label.
package prom

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twillgo/twill"
)

// ErrTooManyNames is returned by [Collector.Add] when the collector has as many
// sources as its options allow.
var ErrTooManyNames = errors.New("prom: too many names")

// Options are the settings of a [Collector]. The zero value of each field is
// its default.
type Options struct {
	// Namespace is the prefix of all metric names; empty means "twill".
	Namespace string

	// Labels are added to all metrics, such as the name of the service. Their
	// values are the same for the life of the collector.
	Labels prometheus.Labels

	// MaxNames is the maximum number of sources, and so bounds the number of time
	// series; 0 means 100, and a negative value means no bound.
	MaxNames int
}

// A Source is an object with statistics, and the name under which they are
// exported. It is constructed by [Dispatch], [Pool] or [Pooler].
type Source struct {
	name    string
	collect func(d *descs, ch chan<- prometheus.Metric)
	kind    string
}

// Dispatch returns a source for a dispatch queue. Pass the method of the queue:
// Dispatch("sms", queue.Stats). stats is called once for each scrape, on the
// goroutine of the scrape.
func Dispatch(name string, stats func() twill.DispatchStats) Source {
	return source("queue", name, stats, (*descs).dispatch)
}

// Pool returns a source for a pool: Pool("connections", pool.Stats). stats is
// called once for each scrape, on the goroutine of the scrape.
func Pool(name string, stats func() twill.PoolStats) Source {
	return source("pool", name, stats, (*descs).pool)
}

// Pooler returns a source for a pooler: Pooler("users", pooler.Stats). stats is
// called once for each scrape, on the goroutine of the scrape.
func Pooler(name string, stats func() twill.PoolerStats) Source {
	return source("pooler", name, stats, (*descs).pooler)
}

func source[S any](kind, name string, stats func() S, write func(*descs, chan<- prometheus.Metric, string, S)) Source {
	if stats == nil {
		panic("prom: nil function for the " + kind + " " + name)
	}
	return Source{name: name, kind: kind, collect: func(d *descs, ch chan<- prometheus.Metric) {
		write(d, ch, name, stats())
	}}
}

// Collector is a [prometheus.Collector] of any number of sources. It is
// constructed by [NewCollector]; it must not be copied. Its methods may be
// called concurrently. It is not registered anywhere by itself.
type Collector struct {
	descs *descs
	max   int

	mu      sync.Mutex
	sources []Source // in the order in which they were added
}

// NewCollector returns a collector without sources. Nil options mean the
// defaults.
func NewCollector(opts *Options) *Collector {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Namespace == "" {
		o.Namespace = "twill"
	}
	if o.MaxNames == 0 {
		o.MaxNames = 100
	}
	return &Collector{descs: newDescs(o.Namespace, o.Labels), max: o.MaxNames}
}

// Add adds sources. It returns an error, and adds none of them, if a name is
// empty, not UTF-8, or in use by a source of the same kind, or if there would
// be more than Options.MaxNames ([ErrTooManyNames]).
func (c *Collector) Add(sources ...Source) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.sources)
	for _, s := range sources {
		switch {
		case s.collect == nil:
			return errors.New("prom: zero Source: use Dispatch, Pool or Pooler")
		case s.name == "":
			return fmt.Errorf("prom: %s without a name", s.kind)
		case !utf8.ValidString(s.name):
			return fmt.Errorf("prom: name of a %s is not UTF-8: %q", s.kind, s.name)
		case slices.ContainsFunc(all, func(other Source) bool { return other.kind == s.kind && other.name == s.name }):
			return fmt.Errorf("prom: %s %q was added before", s.kind, s.name)
		case c.max > 0 && len(all) >= c.max:
			return fmt.Errorf("%w: %s %q would be number %d", ErrTooManyNames, s.kind, s.name, len(all)+1)
		}
		all = append(all, s)
	}
	c.sources = all
	return nil
}

// MustAdd is [Collector.Add] that panics instead of returning an error, for
// names that are constants.
func (c *Collector) MustAdd(sources ...Source) {
	if err := c.Add(sources...); err != nil {
		panic(err)
	}
}

// Remove removes the sources of that name, of any kind, and reports whether
// there was one. Their series end with the next scrape.
func (c *Collector) Remove(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(c.sources), func(s Source) bool { return s.name == name })
	removed := len(rest) < len(c.sources)
	c.sources = rest
	return removed
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs.all {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]. It holds no lock of the collector
// while it reads the statistics.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	sources := c.sources // never changed in place
	c.mu.Unlock()
	for _, s := range sources {
		s.collect(c.descs, ch)
	}
}

// descs are the descriptions of all metrics.
type descs struct {
	enqueued, joined, refused, retries, finished *prometheus.Desc
	jobs, width, paused, next, wait, run         *prometheus.Desc

	futures, peak, poolWaiting, age, added *prometheus.Desc

	underway, waiting, calls, merged *prometheus.Desc

	all []*prometheus.Desc
}

func newDescs(namespace string, labels prometheus.Labels) *descs {
	d := new(descs)
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		one := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, variable, labels)
		d.all = append(d.all, one)
		return one
	}
	d.enqueued = desc("jobs_enqueued_total", "Jobs added to the dispatch queue.", "queue")
	d.joined = desc("jobs_joined_total", "Puts that found a job of their key.", "queue")
	d.refused = desc("jobs_refused_total", "Jobs that were not accepted.", "queue")
	d.retries = desc("job_retries_total", "Calls that failed and are followed by another.", "queue")
	d.finished = desc("jobs_finished_total", "Jobs that have ended, by outcome.", "queue", "outcome")
	d.jobs = desc("queue_jobs", "Jobs in the dispatch queue, by state.", "queue", "state")
	d.width = desc("queue_width", "Maximum number of jobs that run at once.", "queue")
	d.paused = desc("queue_paused", "Whether the dispatch queue is paused.", "queue")
	d.next = desc("queue_next_job_age_seconds", "Time since the job that starts next was due.", "queue")
	d.wait = desc("job_wait_duration_seconds", "Time from when a job was due to its first start.", "queue")
	d.run = desc("job_run_duration_seconds", "Duration of the calls of jobs.", "queue")

	d.futures = desc("pool_futures", "Pending futures in the pool.", "pool")
	d.peak = desc("pool_peak_futures", "Maximum number of futures in the pool since it was made.", "pool")
	d.poolWaiting = desc("pool_waiting", "Futures that wait for the pool to be empty.", "pool")
	d.age = desc("pool_oldest_age_seconds", "Time since the oldest pending future was added.", "pool")
	d.added = desc("pool_added_total", "Futures added to the pool.", "pool")

	d.underway = desc("pooler_underway", "Calls of the pooler's function that are underway.", "pooler")
	d.waiting = desc("pooler_waiting", "Callers that wait for a result.", "pooler")
	d.calls = desc("pooler_calls_total", "Calls made by callers.", "pooler")
	d.merged = desc("pooler_merged_total", "Calls that joined a call of the same key.", "pooler")
	return d
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (d *descs) dispatch(ch chan<- prometheus.Metric, name string, s twill.DispatchStats) {
	counter(ch, d.enqueued, s.Put, name)
	counter(ch, d.joined, s.Joined, name)
	counter(ch, d.refused, s.Refused, name)
	counter(ch, d.retries, s.Retries, name)
	counter(ch, d.finished, s.Finished, name, "finished")
	counter(ch, d.finished, s.Failed, name, "failed")
	counter(ch, d.finished, s.Canceled, name, "canceled")
	gauge(ch, d.jobs, float64(s.Pending-s.Delayed), name, "pending")
	gauge(ch, d.jobs, float64(s.Delayed), name, "delayed")
	gauge(ch, d.jobs, float64(s.Underway), name, "underway")
	gauge(ch, d.width, float64(s.Width), name)
	paused := 0.0
	if s.Paused {
		paused = 1
	}
	gauge(ch, d.paused, paused, name)
	var next time.Duration
	if !s.NextSince.IsZero() {
		next = max(time.Since(s.NextSince), 0)
	}
	gauge(ch, d.next, next.Seconds(), name)
	histogram(ch, d.wait, s.Waiting, name)
	histogram(ch, d.run, s.Running, name)
}

func (d *descs) pool(ch chan<- prometheus.Metric, name string, s twill.PoolStats) {
	gauge(ch, d.futures, float64(s.Len), name)
	gauge(ch, d.peak, float64(s.Peak), name)
	gauge(ch, d.poolWaiting, float64(s.Waiting), name)
	var oldest time.Duration
	if len(s.Ages) > 0 {
		oldest = s.Ages[0]
	}
	gauge(ch, d.age, oldest.Seconds(), name)
	counter(ch, d.added, s.Added, name)
}

func (d *descs) pooler(ch chan<- prometheus.Metric, name string, s twill.PoolerStats) {
	gauge(ch, d.underway, float64(s.Underway), name)
	gauge(ch, d.waiting, float64(s.Waiting), name)
	counter(ch, d.calls, s.Calls, name)
	counter(ch, d.merged, s.Merged, name)
}

// The limits of the exported buckets are the powers of two nanoseconds from
// shortest to longest, 23 in all. Shorter durations are in the first bucket,
// longer ones only in the count.
const (
	shortest time.Duration = 1 << 20 // 1 ms
	longest  time.Duration = 1 << 42 // 73 minutes
)

// histogram exports h. The library counts in four classes for each power of
// two, so that its limits include all limits here, and the counts are exact.
func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h twill.Histogram, name string) {
	buckets := make(map[float64]uint64, 24)
	var below uint64
	limit := shortest
	for to, n := range h.Buckets() {
		for limit <= longest && to > limit {
			buckets[limit.Seconds()] = below
			limit *= 2
		}
		below += n
	}
	for ; limit <= longest; limit *= 2 {
		buckets[limit.Seconds()] = below
	}
	ch <- prometheus.MustNewConstHistogram(d, h.Count(), h.Mean().Seconds()*float64(h.Count()), buckets, name)
}

// String shows the kind and name of s.
func (s Source) String() string { return strings.TrimSpace(s.kind + " " + s.name) }
