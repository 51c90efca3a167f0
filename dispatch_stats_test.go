package twill_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestDispatchStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Width: 2})
		for range 10 {
			rdqPut(t, q, time.Second, 0)
		}
		_, err := q.Put(time.Second, 0, twill.JobOptions{After: time.Hour})
		require.NoError(t, err)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		s := q.Stats()
		require.Equal(t, []int{2, 2, 5, 1}, []int{s.Width, s.Underway, s.Pending, s.Delayed})
		require.Equal(t, []uint64{11, 4, 0, 0}, []uint64{s.Put, s.Finished, s.Failed, s.Canceled})
		require.InDelta(t, 4/2.5, s.Throughput, 1e-6)
		require.EqualValues(t, 6, s.Waiting.Count())
		require.Equal(t, 2*time.Second, s.Waiting.Max())
		require.Equal(t, time.Second, s.Waiting.Mean())
		require.Equal(t, time.Second, s.Running.Max())
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		require.Zero(t, q.Stats().Throughput, "nothing has ended in the last minute")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 0, q.Stats().Pending)
		w := q.Stats().Waiting
		require.Less(t, w.Max(), time.Minute, "a delay is no waiting")
		for range 90 {
			rdqPut(t, q, time.Second, 0)
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		require.InDelta(t, 90.0/60, q.Stats().Throughput, 0.05, "of the last minute")
	})
}

func TestHistogram(t *testing.T) {
	var h twill.Histogram
	require.Zero(t, h.Count())
	require.Zero(t, h.Mean())
	require.Zero(t, h.Quantile(0.5))
	for range h.Buckets() {
		t.Error("a bucket of an empty histogram")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	var sum time.Duration
	for range 10_000 {
		d := time.Duration(rng.ExpFloat64() * float64(10*time.Millisecond))
		all, sum = append(all, d), sum+d
		h.Add(d)
	}
	slices.Sort(all)
	require.EqualValues(t, len(all), h.Count())
	require.Equal(t, sum/10_000, h.Mean())
	require.Equal(t, all[len(all)-1], h.Max())
	for _, p := range []float64{0.01, 0.1, 0.5, 0.9, 0.99, 0.999} {
		want := float64(all[int(p*float64(len(all)-1))])
		require.InEpsilon(t, want, float64(h.Quantile(p)), 0.13, "quantile %v", p)
	}
	require.Equal(t, h.Quantile(0), h.Quantile(-3))
	require.Equal(t, h.Quantile(1), h.Quantile(7))
	var n uint64
	last := time.Duration(0)
	for to, k := range h.Buckets() {
		require.Greater(t, to, last)
		last = to
		n += k
		i, _ := slices.BinarySearch(all, to)
		require.EqualValues(t, i, n, "all that is less than %v", to)
	}
	require.EqualValues(t, len(all), n)
}

func TestHistogramOfExtremes(t *testing.T) {
	var h twill.Histogram
	h.Add(-time.Second)
	h.Add(0)
	h.Add(1<<63 - 1)
	require.EqualValues(t, 3, h.Count())
	require.Equal(t, time.Duration(1<<63-1), h.Max())
	require.Equal(t, time.Duration(1<<63-1)/3, h.Mean())
	require.Less(t, h.Quantile(0), 2*time.Microsecond)
	require.Greater(t, h.Quantile(1), time.Hour)
	var ends []time.Duration
	for to, n := range h.Buckets() {
		if n > 0 {
			ends = append(ends, to)
		}
	}
	require.Equal(t, []time.Duration{1 << 10, 1<<63 - 1}, ends)
	for range 1000 {
		h.Add(1<<63 - 1)
	}
	require.InEpsilon(t, float64(1<<63-1)*1001/1003, float64(h.Mean()), 1e-9, "the sum is beyond 64 bits")
}
