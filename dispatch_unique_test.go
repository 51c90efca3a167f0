package twill_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestKeyJoinsTheJobThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		a := twill.JobOptions{Key: "a"}
		underway := rdqPutOpts(t, q, time.Second, 0, a)
		require.Equal(t, "a", underway.Key())
		require.Same(t, underway, rdqPutOpts(t, q, 2*time.Second, -5, a), "underway")
		require.Equal(t, 0, underway.Priority(), "it has started: no priority helps any more")
		refused := a
		refused.Refuse = true
		there, err := q.Put(time.Second, 0, refused)
		require.ErrorIs(t, err, twill.ErrDuplicateJob)
		require.Same(t, underway, there)

		b := rdqPutOpts(t, q, time.Second, 5, twill.JobOptions{Key: "b"})
		c := rdqPut(t, q, time.Second, 3)
		require.Same(t, b, rdqPutOpts(t, q, time.Second, 7, twill.JobOptions{Key: "b"}))
		require.Equal(t, 5, b.Priority(), "a less urgent one changes nothing")
		require.Same(t, b, rdqPutOpts(t, q, time.Second, 1, twill.JobOptions{Key: "b"}))
		require.Equal(t, 1, b.Priority(), "it is as urgent as whoever needs it most")
		require.Equal(t, b, q.Pending()[0])
		requireSize(t, q, 1, 2)

		time.Sleep(time.Second)
		synctest.Wait()
		again := rdqPutOpts(t, q, time.Second, 9, a)
		require.NotSame(t, underway, again, "the key is free when the job has ended")
		s := q.Stats()
		require.Equal(t, []uint64{4, 3, 1}, []uint64{s.Put, s.Joined, s.Refused})
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, twill.JobFinished, c.State())
		require.Equal(t, twill.JobFinished, again.State())
	})
}

func TestKeyedJobTakesTheShorterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		start := time.Now()
		j := rdqPutOpts(t, q, 1, 0, twill.JobOptions{Key: "a", After: time.Hour})
		rdqPutOpts(t, q, 1, 0, twill.JobOptions{Key: "a", After: time.Minute})
		rdqPutOpts(t, q, 1, 0, twill.JobOptions{Key: "a", After: 2 * time.Minute})
		require.Equal(t, start.Add(time.Minute), j.Due())
		k := rdqPutOpts(t, q, 1, 0, twill.JobOptions{Key: "b", After: time.Hour})
		rdqPutOpts(t, q, 1, 0, twill.JobOptions{Key: "b"})
		_, err := k.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, start, k.Started())
		_, err = j.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, start.Add(time.Minute), j.Started())
	})
}

// TestKeyIsFreeAfter has every way for a job to end.
func TestKeyIsFreeAfter(t *testing.T) {
	type job = *twill.Job[time.Duration, time.Duration]
	for name, test := range map[string]struct {
		paused bool
		arg    time.Duration
		opts   twill.JobOptions
		end    func(q *timedQueue, j job)
	}{
		"success":               {arg: time.Second},
		"panic":                 {arg: -1},
		"goexit":                {arg: -2},
		"a timeout":             {arg: time.Hour, opts: twill.JobOptions{Timeout: time.Second}},
		"a cancel when pending": {paused: true, end: func(_ *timedQueue, j job) { j.Cancel(nil) }},
		"a cancel underway":     {arg: time.Hour, end: func(_ *timedQueue, j job) { j.Cancel(nil) }},
		"Clear":                 {paused: true, end: func(q *timedQueue, _ job) { q.Clear() }},
		"a failing limiter": {paused: true, end: func(q *timedQueue, _ job) {
			q.SetRate(limiterFunc(func(context.Context) error { return errBoom }))
			q.Resume()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (time.Duration, error) {
					time.Sleep(time.Second)
					switch d {
					case -1:
						panic("boom")
					case -2:
						runtime.Goexit()
					}
					return rdqSleep(ctx, d)
				}, nil)
				if test.paused {
					q.Pause()
				}
				o := test.opts
				o.Key, o.Refuse = "k", true
				j := rdqPutOpts(t, q, test.arg, 0, o)
				_, err := q.Put(0, 0, o)
				require.ErrorIs(t, err, twill.ErrDuplicateJob)
				synctest.Wait()
				if test.end != nil {
					test.end(q, j)
				} else {
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				_, ended := j.Poll()
				require.True(t, ended)
				rdqPutOpts(t, q, 0, 0, o)
				time.Sleep(time.Minute)
				q.StopNow()
			})
		})
	}
}

// TestLeavingAJoinedJobAlone: each caller has a future of its own.
func TestLeavingAJoinedJobAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		watch := func() *twill.Future[time.Duration] {
			return rdqPutOpts(t, q, time.Second, 0, twill.JobOptions{Key: "a"}).Tap(func(time.Duration, error) {})
		}
		one, two, three := watch(), watch(), watch()
		one.Cancel(nil)
		requireFailure(t, twill.ErrCanceled, one)
		requirePending(t, two)
		two.Cancel(nil)
		requirePending(t, three)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		requireValue(t, time.Second, three)

		one, two = watch(), watch()
		one.Cancel(nil)
		two.Cancel(errBoom)
		synctest.Wait() // it may be the worker that settles the job, as its context has ended
		requireFailure(t, errBoom, two)
		requireSize(t, q, 0, 0)
		require.EqualValues(t, 1, q.Stats().Canceled, "the last one to leave takes it down")
	})
}
