package durable_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
)

// restarts is a queue of texts that is closed and opened again, with a note of
// which calls were started.
type restarts struct {
	*testing.T
	file string
	opts durable.Options
	q    *durable.Queue[string, string]

	mu    sync.Mutex
	calls []string
	fail  func(arg string, call int) error // what a call returns
}

func newRestarts(t *testing.T, opts twill.DispatchOptions) *restarts {
	r := &restarts{T: t, file: tempFile(t), opts: durable.Options{Dispatch: opts}}
	r.open()
	r.q.Pause()
	return r
}

func (r *restarts) open() {
	r.Helper()
	r.q = open(r.T, r.file, func(ctx context.Context, arg string) (string, error) {
		r.mu.Lock()
		r.calls = append(r.calls, arg)
		call, _ := durable.JobAttempt(ctx)
		fail := r.fail
		r.mu.Unlock()
		if fail != nil {
			if err := fail(arg, call); err != nil {
				return "", err
			}
		}
		return "did " + arg, nil
	}, &r.opts)
}

// again closes the file and opens it.
func (r *restarts) again() {
	r.Helper()
	shut(r.T, r.q)
	r.open()
}

// returns sets what calls return.
func (r *restarts) returns(fail func(arg string, call int) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

// called is how many calls were started.
func (r *restarts) called() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}

func (r *restarts) put(arg string, priority int, opts ...twill.JobOptions) *durable.Job[string, string] {
	r.Helper()
	j, err := r.q.Put(arg, priority, opts...)
	require.NoError(r, err)
	return j
}

// find is a job of an earlier process.
func (r *restarts) find(j *durable.Job[string, string]) *durable.Job[string, string] {
	r.Helper()
	found, err := r.q.Find(j.ID())
	require.NoError(r, err)
	return found
}

func (r *restarts) pending() (args []string) {
	r.Helper()
	for _, j := range r.q.Pending() {
		arg, err := j.Arg()
		require.NoError(r, err)
		args = append(args, arg)
	}
	return args
}

