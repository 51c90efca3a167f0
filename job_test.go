package twill_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/clock"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestJobCancelPending(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	kit.PutJob(t, q, 0, 0)
	j, k := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0)
	require.True(t, j.Cancel(kit.ErrFirst))
	kit.RequireFailure(t, kit.ErrFirst, &j.Future)
	kit.RequireFailure(t, twill.ErrCanceled, &j.Future)
	require.Equal(t, twill.JobCanceled, j.State())
	require.False(t, j.EndedAt().IsZero())
	require.True(t, j.StartedAt().IsZero())
	require.Equal(t, []int{2}, kit.Args(q.Pending()), "it has left the queue already")
	require.False(t, j.Cancel(nil))
	gate <- nil
	gate <- nil
	_, err := k.Await(t.Context())
	require.NoError(t, err)
}

// TestJobCancelUnderwayEndsTheFutureButKeepsTheSlot also covers a fault of
// other queues: a timeout frees the slot while the call goes on.
func TestJobCancelUnderwayEndsTheFutureButKeepsTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 1)
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (time.Duration, error) {
			if d == time.Hour {
				<-ctx.Done()
				causes <- context.Cause(ctx)
			}
			time.Sleep(d)
			return d, nil
		}, nil)
		j := kit.PutJob(t, q, time.Hour, 0)
		next := kit.PutJob(t, q, time.Second, 0)
		time.Sleep(time.Minute)
		require.True(t, j.Cancel(kit.ErrFirst))
		kit.RequireFailure(t, kit.ErrFirst, &j.Future)
		require.ErrorIs(t, <-causes, kit.ErrFirst)
		require.Equal(t, twill.JobCanceled, j.State())
		require.Equal(t, time.Minute, j.EndedAt().Sub(j.StartedAt()))
		time.Sleep(time.Minute)
		require.Equal(t, twill.JobPending, next.State(), "the slot is in use until the call returns")
		require.Equal(t, []*twill.Job[time.Duration, time.Duration]{j}, q.Underway())
		kit.RequireSize(t, q, 1, 1)
		_, err := next.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Hour, next.StartedAt().Sub(j.EndedAt()))
		kit.RequireFailure(t, kit.ErrFirst, &j.Future)
		require.Equal(t, twill.JobCanceled, j.State(), "what the call returned late is dropped")
	})
}

func TestJobCancelAfterTheEndChangesNothing(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		if n == 2 {
			return 0, kit.ErrFirst
		}
		return n, nil
	}, nil)
	finished, failed := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0)
	_, err := failed.Await(t.Context())
	require.ErrorIs(t, err, kit.ErrFirst)
	at := finished.EndedAt()
	require.False(t, finished.Cancel(nil))
	require.False(t, failed.Cancel(nil))
	require.Equal(t, twill.JobFinished, finished.State())
	require.Equal(t, twill.JobFailed, failed.State())
	require.Equal(t, at, finished.EndedAt())
	kit.RequireValue(t, 1, &finished.Future)
	kit.RequireFailure(t, kit.ErrFirst, &failed.Future)
}

func TestJobCancelFromInside(t *testing.T) {
	var j *twill.Job[int, int]
	put := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		<-put
		require.True(t, j.Cancel(kit.ErrFirst))
		require.ErrorIs(t, context.Cause(ctx), kit.ErrFirst)
		return n, nil
	}, nil)
	j = kit.PutJob(t, q, 1, 0)
	close(put)
	_, err := j.Await(t.Context())
	require.ErrorIs(t, err, kit.ErrFirst)
	_, err = q.Stop().Await(t.Context())
	require.NoError(t, err)
}

func TestJobIsCanceledByItsLastWatcher(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	j := kit.PutJob(t, q, 1, 0)
	one := twill.Then(&j.Future, kit.Add(1))
	two := twill.Then(twill.Then(&j.Future, kit.Add(2)), kit.Add(3))
	require.True(t, one.Cancel(kit.ErrFirst))
	kit.RequireFailure(t, kit.ErrFirst, one)
	require.Equal(t, twill.JobPending, j.State(), "the other still depends on it")
	require.True(t, two.Cancel(kit.ErrSecond))
	kit.RequireFailure(t, kit.ErrSecond, two)
	require.Equal(t, twill.JobCanceled, j.State())
	kit.RequireSize(t, q, 0, 0)
}

func TestJobLatePanicIsReported(t *testing.T) {
	for name, retry := range map[string]*twill.RetryOptions{"once": nil, "with a Retry": rdqRetry(0)} {
		t.Run(name, func(t *testing.T) {
			r := kit.CollectReports(t)
			started := make(chan struct{})
			fn := func(ctx context.Context, _ int) (int, error) {
				close(started)
				<-ctx.Done()
				panic(kit.ErrSecond)
			}
			q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Retry: retry})
			j := kit.PutJob(t, q, 1, 0)
			<-started // with a Retry, a job that was canceled before is not called
			j.Cancel(kit.ErrFirst)
			_, err := q.Stop().Await(t.Context())
			require.NoError(t, err)
			kit.RequireFailure(t, kit.ErrFirst, &j.Future)
			r.Await(t, kit.ErrSecond)
		})
	}
}

// TestJobIsReleased: neither the queue nor its heap keeps a job that has ended.
func TestJobIsReleased(t *testing.T) {
	big := func() string { return strings.Repeat("x", 1<<10) }
	block := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(_ context.Context, arg string) (string, error) {
		if arg == "" {
			<-block
		}
		return "", nil
	}, nil)
	kit.PutJob(t, q, "", 0)
	var args []weak.Pointer[byte] // to the bytes of the arguments
	func() {
		for n := range 90 {
			arg := big()
			args = append(args, weak.Make(unsafe.StringData(arg)))
			j := kit.PutJob(t, q, arg, n%3)
			if n%3 == 0 {
				j.Cancel(nil)
			}
		}
	}()
	alive := func() (n int) {
		runtime.GC()
		for _, arg := range args {
			if arg.Value() != nil {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return alive() == 60 }, 10*time.Second, time.Millisecond, "canceled ones")
	last := kit.PutJob(t, q, big(), 9)
	close(block)
	_, err := last.Await(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return alive() == 0 }, 10*time.Second, time.Millisecond, "those that ran")
	require.NotEmpty(t, last.Arg(), "a job that is held keeps its argument")
	runtime.KeepAlive(q)
}

// message is written as an object, and has the shape of a string.
type message string

func (m message) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Text string `json:"text"`
	}{string(m)})
}

func (m *message) UnmarshalJSON(text []byte) error {
	var read struct{ Text string }
	err := json.Unmarshal(text, &read)
	*m = message(read.Text)
	return err
}

func TestJobAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		send := func(ctx context.Context, m message) (string, error) { return "", kit.ErrBoom }
		q := twill.NewResizableDispatchQueue(send, &twill.DispatchOptions{Retry: rdqRetry(time.Hour)})
		j, err := q.Put("hi", 3, twill.JobOptions{Key: "k"})
		require.NoError(t, err)
		plain := kit.PutJob(t, q, "ho", 0)
		time.Sleep(time.Second)
		text, err := json.Marshal(j)
		require.NoError(t, err)
		require.JSONEq(t, `{"id": "1", "arg": {"text": "hi"}, "priority": 3, "state": "pending", "key": "k", "attempts": 1,
			"queued": "2000-01-01T00:00:00Z", "due": "2000-01-01T01:00:00Z", "started": "2000-01-01T00:00:00Z"}`, string(text))
		var r twill.JobRecord[message]
		require.NoError(t, json.Unmarshal(text, &r))
		want := j.Record()
		require.True(t, want.Queued.Equal(r.Queued) && want.Due.Equal(r.Due) && want.Started.Equal(r.Started))
		require.Equal(t, 1, plain.Attempts())
		q.Clear()

		var s twill.JobState
		require.ErrorContains(t, json.Unmarshal([]byte(`"lost"`), &s), `"lost"`)
	})
}

