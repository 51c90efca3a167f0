package prom_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/docs/markdown"
	"github.com/twillgo/twill/prom"
)

var update = flag.Bool("update", false, "write the golden file")

// scrape returns what a server shows of c, which has to be consistent with its
// descriptions.
func scrape(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	var text strings.Builder
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&text, f)
		require.NoError(t, err)
	}
	return text.String()
}

// Everything that is exported, by name, type, label and value.
func TestGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (int, error) {
			time.Sleep(d)
			if d == 20*time.Millisecond {
				return 0, errors.New("failed")
			}
			return 0, nil
		}, &twill.DispatchOptions{Width: 2})
		for _, d := range []time.Duration{0, 10 * time.Millisecond, 20 * time.Millisecond, time.Hour, time.Hour, time.Minute} {
			_, err := q.Put(d, 0)
			require.NoError(t, err)
		}
		gone, err := q.Put(time.Hour, 9)
		require.NoError(t, err)
		gone.Cancel(nil)
		_, err = q.Put(0, 0, twill.JobOptions{After: time.Hour, Key: "once"})
		require.NoError(t, err)
		_, err = q.Put(0, 0, twill.JobOptions{After: time.Hour, Key: "once"})
		require.NoError(t, err)
		time.Sleep(time.Second)

		var pool twill.Pool
		pending := twill.NewPromise[int]()
		require.NoError(t, pool.Add(pending.Future()))
		require.NoError(t, pool.Add(twill.Resolved(1)))
		time.Sleep(time.Second)

		pooler := twill.NewPooler(func(ctx context.Context, key string) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		twill.OnUnhandled(nil) // one job fails on purpose
		calls := []*twill.Future[int]{pooler.Call(t.Context(), "a"), pooler.Call(t.Context(), "a"), pooler.Call(t.Context(), "b")}

		c := prom.NewCollector(&prom.Options{Labels: prometheus.Labels{"service": "test"}})
		require.NoError(t, c.Add(prom.Dispatch("sms", q.Stats), prom.Pool("requests", pool.Stats), prom.Pooler("users", pooler.Stats)))
		got := scrape(t, c)
		if *update {
			require.NoError(t, os.WriteFile("testdata/golden.txt", []byte(got), 0o600))
		}
		want, err := os.ReadFile("testdata/golden.txt")
		require.NoError(t, err)
		require.Equal(t, string(want), got)

		for _, f := range calls {
			f.Cancel(nil)
		}
		pending.Resolve(1)
		q.StopNow()
		time.Sleep(3 * time.Hour)
	})
}

// Counts of durations are exact, even next to the limits of the exported
// buckets.
func TestHistogramIsExact(t *testing.T) {
	durations := []time.Duration{0, 1, time.Microsecond, time.Millisecond, 1<<20 - 1, 1 << 20, 3 * time.Millisecond, time.Second,
		time.Minute, 1<<42 - 1, 1<<42 + 1, 90 * time.Minute, 1000 * time.Hour}
	for n := range len(durations) + 1 {
		var h twill.Histogram
		var sum time.Duration
		for _, d := range durations[:n] {
			h.Add(d)
			sum += d
		}
		c := prom.NewCollector(nil)
		c.MustAdd(prom.Dispatch("q", func() twill.DispatchStats { return twill.DispatchStats{Running: h} }))
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		families, err := registry.Gather()
		require.NoError(t, err)
		found := false
		for _, f := range families {
			if f.GetName() != "twill_job_run_duration_seconds" {
				continue
			}
			found = true
			got := f.GetMetric()[0].GetHistogram()
			require.EqualValues(t, n, got.GetSampleCount())
			require.InDelta(t, sum.Seconds(), got.GetSampleSum(), 1e-6)
			require.Len(t, got.GetBucket(), 23)
			for _, b := range got.GetBucket() {
				want := 0
				for _, d := range durations[:n] {
					if d < time.Duration(math.Round(b.GetUpperBound()*1e9)) {
						want++
					}
				}
				require.EqualValues(t, want, b.GetCumulativeCount(), "%d durations up to %v s", n, b.GetUpperBound())
			}
		}
		require.True(t, found)
	}
}

