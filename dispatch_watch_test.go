package twill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestEventsTellWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		kit.PutJob(t, q, 0, 0)
		synctest.Wait()
		start := time.Now()
		events := q.Events(t.Context())
		kit.PutJob(t, q, time.Second, 0)
		two := kit.PutJob(t, q, time.Second, 7)
		gone := kit.PutJob(t, q, time.Second, 8)
		require.NoError(t, q.Reprioritize(two, 6))
		gone.Cancel(nil)
		q.Pause()
		q.Pause()
		time.Sleep(time.Second)
		synctest.Wait()
		q.SetRate(nil)
		require.NoError(t, q.ResumeWidth(2))
		synctest.Wait()
		q.StopNow()
		var got []string
		for e := range events {
			text := fmt.Sprint(e.Kind, " ", e.Time.Sub(start), " width ", e.Width)
			if e.Job != nil {
				text += fmt.Sprint(" ", e.State, " ", e.Priority)
			}
			require.Zero(t, e.Lost)
			got = append(got, text)
		}
		require.Equal(t, []string{
			"put 0s width 1 pending 0",
			"started 0s width 1 underway 0",
			"put 0s width 1 pending 7",
			"put 0s width 1 pending 8",
			"reprioritized 0s width 1 pending 6",
			"ended 0s width 1 canceled 8",
			"paused 0s width 1",
			"ended 1s width 1 finished 0",
			"rate 1s width 1",
			"width 1s width 2",
			"resumed 1s width 2",
			"started 1s width 2 underway 6",
			"stopped 1s width 0",
			"ended 1s width 0 canceled 6",
		}, got)
		for range q.Events(t.Context()) {
			t.Error("an event after the end")
		}
		require.Equal(t, "EventKind(99)", twill.EventKind(99).String())
	})
}

func TestEventsOfARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqFlaky(), &twill.DispatchOptions{Retry: rdqRetry(time.Second)})
		events := q.Events(t.Context())
		_, err := kit.PutJob(t, q, 1, 0).Await(t.Context())
		require.NoError(t, err)
		q.Stop()
		var kinds []string
		for e := range events {
			kinds = append(kinds, e.Kind.String())
		}
		require.Equal(t, []string{"put", "started", "retry", "started", "ended", "stopped"}, kinds)
	})
}

// TestSlowReaderOfEventsHoldsNothingUp: a slow reader loses the oldest events,
// which Lost counts.
func TestSlowReaderOfEventsHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		q.Pause()
		events := q.Events(t.Context())
		for n := range 2000 {
			kit.PutJob(t, q, time.Duration(n), 0)
		}
		n, lost := 0, 0
		for e := range events {
			if n++; n == 1 {
				require.Equal(t, time.Duration(2000-1024), e.Job.Arg())
				lost = e.Lost
				kit.PutJob(t, q, 0, 0) // there is room again
			} else {
				require.Zero(t, e.Lost)
			}
			if n == 1025 {
				break
			}
		}
		require.Equal(t, 2000-1024, lost)
	})
}

func TestEventsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var ended atomic.Int32
		for range 2 {
			go func() {
				for range q.Events(ctx) {
				}
				ended.Add(1)
			}()
			go func() {
				for range q.Results(ctx) {
				}
				ended.Add(1)
			}()
		}
		never := q.Results(ctx)
		synctest.Wait()
		require.Zero(t, ended.Load())
		cancel()
		synctest.Wait()
		require.EqualValues(t, 4, ended.Load())
		for range never {
			t.Error("a result after the end")
		}
		//lint:ignore SA1012 that is what is tested
		require.Panics(t, func() { q.Events(nil) }) //nolint:staticcheck
		//lint:ignore SA1012 that is what is tested
		require.Panics(t, func() { q.Results(nil) }) //nolint:staticcheck
	})
}

func TestResultsComeInOrderOfCompletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 10})
		results := q.Results(t.Context())
		_, err := q.PutAll([]time.Duration{30, 10, 20}, 0)
		require.NoError(t, err)
		gone := kit.PutJob(t, q, time.Hour, 0)
		timed, err := q.Put(time.Hour, 0, twill.JobOptions{Timeout: 15})
		require.NoError(t, err)
		synctest.Wait()
		gone.Cancel(nil)
		for range 5000 {
			kit.PutJob(t, q, 40, 0)
		}
		var order []time.Duration
		for j := range results {
			r, ok := j.Poll()
			require.True(t, ok, "settled")
			order = append(order, j.Arg())
			switch j {
			case gone:
				require.ErrorIs(t, r.Err, twill.ErrCanceled)
			case timed:
				require.ErrorIs(t, r.Err, context.DeadlineExceeded)
			default:
				require.NoError(t, r.Err)
			}
			if len(order) == 5005 {
				q.Stop()
			}
		}
		require.Equal(t, []time.Duration{time.Hour, 10, time.Hour, 20, 30, 40, 40}, order[:7])
	})
}