func TestRestoreKeepsTheOrderOfManyJobs(t *testing.T) {
	n := 10_000
	if kit.Long() {
		n = 100_000
	}
	rng := rand.New(rand.NewPCG(1, 2))
	old := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	old.Pause()
	for i := range n {
		j := kit.PutJob(t, old, i, rng.IntN(10))
		if rng.IntN(10) == 0 {
			require.NoError(t, old.Reprioritize(j, rng.IntN(10)))
		}
	}
	left, err := old.Stop().Await(t.Context())
	require.NoError(t, err)
	require.Len(t, left, n)
	text, err := json.Marshal(left)
	require.NoError(t, err)
	var records []twill.JobRecord[int]
	require.NoError(t, json.Unmarshal(text, &records))

	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Size: 10})
	q.Pause()
	equal := kit.PutJob(t, q, -1, 4)
	jobs, err := q.Restore(records)
	require.NoError(t, err, "Size does not count")
	require.Equal(t, kit.Args(left), kit.Args(jobs))
	pending := q.Pending()
	require.Len(t, pending, n+1)
	i := 0
	for _, j := range pending {
		if j == equal {
			require.Equal(t, 4, pending[i-1].Priority())
			require.Equal(t, 5, pending[i+1].Priority(), "behind all equals that were restored")
			continue
		}
		if left[i].Arg() != j.Arg() || left[i].Priority() != j.Priority() || left[i].QueuedAt().UnixNano() != j.QueuedAt().UnixNano() {
			t.Fatalf("job %d is %+v, and was %+v", i, j.Record(), left[i].Record())
		}
		i++
	}
	last, err := q.Restore([]twill.JobRecord[int]{{Arg: -2, Priority: 4}})
	require.NoError(t, err)
	for _, j := range q.Pending() {
		if j.Priority() == 4 {
			require.Same(t, last[0], j, "before those that were restored earlier")
			break
		}
	}
}

// TestRestoreKeepsTheOrderAlsoWithAgeing: a job that was called before keeps
// its place, and a job that has waited long starts before a more urgent one.
func TestRestoreKeepsTheOrderAlsoWithAgeing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &twill.DispatchOptions{Ageing: time.Second, Retry: rdqRetry(time.Minute)}
		old := twill.NewResizableDispatchQueue(rdqFlaky(), o)
		kit.PutJob(t, old, 1, 3) // fails at once
		synctest.Wait()
		old.Pause()
		kit.PutJob(t, old, 2, 3)
		time.Sleep(10 * time.Second)
		kit.PutJob(t, old, 3, 0)
		kit.PutOpts(t, old, 4, 9, twill.JobOptions{After: time.Second})
		kit.PutOpts(t, old, 5, -9, twill.JobOptions{After: time.Hour})
		time.Sleep(2 * time.Minute)
		want := []int{1, 2, 3, 4, 5}
		require.Equal(t, want, kit.Args(old.Pending()))
		left, err := old.Stop().Await(t.Context())
		require.NoError(t, err)
		text, err := json.Marshal(left)
		require.NoError(t, err)
		var records []twill.JobRecord[int]
		require.NoError(t, json.Unmarshal(text, &records))

		time.Sleep(time.Minute)
		q := twill.NewResizableDispatchQueue(rdqFlaky(), o)
		q.Pause()
		kit.PutJob(t, q, 6, 3)
		_, err = q.Restore(records)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3, 4, 6, 5}, kit.Args(q.Pending()), "they keep their age")
		q.Clear()
	})
}

// TestRestoredJobIsJoinedWithItsAge: without its delay it has waited since it
// was queued, even if that was before the queue was created.
func TestRestoredJobIsJoinedWithItsAge(t *testing.T) {
	now := time.Now()
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Ageing: time.Second})
	q.Pause()
	_, err := q.Restore([]twill.JobRecord[int]{
		{Arg: 1, Queued: now.Add(-time.Minute)},
		{Arg: 2, Queued: now.Add(-time.Hour), Due: now.Add(time.Hour), Key: "key"},
	})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, kit.Args(q.Pending()))
	kit.PutOpts(t, q, 3, 0, twill.JobOptions{Key: "key"})
	require.Equal(t, []int{2, 1}, kit.Args(q.Pending()))
	q.Clear()
}

func TestRestoreGoesOnWhereItStood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		jobs, err := q.Restore([]twill.JobRecord[time.Duration]{
			{Arg: 1, Attempts: 4, Queued: start.Add(-time.Hour), Due: start.Add(time.Minute), Key: "k", State: twill.JobCanceled},
			{Arg: 2, Queued: start.Add(-time.Hour), Due: start.Add(-time.Minute)},
		})
		require.NoError(t, err)
		_, err = jobs[1].Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, start, jobs[1].StartedAt().Truncate(time.Millisecond))
		require.Equal(t, 4, jobs[0].Attempts())
		require.Equal(t, twill.JobPending, jobs[0].State())
		there, err := q.Put(3, 0, twill.JobOptions{Key: "k"})
		require.NoError(t, err)
		require.Same(t, jobs[0], there)
		_, err = jobs[0].Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 5, jobs[0].Attempts())
		require.Equal(t, start.Add(-time.Hour), jobs[0].QueuedAt())
	})
}

func TestRestoreOfBadRecords(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	_, err := q.Put(1, 0, twill.JobOptions{Key: "used"})
	require.NoError(t, err)
	for want, records := range map[string][]twill.JobRecord[int]{
		"twill: restoring record 1: -1 attempts":                                           {{}, {Attempts: -1}},
		`twill: restoring record 2: key "a" of record 0: ` + twill.ErrDuplicateJob.Error(): {{Key: "a"}, {}, {Key: "a"}},
		`twill: restoring record 2: key "a" of record 1: ` + twill.ErrDuplicateJob.Error(): {{Key: "a"}, {Key: "a", Again: true}, {Key: "a", Again: true}},
		`twill: restoring record 1: ` + twill.ErrDuplicateJob.Error():                      {{}, {Key: "used"}},
	} {
		_, err := q.Restore(records)
		require.ErrorContains(t, err, want)
		kit.RequireSize(t, q, 0, 1)
	}
	q.Stop()
	_, err = q.Restore([]twill.JobRecord[int]{{}})
	require.ErrorIs(t, err, twill.ErrStopped)
}

// rdqFlaky returns a call that fails as often as its argument.
func rdqFlaky() func(context.Context, int) (int, error) {
	calls := map[int]int{}
	return func(_ context.Context, n int) (int, error) {
		if calls[n]++; calls[n] <= n {
			return 0, kit.ErrBoom
		}
		return calls[n], nil
	}
}

func rdqRetry(pauses ...time.Duration) *twill.RetryOptions {
	return &twill.RetryOptions{Backoff: slices.Values(pauses)}
}

func TestRetriedJobHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := twill.NewResizableDispatchQueue(rdqFlaky(), &twill.DispatchOptions{Retry: rdqRetry(time.Second, 2*time.Second)})
		j := kit.PutJob(t, q, 2, 0)
		synctest.Wait()
		require.Equal(t, twill.JobPending, j.State())
		require.Equal(t, 1, j.Attempts())
		require.Equal(t, start.Add(time.Second), j.DueAt())
		kit.RequireSize(t, q, 0, 1)
		_, err := kit.PutJob(t, q, 0, 9).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, start, time.Now(), "the slot was free")
		v, err := j.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, v)
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Equal(t, 3, j.Attempts())
		s := q.Stats()
		require.EqualValues(t, 2, s.Retries)
		require.EqualValues(t, 2, s.Waiting.Count(), "only the first start of each")
		require.EqualValues(t, 4, s.Running.Count())
	})
}

func TestRetriedJobGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqFlaky(), nil)
		j, err := q.Put(5, 0, twill.JobOptions{Retry: rdqRetry(0, time.Second)})
		require.NoError(t, err)
		_, err = j.Await(t.Context())
		var re *twill.RetryError
		require.ErrorAs(t, err, &re)
		require.ErrorIs(t, err, twill.ErrRetriesExhausted)
		require.ErrorIs(t, err, kit.ErrBoom)
		require.Equal(t, 3, re.Attempts)
		require.Len(t, re.Errs, 3)
		require.Equal(t, twill.JobFailed, j.State())

		once, err := q.Put(9, 0)
		require.NoError(t, err)
		_, err = once.Await(t.Context())
		require.Equal(t, kit.ErrBoom, err, "without a Retry the error is the call's own")
	})
}

func TestRetriedJobKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int
		flaky := rdqFlaky()
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			order = append(order, n)
			time.Sleep(time.Second)
			return flaky(ctx, n%10)
		}, &twill.DispatchOptions{Retry: rdqRetry(500 * time.Millisecond)})
		_, err := q.PutAll([]int{1, 10, 20, 30}, 0)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []int{1, 10, 1, 20, 30}, order, "the first of equals when it is due")
	})
}

func TestRetryPausesCanBeCut(t *testing.T) {
	type job = *twill.Job[int, int]
	type queue = *twill.ResizableDispatchQueue[int, int]
	for name, cut := range map[string]func(*testing.T, queue, job){
		"cancel": func(t *testing.T, q queue, j job) {
			j.Cancel(kit.ErrFirst)
			kit.RequireFailure(t, kit.ErrFirst, &j.Future)
		},
		"clear": func(t *testing.T, q queue, j job) {
			require.Equal(t, 1, q.Clear())
			kit.RequireFailure(t, twill.ErrCanceled, &j.Future)
		},
		"stop": func(t *testing.T, q queue, j job) {
			left, err := q.Stop().Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, []job{j}, left)
			require.Equal(t, twill.JobPending, j.State())
			require.Equal(t, 1, j.Attempts())
		},
		"timeout": func(t *testing.T, q queue, j job) {
			time.Sleep(time.Minute)
			_, err := j.Await(t.Context())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, kit.ErrBoom, "and what the attempts failed with")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := twill.NewBudget(10, 0.1)
				before := budget.Tokens()
				calls := 0
				q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
					calls++
					return 0, kit.ErrBoom
				}, nil)
				o := twill.JobOptions{Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Hour), Budget: budget}}
				if name == "timeout" {
					// A pause that would exceed the deadline is not made.
					o.Retry.Backoff = twill.ConstantBackoff(50 * time.Second)
					o.Timeout = time.Minute
				}
				j, err := q.Put(1, 0, o)
				require.NoError(t, err)
				synctest.Wait()
				spent := before - budget.Tokens()
				cut(t, q, j)
				time.Sleep(24 * time.Hour)
				if name != "timeout" {
					require.Equal(t, 1, calls)
					require.Less(t, before-budget.Tokens(), spent, "what the retry would have cost is given back")
				}
				require.Zero(t, q.Stats().Underway)
			})
		})
	}
}

func TestRetryDoesNotPassTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := twill.NewResizableDispatchQueue(rdqFlaky(), nil)
		j, err := q.Put(5, 0, twill.JobOptions{Retry: rdqRetry(time.Second, time.Hour), Timeout: time.Minute})
		require.NoError(t, err)
		_, err = j.Await(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, kit.ErrBoom)
		require.Equal(t, time.Second, time.Since(start), "the pause of an hour is not begun")
	})
}

func TestTimeoutInALaterAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			if calls++; calls == 1 {
				return 0, kit.ErrBoom
			}
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, nil)
		start := time.Now()
		j, err := q.Put(5, 0, twill.JobOptions{Retry: rdqRetry(time.Second, time.Second), Timeout: time.Minute})
		require.NoError(t, err)
		_, err = j.Await(t.Context())
		var re *twill.RetryError
		require.ErrorAs(t, err, &re)
		require.IsType(t, &twill.TimeoutError{}, err)
		require.ErrorIs(t, re.Reason, context.DeadlineExceeded)
		require.ErrorIs(t, err, kit.ErrBoom)
		require.Equal(t, time.Minute, time.Since(start))
		synctest.Wait()
		require.Equal(t, 2, calls)
	})
}

func TestAttemptTimeoutMakesAFreshContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []context.Context
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			require.NoError(t, ctx.Err())
			if seen = append(seen, ctx); len(seen) == 3 {
				return n, nil
			}
			<-ctx.Done()
			require.Equal(t, &twill.TimeoutError{After: time.Second}, context.Cause(ctx))
			return 0, ctx.Err()
		}, nil)
		retry := rdqRetry(0, 0, 0)
		retry.AttemptTimeout = time.Second
		j, err := q.Put(5, 0, twill.JobOptions{Retry: retry})
		require.NoError(t, err)
		_, err = j.Await(t.Context())
		require.NoError(t, err)
		for _, ctx := range seen {
			require.Error(t, ctx.Err(), "ended with its attempt")
		}
	})
}

func TestRetriedJobIsNotRetriedAfter(t *testing.T) {
	for name, test := range map[string]struct {
		fn    func(calls int) (int, error)
		opts  twill.RetryOptions
		calls int
		want  any
	}{
		"a panic":           {fn: func(int) (int, error) { panic("boom") }, calls: 1, want: new(*twill.PanicError)},
		"Goexit":            {fn: func(int) (int, error) { runtime.Goexit(); return 0, nil }, calls: 1, want: twill.ErrGoexit},
		"a permanent error": {fn: func(int) (int, error) { return 0, twill.Permanent(kit.ErrBoom) }, calls: 1, want: twill.ErrNotRetryable},
		"a tester's stop": {
			fn:   func(int) (int, error) { return 0, kit.ErrBoom },
			opts: twill.RetryOptions{NewTester: kit.Tester(func(error) error { return kit.ErrFirst })}, calls: 1, want: kit.ErrFirst,
		},
		"a tester's panic": {
			fn:   func(int) (int, error) { return 0, kit.ErrBoom },
			opts: twill.RetryOptions{NewTester: kit.Tester(func(error) error { panic("boom") })}, calls: 1, want: new(*twill.PanicError),
		},
		"a tester's exit": {
			fn:   func(int) (int, error) { return 0, kit.ErrBoom },
			opts: twill.RetryOptions{NewTester: kit.Tester(func(error) error { runtime.Goexit(); return nil })}, calls: 1, want: twill.ErrGoexit,
		},
		"a panic in OnRetry": {
			fn:   func(int) (int, error) { return 0, kit.ErrBoom },
			opts: twill.RetryOptions{OnRetry: func(twill.RetryEvent) { panic("boom") }}, calls: 1, want: new(*twill.PanicError),
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
					calls++
					return test.fn(calls)
				}, nil)
				opts := test.opts
				opts.Budget = twill.NewBudget(10, 0.1)
				before := opts.Budget.Tokens()
				j, err := q.Put(1, 0, twill.JobOptions{Retry: &opts})
				require.NoError(t, err)
				next := kit.PutJob(t, q, 2, 0)
				_, err = j.Await(t.Context())
				if target, ok := test.want.(error); ok {
					require.ErrorIs(t, err, target)
				} else {
					require.ErrorAs(t, err, test.want)
				}
				_, ok := errors.AsType[*twill.RetryError](err)
				require.True(t, ok, "a job that may be retried fails with a RetryError: %v", err)
				require.Equal(t, test.calls, j.Attempts()-map[bool]int{true: 1}[name == "a panic in OnRetry"])
				next.Await(t.Context())
				require.GreaterOrEqual(t, calls, 2, "the queue goes on")
				require.LessOrEqual(t, before-opts.Budget.Tokens(), 1.0, "no more than what the failed attempt costs")
			})
		})
	}
}

func TestCancelOfARetriedJobUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		paused := 0
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			return 0, errors.Join(kit.ErrBoom, ctx.Err())
		}, nil)
		retry := rdqRetry(time.Second, time.Second)
		retry.OnPause = func(twill.RetryEvent) { paused++ }
		j, err := q.Put(1, 0, twill.JobOptions{Retry: retry})
		require.NoError(t, err)
		synctest.Wait()
		j.Cancel(kit.ErrFirst)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrFirst, &j.Future)
		require.Equal(t, twill.JobCanceled, j.State())
		require.Zero(t, paused, "no pause is told of that is not made")
		kit.RequireSize(t, q, 0, 0)
	})
}