// run lets all jobs end and returns the calls in their order.
func (r *restarts) run() []string {
	r.Helper()
	require.NoError(r, r.q.Resume())
	_, err := r.q.Empty().Await(within(r.T))
	require.NoError(r, err)
	require.NoError(r, r.q.Flush())
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Each feature of the dispatch queue, and after a restart.
func TestAfterARestart(t *testing.T) {
	for name, test := range map[string]func(t *testing.T){
		"priority and order": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			for i, priority := range []int{2, 1, 2, 0, 1, -5} {
				r.put(fmt.Sprint("j", i), priority)
			}
			_, err := r.q.PutAll([]string{"a", "b", "c"}, 1)
			require.NoError(t, err)
			r.again()
			r.again()
			r.put("late", 1)
			want := []string{"j5", "j3", "j1", "j4", "a", "b", "c", "late", "j0", "j2"}
			require.Equal(t, want, r.pending())
			require.Equal(t, want, r.run())
		},
		"reprioritize": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			r.put("a", 0)
			b := r.put("b", 1)
			require.NoError(t, r.q.Reprioritize(b, -1))
			r.again()
			require.Equal(t, -1, r.find(b).Priority())
			require.Equal(t, []string{"b", "a"}, r.run())
		},
		"cancel and clear": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			a := r.put("a", 0)
			require.True(t, a.Cancel(errors.New("not needed")))
			r.again()
			require.Empty(t, r.pending())
			a = r.find(a)
			require.Equal(t, twill.JobCanceled, a.State())
			_, err := a.Await(within(t))
			require.ErrorIs(t, err, twill.ErrCanceled)
			require.ErrorContains(t, err, "not needed")
			require.False(t, a.Cancel(nil))
			r.put("b", 0)
			r.put("c", 0)
			require.Equal(t, 2, r.q.Clear())
			r.again()
			require.Empty(t, r.run())
		},
		"results": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			r.returns(func(arg string, _ int) error {
				if arg == "b" {
					return errors.New("no b")
				}
				return nil
			})
			a, b := r.put("a", 0), r.put("b", 0)
			r.run()
			r.again()
			a, b = r.find(a), r.find(b)
			v, err := a.Await(within(t))
			require.NoError(t, err)
			require.Equal(t, "did a", v)
			arg, err := a.Arg()
			require.NoError(t, err)
			require.Equal(t, "a", arg)
			require.False(t, a.Record().Stopped.IsZero())
			_, err = b.Await(within(t))
			var end *durable.EndError
			require.ErrorAs(t, err, &end)
			require.Equal(t, "no b", end.Text)
			require.Equal(t, twill.JobFailed, b.State())
			c := r.put("c", 0)
			require.NotContains(t, []string{a.ID(), b.ID()}, c.ID())
		},
		"width": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{Width: 2})
			require.NoError(t, r.q.SetWidth(7))
			r.again()
			require.Equal(t, 7, r.q.Width())
			require.NoError(t, r.q.SetWidth(0))
			r.again()
			require.Zero(t, r.q.Width())
			r.opts.Dispatch.Width = 3 // the program has changed
			r.again()
			require.Equal(t, 3, r.q.Width())
		},
		"pause": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			r.again()
			require.True(t, r.q.Paused())
			require.NoError(t, r.q.Resume())
			r.again()
			require.False(t, r.q.Paused())
		},
		"rate": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			r.q.SetRate(rate.NewLimiter(rate.Every(time.Minute), 2))
			r.again()
			l := r.q.RateLimiter().(*rate.Limiter)
			require.Equal(t, rate.Every(time.Minute), l.Limit())
			require.Equal(t, 2, l.Burst())
			a, b, c := r.put("a", 0), r.put("b", 0), r.put("c", 0)
			require.NoError(t, r.q.Resume())
			for _, j := range []*durable.Job[string, string]{a, b} {
				_, err := j.Await(within(t))
				require.NoError(t, err)
			}
			until(t, "the rate limit holds it back", func() bool { reason, _ := r.q.Why(c); return reason == twill.WaitRate })
			r.q.SetRate(rate.NewLimiter(rate.Inf, 0))
			r.again()
			require.Equal(t, rate.Inf, r.q.RateLimiter().(*rate.Limiter).Limit())
			r.q.SetRate(nil)
			r.opts.Dispatch.Rate = rate.NewLimiter(1, 1)
			r.again()
			require.Nil(t, r.q.RateLimiter())
		},
		"groups": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{Width: 5})
			block := make(chan struct{})
			r.returns(func(string, int) error { <-block; return nil })
			require.NoError(t, r.q.SetGroupLimit("g", twill.GroupLimit{Width: 1}))
			require.NoError(t, r.q.SetGroupLimits(twill.GroupLimit{Width: 2}))
			r.put("a", 0, twill.JobOptions{Group: "g"})
			b := r.put("b", 0, twill.JobOptions{Group: "g"})
			for _, arg := range []string{"c", "d", "e"} {
				r.put(arg, 0, twill.JobOptions{Group: "h\xff\x00"})
			}
			r.again()
			require.NoError(t, r.q.Resume())
			until(t, "three run", func() bool { n, _ := r.q.Size(); return n == 3 })
			reason, _ := r.q.Why(r.find(b))
			require.Equal(t, twill.WaitGroup, reason)
			require.Equal(t, "g", r.find(b).Group())
			close(block)
			require.Len(t, r.run(), 5)
		},
		"delay": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			due := time.Now().Add(time.Hour)
			late := r.put("late", -1, twill.JobOptions{At: due})
			soon := r.put("soon", -1, twill.JobOptions{After: 200 * time.Millisecond})
			r.put("now", -2)
			r.again()
			reason, at := r.q.Why(r.find(late))
			require.Equal(t, twill.WaitDue, reason)
			require.WithinDuration(t, due, at, 50*time.Millisecond)
			require.NoError(t, r.q.Resume())
			_, err := r.find(soon).Await(within(t))
			require.NoError(t, err)
			require.True(t, r.find(late).Cancel(nil))
			require.Equal(t, []string{"now", "soon"}, r.run())
		},
		"keys": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			a := r.put("a", 4, twill.JobOptions{Key: "k\xff", After: time.Hour})
			require.Equal(t, a.ID(), r.put("b", 2, twill.JobOptions{Key: "k\xff"}).ID())
			r.again()
			found, ok := r.q.FindKey("k\xff")
			require.True(t, ok)
			require.Equal(t, []any{a.ID(), 2}, []any{found.ID(), found.Priority()}, "what was merged")
			require.Equal(t, a.ID(), r.put("c", 1, twill.JobOptions{Key: "k\xff"}).ID())
			require.Equal(t, []string{"a"}, r.run(), "and its delay is over")
		},
		"Again": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{Width: 5})
			started, block := make(chan struct{}, 5), make(chan struct{})
			r.returns(func(arg string, _ int) error { started <- struct{}{}; <-block; return nil })
			require.NoError(t, r.q.Resume())
			again := twill.JobOptions{Key: "k", Again: true}
			r.put("v1", 0, again)
			<-started
			second := r.put("v2", 0, again)
			require.Equal(t, second.ID(), r.put("v3", 0, again).ID())
			r.again()
			<-started
			reason, _ := r.q.Why(r.find(second))
			require.Equal(t, twill.WaitKey, reason)
			require.Equal(t, second.ID(), r.put("v4", 0, again).ID())
			close(block)
			require.Equal(t, []string{"v1", "v1", "v4"}, r.run())
		},
		"Debounce": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			debounce := twill.JobOptions{Key: "k", Debounce: true, After: time.Hour}
			j := r.put("v1", 0, debounce)
			r.put("v2", 0, debounce)
			r.again()
			require.Equal(t, []string{"v2"}, r.pending())
			debounce.After = time.Millisecond
			require.Equal(t, j.ID(), r.put("v3", 0, debounce).ID())
			r.again()
			require.Equal(t, []string{"v3"}, r.run())
		},
		"Expires": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			soon := r.put("soon", 0, twill.JobOptions{Expires: time.Now().Add(50 * time.Millisecond)})
			late := r.put("late", 0, twill.JobOptions{Expires: time.Now().Add(time.Hour)})
			r.again()
			_, err := r.find(soon).Await(within(t))
			require.ErrorIs(t, err, twill.ErrExpired)
			require.Equal(t, []string{"late"}, r.run())
			require.Equal(t, twill.JobFinished, r.find(late).State())
		},
		"Held": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			held := r.put("held", 0, twill.JobOptions{Held: true})
			free := r.put("free", 1, twill.JobOptions{Held: true})
			require.True(t, free.Release())
			require.False(t, free.Release())
			r.again()
			require.NoError(t, r.q.Resume())
			_, err := r.find(free).Await(within(t))
			require.NoError(t, err)
			reason, _ := r.q.Why(r.find(held))
			require.Equal(t, twill.WaitHeld, reason)
			require.True(t, r.find(held).Release())
			require.Equal(t, []string{"free", "held"}, r.run())
		},
		"Timeout": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{Timeout: time.Hour})
			block := make(chan struct{})
			defer close(block)
			r.returns(func(string, int) error { <-block; return nil })
			j := r.put("a", 0, twill.JobOptions{Timeout: 20 * time.Millisecond})
			r.again()
			require.NoError(t, r.q.Resume())
			_, err := r.find(j).Await(within(t))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			r.again()
			_, err = r.find(j).Await(within(t))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		},
		"Snooze": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			r.returns(func(string, int) error { return twill.Snooze(time.Hour) })
			j := r.put("a", 0)
			require.NoError(t, r.q.Resume())
			until(t, "it is snoozed", func() bool { reason, _ := r.q.Why(j); return reason == twill.WaitDue })
			require.NoError(t, r.q.Flush())
			r.returns(nil)
			r.again()
			reason, at := r.q.Why(r.find(j))
			require.Equal(t, twill.WaitDue, reason)
			require.WithinDuration(t, time.Now().Add(time.Hour), at, time.Minute)
			require.Zero(t, r.find(j).Attempts())
		},
		"Retry": func(t *testing.T) {
			pauses := slices.Values([]time.Duration{time.Millisecond, time.Hour, time.Millisecond})
			r := newRestarts(t, twill.DispatchOptions{Retry: &twill.RetryOptions{Backoff: pauses}})
			r.returns(func(_ string, call int) error { return fmt.Errorf("call %d", call) })
			j := r.put("a", 0)
			require.NoError(t, r.q.Resume())
			until(t, "it waits for an hour", func() bool { return j.Attempts() == 2 && j.State() == twill.JobPending })
			require.NoError(t, r.q.Flush())
			r.again()
			j = r.find(j)
			require.Equal(t, 2, j.Attempts())
			require.ErrorContains(t, r.q.JobError(j.ID()), "call 2")
			_, at := r.q.Why(j)
			require.WithinDuration(t, time.Now().Add(time.Hour), at, time.Minute)
			require.Equal(t, 2, r.called())
			require.Zero(t, r.q.Found().Interrupted, "a pause is no crash")
		},
		"the rest of the pauses": func(t *testing.T) {
			pauses := slices.Values([]time.Duration{0, 50 * time.Millisecond, 0})
			r := newRestarts(t, twill.DispatchOptions{Retry: &twill.RetryOptions{Backoff: pauses}})
			failing := make(chan struct{}, 10)
			r.returns(func(_ string, call int) error {
				failing <- struct{}{}
				return fmt.Errorf("call %d", call)
			})
			j := r.put("a", 0)
			require.NoError(t, r.q.Resume())
			<-failing
			<-failing
			until(t, "it pauses", func() bool { return j.State() == twill.JobPending })
			require.NoError(t, r.q.Flush())
			r.again()
			_, err := r.find(j).Await(within(t))
			require.ErrorIs(t, err, twill.ErrRetriesExhausted)
			require.Equal(t, 4, r.called(), "one call and three retries, in two processes")
		},
		"a job's own Retry": func(t *testing.T) {
			own := &twill.RetryOptions{Backoff: slices.Values([]time.Duration{0, 0})}
			r := newRestarts(t, twill.DispatchOptions{})
			_, err := r.q.Put("a", 0, twill.JobOptions{Retry: own})
			require.ErrorIs(t, err, durable.ErrNotKept)
			r.opts.Retries = map[string]*twill.RetryOptions{"own": own}
			r.again()
			r.returns(func(_ string, call int) error {
				if call < 3 {
					return errors.New("once more")
				}
				return nil
			})
			j := r.put("a", 0, twill.JobOptions{Retry: own})
			r.again()
			require.Len(t, r.run(), 3)
			require.Equal(t, twill.JobFinished, r.find(j).State())
		},
		"ageing": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{Ageing: 100 * time.Millisecond})
			r.put("old", 1)
			time.Sleep(250 * time.Millisecond)
			r.again()
			r.put("new", 0)
			require.Equal(t, []string{"old", "new"}, r.run())
		},
		"a bounded size": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{Size: 2})
			r.put("a", 0)
			r.put("b", 0)
			r.again()
			_, err := r.q.Put("c", 0)
			require.ErrorIs(t, err, twill.ErrQueueFull)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err = r.q.PutWait(ctx, "d", 0)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = r.q.PutWait(ctx, "d", 0, twill.JobOptions{Key: "k"})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			r.again()
			require.Equal(t, []string{"a", "b"}, r.run(), "what was refused never runs")
		},
		"a drain": func(t *testing.T) {
			r := newRestarts(t, twill.DispatchOptions{})
			j := r.put("a", 0)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			left, err := r.q.Drain(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.Len(t, left, 1)
			r.again()
			require.Equal(t, []string{"a"}, r.run())
			require.Equal(t, 1, r.find(j).Attempts())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// slowError blocks while the queue reads its text.
type slowError struct{ reading, read chan struct{} }

func (e slowError) Error() string {
	select {
	case e.reading <- struct{}{}:
	default:
	}
	<-e.read
	return "slow"
}

// An end that comes when nothing is written any longer is not shown, as the job
// runs again in the next process.
func TestEndAfterCloseIsNotShown(t *testing.T) {
	file := tempFile(t)
	slow := slowError{make(chan struct{}, 1), make(chan struct{})}
	q := open(t, file, func(context.Context, int) (int, error) { return 0, slow }, nil)
	j, err := q.Put(1, 0)
	require.NoError(t, err)
	<-slow.reading
	shut(t, q)
	close(slow.read)
	_, err = j.Await(within(t))
	require.ErrorIs(t, err, durable.ErrClosed)
	require.ErrorIs(t, err, twill.ErrCanceled)

	q = open(t, file, double, nil)
	again, err := q.Find(j.ID())
	require.NoError(t, err)
	v, err := again.Await(within(t))
	require.NoError(t, err)
	require.Equal(t, 2, v)
}

// Options.Dispatch.Go gets the job, and may use the queue, whichever call makes
// the job start. If it misbehaves, the job runs, once.
func TestGoUsesTheQueue(t *testing.T) {
	for name, start := range map[string]func(work func()){
		"starts":                func(work func()) { go work() },
		"panic":                 func(func()) { panic("boom") },
		"exit":                  func(func()) { runtime.Goexit() },
		"panic after the start": func(work func()) { go work(); panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			var q *durable.Queue[int, int]
			var calls atomic.Int32
			ids := make(chan string, 10)
			opts := &durable.Options{Dispatch: twill.DispatchOptions{Go: func(arg any, work func()) {
				q.FindKey("key")
				_ = q.SetWidth(2)
				ids <- arg.(*durable.Job[int, int]).ID()
				start(work)
			}}}
			q = open(t, tempFile(t), func(_ context.Context, n int) (int, error) {
				calls.Add(1)
				return 2 * n, nil
			}, opts)
			_, err := q.Pause().Await(within(t))
			require.NoError(t, err)
			j, err := q.Put(1, 0, twill.JobOptions{Key: "key"})
			require.NoError(t, err)
			resumed := make(chan error, 1)
			go func() { resumed <- q.Resume() }()
			select {
			case err := <-resumed:
				require.NoError(t, err)
			case <-time.After(time.Minute):
				t.Fatal("Resume waits for Go, which waits for Resume")
			}
			v, err := j.Await(within(t))
			require.NoError(t, err)
			require.Equal(t, 2, v)
			require.Equal(t, j.ID(), <-ids)
			_, err = q.Empty().Await(within(t))
			require.NoError(t, err)
			require.EqualValues(t, 1, calls.Load())
		})
	}
}