// TestResultsBreak: a reader that stops is forgotten, other readers are not.
func TestResultsBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		one, two := q.Results(t.Context()), q.Results(t.Context())
		for n := range 3 {
			kit.PutJob(t, q, time.Duration(n+1), 0)
		}
		for j := range one {
			require.Equal(t, time.Duration(1), j.Arg())
			break
		}
		time.Sleep(time.Second)
		synctest.Wait()
		q.Stop()
		n := 0
		for range two {
			n++
		}
		require.Equal(t, 3, n)
		for range one {
			t.Error("it can be read once")
		}
	})
}

func TestWaterMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told kit.Record[string]
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{
			High: 4, Low: 1,
			OnHigh: func(n int) { told.Add(fmt.Sprint("high ", n)) },
			OnLow:  func(n int) { told.Add(fmt.Sprint("low ", n)) },
		})
		for range 6 {
			kit.PutJob(t, q, time.Second, 0)
			synctest.Wait()
		}
		require.Equal(t, []string{"high 4"}, told.All(), "once, not for each job above it")
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"high 4"}, told.All())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"high 4", "low 1"}, told.All())
		time.Sleep(time.Minute)
		synctest.Wait()
		_, err := q.PutAll(make([]time.Duration, 9), 0)
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"high 4", "low 1", "high 8", "low 1"}, told.All())
		q.Pause()
		_, err = q.PutAll(make([]time.Duration, 9), 0)
		require.NoError(t, err)
		q.Clear()
		synctest.Wait()
		require.Equal(t, []string{"high 9", "low 0"}, told.All()[4:])
	})
	for _, o := range []twill.DispatchOptions{{High: 1, Low: 1}, {High: 1, Low: -1}, {High: -1}} {
		require.Panics(t, func() { twill.NewResizableDispatchQueue(kit.SameArg, &o) }, "%+v", o)
	}
}

// TestWaterMarkThatPanics: the panic is reported, and the next mark is called.
func TestWaterMarkThatPanics(t *testing.T) {
	reported := make(chan error, 9)
	previous := twill.OnUnhandled(func(err error) { reported <- err })
	t.Cleanup(func() { twill.OnUnhandled(previous) })
	low := make(chan int, 9)
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{
		High: 2, OnHigh: func(int) { panic("high") }, OnLow: func(n int) { low <- n },
	})
	q.Pause()
	_, err := q.PutAll([]int{1, 2}, 0)
	require.NoError(t, err)
	q.Clear()
	require.Zero(t, <-low)
	require.ErrorContains(t, <-reported, "high")
}

func TestDispatchStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 2})
		for range 10 {
			kit.PutJob(t, q, time.Second, 0)
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
			kit.PutJob(t, q, time.Second, 0)
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		require.InDelta(t, 90.0/60, q.Stats().Throughput, 0.05, "of the last minute")
	})
}

// The names of states, reasons and events are texts in JSON, and are read back.
func TestNamesAreText(t *testing.T) {
	type names struct {
		State  twill.JobState
		Reason twill.WaitReason
		Kind   twill.EventKind
	}
	for i := range 9 {
		in := names{twill.JobState(i % 5), twill.WaitReason(i), twill.EventKind(i + 4)}
		text, err := json.Marshal(in)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf(`{"State":"%v","Reason":"%v","Kind":"%v"}`, in.State, in.Reason, in.Kind), string(text))
		var out names
		require.NoError(t, json.Unmarshal(text, &out))
		require.Equal(t, in, out)
	}
	for _, text := range []string{`{"State":"x"}`, `{"Reason":"x"}`, `{"Kind":"x"}`} {
		require.ErrorContains(t, json.Unmarshal([]byte(text), new(names)), `unknown`)
	}
	require.Equal(t, "EventKind(200)", twill.EventKind(200).String())
	require.Equal(t, "WaitReason(200)", twill.WaitReason(200).String())
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

func TestHistogramAddNIsSeveralAdds(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, time.Microsecond, time.Second, math.MaxInt64} {
		var once, often twill.Histogram
		once.AddN(d, 1000)
		once.AddN(time.Hour, 0)
		for range 1000 {
			often.Add(d)
		}
		require.Equal(t, often, once, d)
	}
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

// pendingQueue returns a paused queue of random jobs.
func pendingQueue(t *testing.T, seed uint64) *twill.ResizableDispatchQueue[time.Duration, time.Duration] {
	random := rand.New(rand.NewPCG(seed, 2))
	q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{
		TakeTurns: seed%2 == 0, Ageing: time.Duration(seed/2%2) * time.Minute, GroupLimit: twill.GroupLimit{Width: int(seed % 3)},
	})
	q.Pause()
	for range random.IntN(300) {
		o := twill.JobOptions{Held: random.IntN(20) == 0}
		if n := random.IntN(8); n > 0 {
			o.Group = fmt.Sprint("group ", n)
		}
		if random.IntN(4) == 0 {
			o.After = time.Duration(1+random.IntN(100)) * time.Second
		}
		kit.PutOpts(t, q, time.Duration(random.IntN(1000)), random.IntN(3), o)
	}
	return q
}