// A retry that a job had begun took no token if the job ended during it: any
// number of jobs could retry against a server in trouble.
func TestRetriedJobsSpendAsCallsDo(t *testing.T) {
	for name, test := range map[string]struct {
		second func(ctx context.Context) error // the second attempt
		spent  float64
	}{
		"no pauses left":       {func(context.Context) error { return kit.ErrBoom }, 2},
		"a permanent error":    {func(context.Context) error { return twill.Permanent(kit.ErrBoom) }, 1},
		"the end of the time":  {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 1},
		"a panic in the retry": {func(context.Context) error { panic("boom") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := func() func(context.Context, int) (int, error) {
					calls := 0
					return func(ctx context.Context, _ int) (int, error) {
						if calls++; calls == 1 {
							return 0, kit.ErrBoom
						}
						return 0, test.second(ctx)
					}
				}
				opts := &twill.RetryOptions{Backoff: kit.Pauses(0), Budget: twill.NewBudget(10, 1)}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				fn := attempts()
				_, err := twill.Retry(ctx, func(ctx context.Context) (int, error) { return fn(ctx, 0) }, opts)
				require.Error(t, err)
				require.Equal(t, 10-test.spent, opts.Budget.Tokens())

				opts.Budget = twill.NewBudget(10, 1)
				q := twill.NewResizableDispatchQueue(attempts(), nil)
				j, err := q.Put(1, 0, twill.JobOptions{Retry: opts, Timeout: time.Hour})
				require.NoError(t, err)
				_, err = j.Await(t.Context())
				require.Error(t, err)
				synctest.Wait()
				require.Equal(t, 10-test.spent, opts.Budget.Tokens())
			})
		})
	}
}

// rdqCall runs fn once, as a job of a queue whose context is base, and waits
// until it has returned.
func rdqCall(t *testing.T, base context.Context, fn func(ctx context.Context, j func() *twill.Job[int, int])) {
	t.Helper()
	var j *twill.Job[int, int]
	put := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		fn(ctx, func() *twill.Job[int, int] { <-put; return j })
		return n, nil
	}, &twill.DispatchOptions{Context: base})
	j = kit.PutJob(t, q, 1, 0)
	close(put)
	j.Await(t.Context())
	_, err := q.Stop().Await(t.Context())
	require.NoError(t, err)
}

type rdqKey struct{}

func TestJobContextComesFromTheBase(t *testing.T) {
	base := context.WithValue(t.Context(), rdqKey{}, "value")
	base, cancel := context.WithTimeoutCause(base, time.Hour, kit.ErrFirst)
	defer cancel()
	deadline, _ := base.Deadline()
	rdqCall(t, base, func(ctx context.Context, _ func() *twill.Job[int, int]) {
		require.Equal(t, "value", ctx.Value(rdqKey{}))
		got, ok := ctx.Deadline()
		require.True(t, ok)
		require.Equal(t, deadline, got)
		require.NoError(t, ctx.Err())
		require.Equal(t, "value", ctx.Value(rdqKey{}), "also of the real one")
		require.NoError(t, context.Cause(ctx))
		require.Equal(t, "twill.Job context", fmt.Sprint(ctx))
	})
}

func TestJobContextEndsWithTheBase(t *testing.T) {
	for name, early := range map[string]bool{"asked before": true, "asked after": false} {
		t.Run(name, func(t *testing.T) {
			base, cancel := context.WithCancelCause(t.Context())
			rdqCall(t, base, func(ctx context.Context, _ func() *twill.Job[int, int]) {
				if early {
					require.NoError(t, ctx.Err())
				}
				cancel(kit.ErrFirst)
				require.ErrorIs(t, context.Cause(ctx), kit.ErrFirst)
				<-ctx.Done()
				require.ErrorIs(t, ctx.Err(), context.Canceled)
				require.ErrorIs(t, context.Cause(ctx), kit.ErrFirst)
			})
		})
	}
}

func TestJobContextEndsWithTheJob(t *testing.T) {
	type probe func(ctx context.Context)
	probes := map[string]probe{
		"nothing": func(context.Context) {},
		"Err":     func(ctx context.Context) { require.NoError(t, ctx.Err()) },
		"Done":    func(ctx context.Context) { ctx.Done() },
		"Value":   func(ctx context.Context) { ctx.Value(rdqKey{}) },
		"Cause":   func(ctx context.Context) { require.NoError(t, context.Cause(ctx)) },
	}
	for name, probe := range probes {
		t.Run("canceled after "+name, func(t *testing.T) {
			rdqCall(t, nil, func(ctx context.Context, j func() *twill.Job[int, int]) {
				probe(ctx)
				require.True(t, j().Cancel(kit.ErrFirst))
				require.ErrorIs(t, context.Cause(ctx), kit.ErrFirst)
				<-ctx.Done()
				require.ErrorIs(t, ctx.Err(), context.Canceled)
			})
		})
		t.Run("returned after "+name, func(t *testing.T) {
			var kept context.Context
			rdqCall(t, nil, func(ctx context.Context, _ func() *twill.Job[int, int]) {
				probe(ctx)
				kept = ctx
			})
			<-kept.Done()
			require.ErrorIs(t, kept.Err(), context.Canceled)
			require.ErrorIs(t, context.Cause(kept), context.Canceled)
		})
		t.Run("canceled and returned after "+name, func(t *testing.T) {
			var kept context.Context
			rdqCall(t, nil, func(ctx context.Context, j func() *twill.Job[int, int]) {
				probe(ctx)
				kept = ctx
				j().Cancel(kit.ErrFirst)
			})
			<-kept.Done()
			require.ErrorIs(t, context.Cause(kept), kit.ErrFirst)
		})
	}
}

func TestJobContextCancelWithoutACause(t *testing.T) {
	rdqCall(t, nil, func(ctx context.Context, j func() *twill.Job[int, int]) {
		j().Cancel(nil)
		require.ErrorIs(t, context.Cause(ctx), twill.ErrCanceled)
	})
}

func TestJobContextIsAParent(t *testing.T) {
	rdqCall(t, nil, func(ctx context.Context, j func() *twill.Job[int, int]) {
		child, cancel := context.WithCancel(context.WithValue(ctx, rdqKey{}, 1))
		defer cancel()
		called := make(chan struct{})
		defer context.AfterFunc(ctx, func() { close(called) })()
		require.NoError(t, child.Err())
		j().Cancel(kit.ErrFirst)
		<-child.Done()
		require.ErrorIs(t, context.Cause(child), kit.ErrFirst)
		<-called
	})
}

// rdqOddContext is a context whose methods call functions of the test.
type rdqOddContext struct {
	context.Context
	asked func()
}

func (c rdqOddContext) Done() <-chan struct{} { c.asked(); return c.Context.Done() }

func TestJobContextAsksTheBaseUnderNoLock(t *testing.T) {
	var q *twill.ResizableDispatchQueue[int, int]
	base, cancel := context.WithCancel(t.Context())
	defer cancel()
	q = twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		ctx.Done()
		return n, nil
	}, &twill.DispatchOptions{Context: rdqOddContext{base, func() { q.Size(); q.Pending() }}})
	kit.Watchdog(t, func() {
		_, err := kit.PutJob(t, q, 1, 0).Await(context.Background())
		require.NoError(t, err)
	})
}

func TestJobContextRaces(t *testing.T) {
	base, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 500 {
		rdqCall(t, base, func(ctx context.Context, j func() *twill.Job[int, int]) {
			for range 3 {
				go func() {
					<-ctx.Done()
					ctx.Err()
				}()
			}
			go j().Cancel(kit.ErrFirst)
		})
	}
}

func TestJobContextUnusedCostsNothing(t *testing.T) {
	run := func(fn func(context.Context, int) (int, error)) float64 {
		q := twill.NewResizableDispatchQueue(fn, nil)
		const jobs = 200     // in a single run, since AllocsPerRun rounds down
		least := math.Inf(1) // a delayed process allocates more, as workers end that would have continued
		for range 5 {
			least = min(least, testing.AllocsPerRun(1, func() {
				for range jobs {
					kit.PutJob(t, q, 1, 0).Await(context.Background())
				}
			})/jobs)
		}
		return least
	}
	without := run(kit.SameArg)
	values := run(func(ctx context.Context, n int) (int, error) { ctx.Value(rdqKey{}); ctx.Deadline(); return n, nil })
	with := run(func(ctx context.Context, n int) (int, error) { ctx.Done(); return n, ctx.Err() })
	require.Less(t, without, 4.0)
	require.InDelta(t, without, values, 0.5)
	require.Greater(t, with, without+1.5)
}