// Names are few, distinct and printable.
func TestNamesAreBounded(t *testing.T) {
	stats := new(twill.Pool).Stats
	c := prom.NewCollector(&prom.Options{MaxNames: 2})
	require.ErrorContains(t, c.Add(prom.Pool("", stats)), "without a name")
	require.ErrorContains(t, c.Add(prom.Pool("\xff", stats)), "not UTF-8")
	require.ErrorContains(t, c.Add(prom.Source{}), "zero Source")
	require.ErrorContains(t, c.Add(prom.Pool("a", stats), prom.Pool("a", stats)), `pool "a" was added before`)
	require.NotContains(t, scrape(t, c), `"a"`, "nothing is added where one is refused")
	require.NoError(t, c.Add(prom.Pool("a", stats)))
	require.NoError(t, c.Add(prom.Dispatch("a", func() (s twill.DispatchStats) { return s })), "another kind")
	require.ErrorIs(t, c.Add(prom.Pool("b", stats)), prom.ErrTooManyNames)
	require.True(t, c.Remove("a"))
	require.False(t, c.Remove("a"))
	require.NotContains(t, scrape(t, c), `"a"`)
	require.NoError(t, c.Add(prom.Pool("b", stats)))

	unbounded := prom.NewCollector(&prom.Options{MaxNames: -1})
	for n := range 200 {
		require.NoError(t, unbounded.Add(prom.Pool(strings.Repeat("x", n+1), stats)))
	}
	require.PanicsWithValue(t, "prom: nil function for the pool p", func() { prom.Pool("p", nil) })
	require.Panics(t, func() { unbounded.MustAdd(prom.Pool("", stats)) })
}

// Sources come and go while others are read.
func TestConcurrentScrapes(t *testing.T) {
	c := prom.NewCollector(nil)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	var pool twill.Pool
	var wg sync.WaitGroup
	for n := range 4 {
		name := string(rune('a' + n))
		wg.Go(func() {
			for range 100 {
				if err := c.Add(prom.Pool(name, pool.Stats)); err != nil {
					t.Error(err)
				}
				if !c.Remove(name) {
					t.Error("not removed")
				}
			}
		})
		wg.Go(func() {
			for range 100 {
				if _, err := registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// The dashboard uses metrics that exist.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	golden, err := os.ReadFile("testdata/golden.txt")
	require.NoError(t, err)
	var exported []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(string(golden), -1) {
		exported = append(exported, m[1])
	}
	asked := 0
	for _, p := range dashboard.Panels {
		require.NotEmpty(t, p.Targets)
		for _, target := range p.Targets {
			for _, name := range regexp.MustCompile(`twill_\w+`).FindAllString(target.Expr, -1) {
				asked++
				require.True(t, slices.Contains(exported, strings.TrimSuffix(name, "_bucket")), "%s in %s", name, target.Expr)
			}
		}
	}
	require.Greater(t, asked, 10)
}

// A collector costs only scrapes: it runs no goroutine, and a put allocates as
// before.
func TestCostsNothingBetweenScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
		put := func() {
			j, err := q.Put(1, 0)
			require.NoError(t, err)
			_, err = j.Await(context.Background())
			require.NoError(t, err)
		}
		before := testing.AllocsPerRun(100, put)
		c := prom.NewCollector(nil)
		c.MustAdd(prom.Dispatch("q", q.Stats))
		scrape(t, c)
		require.LessOrEqual(t, testing.AllocsPerRun(100, put), before)
		// The bubble ends only after all its goroutines have ended.
	})
}

// The program in the README compiles.
func TestDocuments(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the compiler")
	}
	require.NoError(t, markdown.CheckModule(t.TempDir()))
}

// BenchmarkJob is the cost of a put and its run, plain, and with a collector
// of the queue that is not scraped.
func BenchmarkJob(b *testing.B) {
	for _, collected := range []bool{false, true} {
		b.Run(fmt.Sprintf("collected=%v", collected), func(b *testing.B) {
			q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
			if collected {
				c := prom.NewCollector(nil)
				c.MustAdd(prom.Dispatch("q", q.Stats))
				registry := prometheus.NewRegistry()
				registry.MustRegister(c)
			}
			b.ReportAllocs()
			for b.Loop() {
				j, err := q.Put(1, 0)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := j.Await(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkScrape(b *testing.B) {
	q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
	c := prom.NewCollector(nil)
	c.MustAdd(prom.Dispatch("q", q.Stats))
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