func TestPendingPageAndSeqAreAsPending(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			q := pendingQueue(t, seed)
			all := q.Pending()
			require.Equal(t, all, slices.Collect(q.PendingSeq()), "seed %d", seed)
			for _, n := range []int{0, 1, 7, len(all), len(all) + 1, math.MaxInt} {
				for _, from := range []int{0, 1, len(all) / 2, len(all), math.MaxInt} {
					page := all[min(from, len(all)):]
					require.Equal(t, kit.Args(page[:min(n, len(page))]), kit.Args(q.PendingPage(from, n)), "seed %d, from %d, n %d", seed, from, n)
				}
			}
			for n := range min(len(all), 5) {
				var first []*twill.Job[time.Duration, time.Duration]
				for j := range q.PendingSeq() {
					if len(first) == n {
						break
					}
					first = append(first, j)
				}
				require.Equal(t, kit.Args(all[:n]), kit.Args(first))
			}
			q.Clear()
		})
	}
}

// TestPendingSeqHoldsNoLock: its loop may change the queue, and goes on over
// what was pending when it began.
func TestPendingSeqHoldsNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := pendingQueue(t, 1)
		all := q.Pending()
		require.NotEmpty(t, all)
		seq := q.PendingSeq()
		n := 0
		for j := range seq {
			require.Same(t, all[n], j)
			n++
			if n%2 == 0 {
				require.Equal(t, twill.JobPending, j.State())
				require.True(t, j.Cancel(nil))
			}
			kit.PutJob(t, q, 0, -1)
		}
		require.Len(t, all, n)
		again := 0
		for range seq {
			again++
		}
		require.Equal(t, n+n-n/2, again, "it is read anew")
		q.Clear()
	})
}

func TestFindID(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			q := pendingQueue(t, seed)
			for _, j := range q.Pending() {
				found, ok := q.FindID(j.ID())
				require.True(t, ok, "seed %d, job %s", seed, j.ID())
				require.Same(t, j, found)
				for _, id := range []string{"0" + j.ID(), "+" + j.ID(), j.ID() + " ", "-" + j.ID()} {
					_, ok := q.FindID(id)
					require.False(t, ok, "%q", id)
				}
			}
			for _, id := range []string{"", "0", "-1", "999999", "x", "9223372036854775807", "-9223372036854775808", "9999999999999999999999"} {
				found, ok := q.FindID(id)
				require.False(t, ok, "%q", id)
				require.Nil(t, found)
			}
			q.Clear()
		})
	}
}

// TestFindIDKnowsTheStatesOfJobs: it finds those that are pending or underway.
func TestFindIDKnowsTheStatesOfJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		running, waiting := kit.PutJob(t, q, time.Second, 0), kit.PutJob(t, q, time.Second, 0)
		find := func(j *twill.Job[time.Duration, time.Duration], want bool) {
			t.Helper()
			found, ok := q.FindID(j.ID())
			require.Equal(t, want, ok)
			require.Equal(t, want, found == j)
		}
		find(running, true)
		find(waiting, true)
		waiting.Cancel(nil)
		find(waiting, false)
		running.Cancel(nil) // its call goes on for a while
		find(running, false)

		// An ID that a record brings along is found, and what its number would
		// be otherwise is not.
		restored, err := q.Restore([]twill.JobRecord[time.Duration]{{ID: "one", Arg: time.Second}, {ID: "77", Arg: time.Second}, {Arg: time.Second}})
		require.NoError(t, err)
		for _, j := range restored {
			find(j, true)
		}
		_, ok := q.FindID("-2")
		require.False(t, ok, "the number of one")
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, j := range restored {
			require.Equal(t, twill.JobFinished, j.State())
			find(j, false)
		}
	})
}

func TestStatsSayWhetherPausedAndSinceWhenTheNextJobIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		require.Zero(t, q.Stats().NextSince)
		began := time.Now()
		kit.PutJob(t, q, time.Minute, 0)
		require.Zero(t, q.Stats().NextSince, "it has started")
		time.Sleep(time.Second)
		kit.PutJob(t, q, time.Minute, 0)
		kit.PutOpts(t, q, time.Minute, -1, twill.JobOptions{After: 2 * time.Second})
		require.Equal(t, began.Add(time.Second), q.Stats().NextSince)
		require.False(t, q.Stats().Paused)
		q.Pause()
		time.Sleep(10 * time.Second)
		s := q.Stats()
		require.True(t, s.Paused)
		require.Equal(t, began.Add(3*time.Second), s.NextSince, "since it was due")
		require.Contains(t, s.String(), ", paused")
		sum := s.Add(twill.DispatchStats{NextSince: began})
		require.True(t, sum.Paused)
		require.Equal(t, began, sum.NextSince)
		require.NoError(t, q.Resume())
		require.NotContains(t, q.Stats().String(), "paused")
		q.StopNow()
	})
}