// TestJobCancelThatComesTooLateForTheCall: the base context is called between
// the return of the call and the settling of the future; then a cancel arrives.
func TestJobCancelThatComesTooLateForTheCall(t *testing.T) {
	base, cancel := context.WithCancel(t.Context())
	defer cancel()
	var j *twill.Job[int, int]
	var late []bool
	odd := rdqOddContext{base, func() {
		if j.State() == twill.JobFinished {
			late = append(late, j.Cancel(kit.ErrFirst))
		}
	}}
	put := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		<-put
		ctx.Done()
		return n, nil
	}, &twill.DispatchOptions{Context: odd})
	j = kit.PutJob(t, q, 1, 0)
	close(put)
	v, err := j.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, v)
	require.Equal(t, []bool{false}, late)
}

// pausesOf yields d without end.
func pausesOf(d time.Duration) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for yield(d) {
		}
	}
}

func TestJobID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		q.Pause()
		restored, err := q.Restore([]twill.JobRecord[int]{{Arg: 1, ID: "7"}, {Arg: 2, ID: "x-1"}, {Arg: 3}})
		require.NoError(t, err)
		require.Equal(t, []string{"7", "x-1"}, []string{restored[0].ID(), restored[1].ID()})
		ids := map[string]bool{"7": true, "x-1": true, restored[2].ID(): true}
		for i := range 3 {
			ids[kit.PutJob(t, q, i, 0).ID()] = true
		}
		require.Len(t, ids, 6, "all are different")
		left, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		text, err := json.Marshal(left)
		require.NoError(t, err)
		var records []twill.JobRecord[int]
		require.NoError(t, json.Unmarshal(text, &records))
		again, err := twill.NewResizableDispatchQueue(kit.SameArg, nil).Restore(records)
		require.NoError(t, err)
		for i, j := range again {
			require.Equal(t, left[i].ID(), j.ID())
		}
	})
}

func TestHeldJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 3, Size: 2})
		held := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Held: true, Key: "k", Group: "g"})
		late := kit.PutOpts(t, q, 2, 0, twill.JobOptions{Held: true, After: time.Hour})
		_, err := q.Put(3, 0, twill.JobOptions{Held: true})
		require.ErrorIs(t, err, twill.ErrQueueFull)
		time.Sleep(2 * time.Hour)
		kit.RequireSize(t, q, 0, 2)
		reason, _ := q.Why(held)
		require.Equal(t, twill.WaitHeld, reason)
		same := kit.PutOpts(t, q, 4, 0, twill.JobOptions{Key: "k"})
		require.Same(t, held, same)
		require.True(t, held.Release())
		require.False(t, held.Release())
		v, err := held.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, v)
		require.True(t, late.Cancel(nil))
		require.False(t, late.Release())
		kit.RequireSize(t, q, 0, 0)
		delayed := kit.PutOpts(t, q, 5, 0, twill.JobOptions{Held: true, After: time.Hour})
		require.True(t, delayed.Release())
		reason, until := q.Why(delayed)
		require.Equal(t, twill.WaitDue, reason)
		require.Equal(t, time.Now().Add(time.Hour), until)
		_, err = delayed.Await(t.Context())
		require.NoError(t, err)
	})
}

// A job that was held and needs nothing more, and one that is restored as it
// was put, take as little memory as a plain one.
func TestReleasedJobsAreSmall(t *testing.T) {
	const n = 20_000
	size := func(fill func(q *twill.ResizableDispatchQueue[int, int])) float64 {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		q.Pause()
		before := kit.HeapInUse()
		fill(q)
		after := kit.HeapInUse()
		require.Len(t, q.Pending(), n)
		return float64(after-before) / n
	}
	plain := size(func(q *twill.ResizableDispatchQueue[int, int]) {
		for i := range n {
			_, _ = q.Put(i, 0)
		}
	})
	released := size(func(q *twill.ResizableDispatchQueue[int, int]) {
		for i := range n {
			j, _ := q.Put(i, 0, twill.JobOptions{Held: true})
			j.Release()
		}
	})
	restored := size(func(q *twill.ResizableDispatchQueue[int, int]) {
		_, _ = q.Restore(make([]twill.JobRecord[int], n))
	})
	require.InDelta(t, plain, released, 60)
	require.InDelta(t, plain, restored, 60)
}

// What JSON does not have of a job is restored from the Options of its record.
func TestRestoreTakesOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		calls := 0
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, arg string) (string, error) {
			if arg == "retried" {
				if calls++; calls < 3 {
					return "", kit.ErrBoom
				}
				value, _ := ctx.Value(key{}).(string)
				return value, nil
			}
			<-ctx.Done()
			return "", context.Cause(ctx)
		}, &twill.DispatchOptions{Width: 5})
		jobs, err := q.Restore([]twill.JobRecord[string]{
			{Arg: "slow", Options: twill.JobOptions{Timeout: time.Minute, Key: "not used", Group: "neither", After: time.Hour}},
			{Arg: "retried", Attempts: 4, Options: twill.JobOptions{
				Retry:   &twill.RetryOptions{Backoff: slices.Values([]time.Duration{time.Second, time.Second})},
				Context: context.WithValue(t.Context(), key{}, "value"),
			}},
			{Arg: "held", Options: twill.JobOptions{Held: true, Timeout: time.Minute}},
		})
		require.NoError(t, err)
		_, err = jobs[0].Await(t.Context())
		var timeout *twill.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.Equal(t, []string{"", ""}, []string{jobs[0].Key(), jobs[0].Group()})
		v, err := jobs[1].Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, "value", v)
		require.Equal(t, 7, jobs[1].Attempts())
		require.Equal(t, twill.JobPending, jobs[2].State())
		require.True(t, jobs[2].Release())
		_, err = jobs[2].Await(t.Context())
		require.ErrorAs(t, err, &timeout)
		text, err := json.Marshal(jobs[0].Record())
		require.NoError(t, err)
		require.NotContains(t, string(text), "Options")
	})
}

func TestSnoozedFor(t *testing.T) {
	for _, c := range []struct {
		err  error
		want time.Duration
		ok   bool
	}{
		{nil, 0, false},
		{errors.New("failed"), 0, false},
		{twill.Snooze(time.Second), time.Second, true},
		{twill.Snooze(-1), 0, true},
		{fmt.Errorf("later: %w", errors.Join(io.EOF, twill.Snooze(0))), 0, true},
	} {
		d, ok := twill.SnoozedFor(c.err)
		require.Equal(t, c.want, d, c.err)
		require.Equal(t, c.ok, ok, c.err)
	}
}

func TestSnooze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
			if calls++; calls < 4 {
				return 0, fmt.Errorf("not ready: %w", twill.Snooze(time.Minute))
			}
			return calls, nil
		}, &twill.DispatchOptions{Retry: &twill.RetryOptions{Backoff: slices.Values([]time.Duration{})}})
		start := time.Now()
		j := kit.PutJob(t, q, 0, 0)
		synctest.Wait()
		kit.RequireSize(t, q, 0, 1)
		require.Equal(t, 0, j.Attempts())
		require.Equal(t, start.Add(time.Minute), j.DueAt())
		v, err := j.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 4, v)
		require.Equal(t, 3*time.Minute, time.Since(start))
		require.Equal(t, 1, j.Attempts())
		require.Equal(t, uint64(3), q.Stats().Snoozed)

		// A call without other settings that snoozes for no time.
		snoozed := false
		plain := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
			if !snoozed {
				snoozed = true
				return 0, twill.Snooze(-1)
			}
			return 1, nil
		}, nil)
		v, err = kit.PutJob(t, plain, 0, 0).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, v)
		require.Error(t, twill.Snooze(time.Second))
	})
}

// A job that snoozes for no time, again and again, does not keep jobs of its
// priority from starting.
func TestSnoozeForNoTimeGoesBehindItsEquals(t *testing.T) {
	for name, o := range map[string]twill.DispatchOptions{
		"plain": {}, "ageing": {Ageing: time.Hour}, "groups": {GroupLimit: twill.GroupLimit{Width: 1}}, "turns": {TakeTurns: true},
		"rate": {Rate: kit.LimiterFunc(func(context.Context) error { return nil })},
	} {
		for i, each := range []twill.JobOptions{{}, {Group: "g"}, {Retry: &twill.RetryOptions{}}, {Timeout: time.Hour}} {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { snoozeForNoTime(t, o, each) })
			})
		}
	}
}

func snoozeForNoTime(t *testing.T, o twill.DispatchOptions, each twill.JobOptions) {
	var calls []string
	var q *twill.ResizableDispatchQueue[string, string]
	var polls *twill.Job[string, string]
	q = twill.NewResizableDispatchQueue(func(_ context.Context, arg string) (string, error) {
		calls = append(calls, arg)
		time.Sleep(time.Second)
		switch found, ok := q.FindID(polls.ID()); {
		case arg == "low" || arg == "next":
			require.False(t, ok, "it has ended")
		case found != polls:
			t.Error("its ID is another one")
		case arg == "polls" && len(calls) < 7:
			return "", fmt.Errorf("not yet: %w", twill.Snooze(-1))
		case arg == "b":
			require.Equal(t, []string{"c", "polls", "low"}, kit.Args(q.Pending()))
			require.Equal(t, []string{"polls", "low"}, kit.Args(q.PendingPage(1, 9)))
		}
		return arg, nil
	}, &o)
	q.Pause()
	var jobs []*twill.Job[string, string]
	for i, arg := range []string{"polls", "b", "c", "low"} {
		jobs = append(jobs, kit.PutOpts(t, q, arg, i/3, each))
	}
	polls = jobs[0]
	id := polls.ID()
	require.NoError(t, q.Resume())
	for _, j := range jobs {
		v, err := j.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, j.Arg(), v)
	}
	require.Equal(t, "polls b c polls polls polls polls low", strings.Join(calls, " "))
	require.Equal(t, 1, polls.Attempts())
	require.Equal(t, id, polls.ID())
	_, ok := q.FindID(id)
	require.False(t, ok, "it has ended")
	next := kit.PutJob(t, q, "next", 0)
	ids := map[string]bool{next.ID(): true}
	for _, j := range jobs {
		ids[j.ID()] = true
	}
	require.Len(t, ids, 5, "no two jobs have one ID")
	_, err := next.Await(t.Context())
	require.NoError(t, err)
}

func TestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		expires := func(d time.Duration) twill.JobOptions {
			return twill.JobOptions{Expires: time.Now().Add(d), Group: "g"}
		}
		first := kit.PutOpts(t, q, time.Hour, 0, expires(time.Minute))
		late := kit.PutOpts(t, q, 1, 0, expires(time.Minute))
		early := kit.PutOpts(t, q, 1, 1, expires(2*time.Hour))
		past := kit.PutOpts(t, q, 1, 1, expires(-time.Hour))
		time.Sleep(time.Minute)
		synctest.Wait()
		kit.RequireFailure(t, twill.ErrExpired, &late.Future)
		kit.RequireFailure(t, twill.ErrExpired, &past.Future)
		require.Equal(t, twill.JobFailed, late.State())
		_, err := first.Await(t.Context())
		require.NoError(t, err, "it was started in time")
		_, err = early.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(2), q.Stats().Failed)

		idle := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		_, err = kit.PutOpts(t, idle, 1, 0, expires(-1)).Await(t.Context())
		require.ErrorIs(t, err, twill.ErrExpired, "a free slot does not matter")

		idle.Pause()
		kit.PutOpts(t, idle, 1, 0, expires(time.Minute))
		left, err := idle.Stop().Await(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.Equal(t, twill.JobPending, left[0].State(), "it is left over")
		again, err := twill.NewResizableDispatchQueue(kit.Sleep, nil).Restore([]twill.JobRecord[time.Duration]{left[0].Record()})
		require.NoError(t, err)
		_, err = again[0].Await(t.Context())
		require.ErrorIs(t, err, twill.ErrExpired)
	})
}

// Again: a job that is put for a key that is underway runs afterwards, once,
// with the newest argument, and calls do not overlap.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var args []int
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			mu.Lock()
			args = append(args, n)
			mu.Unlock()
			time.Sleep(time.Minute)
			return n, nil
		}, &twill.DispatchOptions{Width: 5})
		o := twill.JobOptions{Key: "k", Again: true}
		first := kit.PutOpts(t, q, 1, 0, o)
		second := kit.PutOpts(t, q, 2, 0, o)
		require.NotSame(t, first, second)
		require.Same(t, second, kit.PutOpts(t, q, 3, 0, o))
		require.Same(t, first, kit.PutOpts(t, q, 4, 0, twill.JobOptions{Key: "k"}), "without Again")
		reason, _ := q.Why(second)
		require.Equal(t, twill.WaitKey, reason)
		found, ok := q.Find("k")
		require.True(t, ok)
		require.Same(t, first, found)
		v, err := second.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, v)
		require.Equal(t, 3, second.Arg())
		mu.Lock()
		require.Equal(t, []int{1, 3}, args)
		mu.Unlock()
		_, ok = q.Find("k")
		require.False(t, ok)

		// A waiting job is canceled, and the next one takes its place.
		first = kit.PutOpts(t, q, 1, 0, o)
		second = kit.PutOpts(t, q, 2, 0, o)
		require.True(t, second.Cancel(nil))
		third := kit.PutOpts(t, q, 3, 0, o)
		require.NotSame(t, second, third)
		require.True(t, first.Cancel(nil))
		_, err = third.Await(t.Context())
		require.NoError(t, err)

		// It is left over with the job before it, and restored with it.
		first = kit.PutOpts(t, q, 5, 0, o)
		second = kit.PutOpts(t, q, 6, 0, o)
		left, err := q.StopNow().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []*twill.Job[int, int]{first, second}, left)
		text, err := json.Marshal(left)
		require.NoError(t, err)
		var records []twill.JobRecord[int]
		require.NoError(t, json.Unmarshal(text, &records))
		mu.Lock()
		args = nil
		mu.Unlock()
		next := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			mu.Lock()
			args = append(args, n)
			mu.Unlock()
			time.Sleep(time.Minute)
			return n, nil
		}, &twill.DispatchOptions{Width: 5})
		_, err = next.Restore(records)
		require.NoError(t, err)
		_, err = next.Empty().Await(t.Context())
		require.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []int{5, 6}, args)
	})
}

func TestDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		o := twill.JobOptions{Key: "k", After: time.Second, Debounce: true}
		j := kit.PutOpts(t, q, 0, 0, o)
		for i := range 5 {
			time.Sleep(600 * time.Millisecond)
			require.Same(t, j, kit.PutOpts(t, q, i+1, 0, o))
		}
		v, err := j.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 5, v)
		require.Equal(t, 4*time.Second, time.Since(start))
		require.Equal(t, uint64(5), q.Stats().Joined)
	})
}

type traceKey struct{}

func TestJobValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type queueKey struct{}
		seen := map[string]any{}
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			seen["call"], seen["queue"] = ctx.Value(traceKey{}), ctx.Value(queueKey{})
			return n, cmp.Or(ctx.Err(), context.Cause(ctx))
		}, &twill.DispatchOptions{Context: context.WithValue(t.Context(), queueKey{}, "q")})
		q.Use(func(ctx context.Context, j *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
			seen["hook"] = ctx.Value(traceKey{})
			return next(ctx)
		})
		values, cancel := context.WithCancel(context.WithValue(context.Background(), traceKey{}, "trace"))
		cancel()
		_, err := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Context: values}).Await(t.Context())
		require.NoError(t, err, "the end of that context is no matter")
		require.Equal(t, map[string]any{"call": "trace", "hook": "trace", "queue": "q"}, seen)

		// Nor is its cause taken for that of the job's own end.
		var cause error
		slow := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			child, stop := context.WithCancel(ctx)
			defer stop()
			<-child.Done()
			cause = context.Cause(child)
			return 0, cause
		}, nil)
		j := kit.PutOpts(t, slow, 1, 0, twill.JobOptions{Context: values, Timeout: time.Hour})
		synctest.Wait()
		j.Cancel(kit.ErrBoom)
		_, err = slow.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, kit.ErrBoom, cause)
	})
}

func TestJobOptionsAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		q.Pause()
		j, err := q.Put(1, 0, twill.JobOptions{Key: "a", After: time.Hour}, twill.JobOptions{Key: "b"}, twill.JobOptions{Group: "g"})
		require.NoError(t, err)
		require.Equal(t, []string{"b", "g"}, []string{j.Key(), j.Group()})
		require.Equal(t, time.Now().Add(time.Hour), j.DueAt())
		at := time.Now().Add(time.Minute)
		jobs, err := q.PutAll([]int{1, 2}, 0, twill.JobOptions{After: time.Hour}, twill.JobOptions{At: at})
		require.NoError(t, err)
		require.Equal(t, at, jobs[1].DueAt())
		require.Panics(t, func() { _, _ = q.Put(1, 0, twill.JobOptions{At: at, After: 1}) })
		same, err := q.PutAll([]int{1, 2}, 0, twill.JobOptions{Key: "c"})
		require.NoError(t, err)
		require.Same(t, same[0], same[1])
		_, err = q.PutAll([]int{1, 2}, 0, twill.JobOptions{Key: "d", Refuse: true})
		require.ErrorIs(t, err, twill.ErrDuplicateJob)
		_, ok := q.Find("d")
		require.False(t, ok)
		q.Stop()
	})
}

// A job's timeout is its context's deadline, and at the deadline the job fails
// with a *TimeoutError, whichever notices first.
func TestTimeoutIsTheDeadlineOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var derived error
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			end, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, start.Add(time.Minute), end)
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			derived = child.Err()
			require.Equal(t, context.DeadlineExceeded, ctx.Err())
			var timeout *twill.TimeoutError
			require.ErrorAs(t, context.Cause(child), &timeout)
			if n == 0 {
				return 0, ctx.Err()
			}
			return 0, kit.ErrBoom
		}, nil)
		for n := range 2 {
			start = time.Now()
			j := kit.PutOpts(t, q, n, 0, twill.JobOptions{Timeout: time.Minute})
			_, err := j.Await(t.Context())
			require.IsType(t, &twill.TimeoutError{}, err)
			require.Equal(t, time.Minute, err.(*twill.TimeoutError).After)
			require.Equal(t, twill.JobFailed, j.State())
			_, err = q.NoneUnderway().Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, context.DeadlineExceeded, derived)
		}

		// The deadline of the queue's context applies if it is earlier.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		short := twill.NewResizableDispatchQueue(func(ctx context.Context, _ int) (int, error) {
			end, _ := ctx.Deadline()
			return int(time.Until(end)), nil
		}, &twill.DispatchOptions{Context: ctx})
		v, err := kit.PutOpts(t, short, 0, 0, twill.JobOptions{Timeout: time.Minute}).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, int(time.Second), v)
	})
}

// With a Retry the failure is a *TimeoutError with the errors of the attempts
// too: at the deadline, in a pause, and if the next pause would exceed the
// deadline.
func TestTimeoutWithRetries(t *testing.T) {
	pauses := func(ds ...time.Duration) *twill.RetryOptions {
		return &twill.RetryOptions{Backoff: slices.Values(ds)}
	}
	for name, c := range map[string]struct {
		retry *twill.RetryOptions
		takes time.Duration
		ends  time.Duration
		calls int
	}{
		"in a call":          {pauses(time.Second, time.Second), 40 * time.Second, time.Minute, 2},
		"by a pause":         {pauses(time.Second, time.Hour), 10 * time.Second, 21 * time.Second, 2},
		"in a late pause":    {pauses(10*time.Second, 10*time.Second), 10 * time.Second, 0, 0},
		"without more tries": {pauses(), 10 * time.Second, 10 * time.Second, 1},
	} {
		if c.calls == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				start := time.Now()
				q := twill.NewResizableDispatchQueue(func(ctx context.Context, _ int) (int, error) {
					calls.Add(1)
					select {
					case <-time.After(c.takes):
						return 0, kit.ErrBoom
					case <-ctx.Done():
						return 0, ctx.Err()
					}
				}, nil)
				j := kit.PutOpts(t, q, 0, 0, twill.JobOptions{Timeout: time.Minute, Retry: c.retry})
				_, err := j.Await(t.Context())
				require.Equal(t, c.ends, time.Since(start))
				require.ErrorIs(t, err, kit.ErrBoom)
				require.EqualValues(t, c.calls, calls.Load())
				var timeout *twill.TimeoutError
				require.Equal(t, name != "without more tries", errors.As(err, &timeout))
				q.Stop()
			})
		})
	}
}

// In a pause of the queue the timeout continues. After a stop, a job in the
// pause before its retry is left over, and the end of its timeout changes
// nothing.
func TestTimeoutInAPauseAndAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func(context.Context, int) (int, error) { return 0, kit.ErrBoom }
		o := twill.JobOptions{Timeout: time.Minute, Retry: &twill.RetryOptions{Backoff: pausesOf(30 * time.Second)}}
		q := twill.NewResizableDispatchQueue(fails, nil)
		j := kit.PutOpts(t, q, 0, 0, o)
		synctest.Wait()
		q.Pause()
		start := time.Now()
		_, err := j.Await(t.Context())
		var timeout *twill.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.ErrorIs(t, err, kit.ErrBoom)
		require.Equal(t, time.Minute, time.Since(start))
		kit.RequireSize(t, q, 0, 0)

		require.NoError(t, q.Resume())
		j = kit.PutOpts(t, q, 0, 0, o)
		synctest.Wait()
		left, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []*twill.Job[int, int]{j}, left)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, twill.JobPending, j.State())
		require.True(t, j.Cancel(nil), "the queue still works")
		kit.RequireSize(t, q, 0, 0)
	})
}

// MaxElapsed holds when an attempt begins, however long the job has waited for
// its slot.
func TestMaxElapsedHoldsWhenAnAttemptBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
			calls++
			return 0, kit.ErrBoom
		}, nil)
		j := kit.PutOpts(t, q, 0, 0, twill.JobOptions{Retry: &twill.RetryOptions{
			Backoff: pausesOf(100 * time.Millisecond), MaxElapsed: time.Second,
		}})
		synctest.Wait()
		q.Pause()
		time.Sleep(time.Hour)
		require.NoError(t, q.Resume())
		_, err := j.Await(t.Context())
		require.ErrorIs(t, err, twill.ErrMaxElapsed)
		require.Equal(t, 1, calls)
	})
}

// The wall clock is set: an hour back, or eight hours ahead as after a sleep.
func TestWallClockSteps(t *testing.T) {
	wall := func() time.Time { return time.Now().Round(0).Add(time.Duration(clock.Step.Load())) }
	for _, step := range []time.Duration{-time.Hour, 8 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			defer clock.Step.Store(0)
			start := time.Now()
			q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
			before := kit.PutOpts(t, q, 1, 0, twill.JobOptions{At: wall().Add(time.Minute)})
			time.Sleep(time.Second)
			clock.Step.Store(int64(step))
			after := kit.PutOpts(t, q, 2, 0, twill.JobOptions{At: wall().Add(2 * time.Minute)})
			short := kit.PutOpts(t, q, 3, 0, twill.JobOptions{After: time.Minute})
			require.True(t, wall().Add(59*time.Second).Equal(before.DueAt()), "by the wall clock as it is now")
			require.True(t, wall().Equal(short.QueuedAt()))
			r := short.Record()
			require.True(t, wall().Equal(r.Queued) && wall().Add(time.Minute).Equal(r.Due))

			// Saved and restored after the step.
			text, err := json.Marshal([]*twill.Job[int, int]{before, after, short})
			require.NoError(t, err)
			var records []twill.JobRecord[int]
			require.NoError(t, json.Unmarshal(text, &records))
			next := twill.NewResizableDispatchQueue(kit.SameArg, nil)
			restored, err := next.Restore(records)
			require.NoError(t, err)
			for i, at := range []time.Duration{60, 121, 61} {
				for _, j := range []*twill.Job[int, int]{before, after, short}[i : i+1] {
					_, err := j.Await(t.Context())
					require.NoError(t, err)
				}
				_, err := restored[i].Await(t.Context())
				require.NoError(t, err)
				if i == 1 {
					require.Equal(t, at*time.Second, time.Since(start))
				}
			}

			// Saved before the step, and restored after it: the wall clock determines
			// the time.
			j := kit.PutOpts(t, q, 4, 0, twill.JobOptions{At: wall().Add(9 * time.Hour)})
			r = j.Record()
			r.Queued, r.Due = r.Queued.Round(0), r.Due.Round(0)
			j.Cancel(nil)
			clock.Step.Store(int64(2 * step))
			restored, err = next.Restore([]twill.JobRecord[int]{r})
			require.NoError(t, err)
			began := time.Now()
			_, err = restored[0].Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, 9*time.Hour-step, time.Since(began))
		})
	}
}

// A record whose Queued is in the future, because the clock was set back, is
// not put behind other jobs.
func TestRestoreOfATimeAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Ageing: time.Second})
		q.Pause()
		jobs, err := q.Restore([]twill.JobRecord[int]{{Arg: 1, Queued: time.Now().Add(time.Hour)}})
		require.NoError(t, err)
		require.Equal(t, time.Now(), jobs[0].QueuedAt())
		time.Sleep(time.Second)
		kit.PutJob(t, q, 2, 0)
		require.Equal(t, []int{1, 2}, kit.Args(q.Pending()))
		q.Stop()
	})
}

// A Put that joins a job in the pause before its retry does not end the pause,
// even after a Restore.
func TestJoinInARetryPauseKeepsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func(context.Context, int) (int, error) { return 0, kit.ErrBoom }
		o := &twill.DispatchOptions{Retry: &twill.RetryOptions{Backoff: pausesOf(time.Hour)}}
		q := twill.NewResizableDispatchQueue(fails, o)
		j := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "k"})
		time.Sleep(time.Minute)
		due := j.DueAt()
		require.Same(t, j, kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "k"}))
		require.Equal(t, due, j.DueAt())
		left, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		next := twill.NewResizableDispatchQueue(fails, o)
		restored, err := next.Restore([]twill.JobRecord[int]{left[0].Record()})
		require.NoError(t, err)
		require.Same(t, restored[0], kit.PutOpts(t, next, 1, 0, twill.JobOptions{Key: "k"}))
		require.Equal(t, due, restored[0].DueAt())
		require.Equal(t, twill.JobPending, restored[0].State())
		next.Stop()
	})
}

// A worker that takes its next job takes a job that is due, even if the timer
// has not fired yet.
func TestDueJobsAreSeenByTheNextWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			order = append(order, n)
			time.Sleep(time.Second)
			return n, nil
		}, nil)
		for i := range 3 {
			kit.PutJob(t, q, i, 5)
		}
		kit.PutOpts(t, q, 9, 0, twill.JobOptions{After: time.Second})
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{0, 9, 1, 2}, order)
	})
}

// By its times, no job starts before it was put.
func TestTimesAreInOrder(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 2})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 5_000 {
				j, err := q.Put(i, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := j.Await(context.Background()); err != nil {
					t.Error(err)
				}
				if j.StartedAt().Before(j.QueuedAt()) || j.EndedAt().Before(j.StartedAt()) {
					t.Errorf("%v, %v, %v", j.QueuedAt(), j.StartedAt(), j.EndedAt())
					return
				}
			}
		})
	}
	wg.Wait()
}

// Keys and groups of any bytes are saved.
func TestKeysThatAreNotText(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	var want []string
	for i := range 200 {
		key := string([]byte{byte(i), 0xff, byte(i * 7), 0x80})
		want = append(want, key)
		kit.PutOpts(t, q, i, 0, twill.JobOptions{Key: key, Group: key[:2]})
	}
	left, err := q.Stop().Await(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(left)
	require.NoError(t, err)
	var records []twill.JobRecord[int]
	require.NoError(t, json.Unmarshal(text, &records))
	next := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	next.Pause()
	jobs, err := next.Restore(records)
	require.NoError(t, err)
	for i, j := range jobs {
		require.Equal(t, want[i], j.Key())
		require.Equal(t, want[i][:2], j.Group())
	}
	next.Stop()
}

// A program that adds fields to the record of a job can read them again: the
// record has no JSON methods that an embedding type would inherit.
func TestARecordInAStructLosesNothing(t *testing.T) {
	type saved struct {
		twill.JobRecord[int]
		Failure string
	}
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	in := saved{kit.PutOpts(t, q, 7, 3, twill.JobOptions{Key: "\xff", Group: "a"}).Record(), "refused"}
	text, err := json.Marshal(in)
	require.NoError(t, err)
	var out saved
	require.NoError(t, json.Unmarshal(text, &out))
	require.Equal(t, "refused", out.Failure)
	require.Equal(t, []byte("\xff"), out.KeyBytes)
	require.Equal(t, 7, out.Arg)
	require.Equal(t, "a", out.Group)
	q.Stop()
}

// odd is an argument that JSON cannot write if it is even.
type odd int

func (o odd) MarshalJSON() ([]byte, error) {
	if o%2 == 0 {
		return nil, kit.ErrBoom
	}
	return json.Marshal(int(o))
}

// If JSON cannot write one of the jobs, the others can be saved one by one.
func TestArgumentsThatJSONCannotWrite(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, x odd) (int, error) { return 0, nil }, nil)
	q.Pause()
	for _, x := range []odd{1, 2, 3} {
		kit.PutJob(t, q, x, 0)
	}
	left, err := q.Stop().Await(t.Context())
	require.NoError(t, err)
	_, err = json.Marshal(left)
	require.Error(t, err)
	var saved int
	for _, j := range left {
		if _, err := json.Marshal(j.Record()); err == nil {
			saved++
		}
	}
	require.Equal(t, 2, saved)
}

func TestWidthAfterAStop(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Stop()
	require.ErrorIs(t, q.SetWidth(5), twill.ErrStopped)
	require.ErrorIs(t, q.SetWidth(-1), twill.ErrNegativeWidth)
	require.ErrorIs(t, q.ResumeWidth(-1), twill.ErrNegativeWidth)
	require.ErrorIs(t, q.ResumeWidth(5), twill.ErrStopped)
	require.Zero(t, q.Width())
}

func TestSizesAtTheirExtremes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{math.MaxInt, math.MaxInt - 1, math.MinInt, -1, 1} {
			for _, width := range []int{1, 3, math.MaxInt} {
				for _, rate := range []twill.Limiter{nil, kit.LimiterFunc(func(context.Context) error { return nil })} {
					q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Size: size, Width: width, Rate: rate})
					if size > 1 || width > 1 {
						_, err := q.PutAll([]int{1, 2, 3}, 0)
						require.NoError(t, err, "size %d, width %d", size, width)
					}
					_, err := q.Empty().Await(t.Context())
					require.NoError(t, err)
					_, err = q.Put(1, 0)
					require.NoError(t, err)
					_, err = q.PutWait(t.Context(), 1, 0)
					require.NoError(t, err)
					q.Stop()
				}
			}
		}
	})
}

func TestPendingBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		_, err := q.PutAll([]time.Duration{time.Second, time.Second, time.Second, time.Second}, 0)
		require.NoError(t, err)
		start := time.Now()
		require.Error(t, func() error { _, err := q.PendingBelow(0).Await(t.Context()); return err }())
		_, err = q.PendingBelow(4).Await(t.Context())
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
		_, err = q.PendingBelow(2).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, time.Since(start))
		never := q.PendingBelow(1)
		idle := q.NoneUnderway()
		q.Stop()
		_, err = never.Await(t.Context())
		require.ErrorIs(t, err, twill.ErrStopped)
		_, err = idle.Await(t.Context())
		require.NoError(t, err)
		_, err = q.PendingBelow(1).Await(t.Context())
		require.ErrorIs(t, err, twill.ErrStopped)
		_, err = q.NoneUnderway().Await(t.Context())
		require.NoError(t, err)
	})
}

func TestStatsAreAValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		_, err := q.PutAll([]time.Duration{time.Second, 3 * time.Second}, 0)
		require.NoError(t, err)
		_, err = q.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 4*time.Second, q.Stats().Running.Sum())
		require.InDelta(t, float64(time.Second), float64(q.Stats().Running.Quantile(.1)), float64(time.Second)/8)
		require.Equal(t, uint64(2), q.Stats().Ended())
		both := q.Stats().Add(q.Stats())
		require.Equal(t, 8*time.Second, both.Running.Sum())
		require.Equal(t, uint64(4), both.Running.Count())
		require.Equal(t, uint64(4), both.Put)
		require.Equal(t, 2, both.Width)
		require.Contains(t, fmt.Sprint(both), "4 finished")
		text, err := json.Marshal(both)
		require.NoError(t, err)
		var read struct {
			Finished int
			Running  struct{ Count, Max int64 }
		}
		require.NoError(t, json.Unmarshal(text, &read))
		require.Equal(t, 4, read.Finished)
		require.EqualValues(t, 4, read.Running.Count)
		require.EqualValues(t, 3*time.Second, read.Running.Max)
	})
}
