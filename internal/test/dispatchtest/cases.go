package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// cases are the promises of a dispatch queue, one in each case.
var cases = []testCase{
	{"a job gives its result to all", func(b *bench) {
		b.open(twill.DispatchOptions{})
		j := b.put(Arg{Name: "a"}, 3)
		require.Equal(b, "a", j.Arg().Name)
		require.Equal(b, 3, j.Priority())
		for range 3 {
			b.finishes(j, 1)
		}
		require.Equal(b, 1, j.Attempts())
		require.False(b, j.Cancel(nil), "it has ended")
		b.until("the queue is empty", func() bool { u, p := b.q.Size(); return u+p == 0 })
	}},
	{"priority first, then order of puts", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		b.settles("pause of an idle queue", q.Pause())
		var jobs []Job
		for i, priority := range []int{2, 1, 2, 0, 1, -5} {
			jobs = append(jobs, b.put(Arg{Name: fmt.Sprint("j", i)}, priority))
		}
		require.Equal(b, []string{"j5", "j3", "j1", "j4", "j0", "j2"}, names(q.Pending()))
		require.Equal(b, []string{"j3", "j1"}, names(q.PendingPage(1, 2)))
		require.NoError(b, q.Resume())
		for _, j := range jobs {
			b.finishes(j, 1)
		}
		require.Equal(b, []string{"j5", "j3", "j1", "j4", "j0", "j2"}, b.order())
	}},
	{"no more run than the width", func(b *bench) {
		q := b.open(twill.DispatchOptions{Width: 3})
		var jobs []Job
		for i := range 9 {
			jobs = append(jobs, b.put(Arg{Name: fmt.Sprint("j", i), Do: "wait"}, 0))
		}
		b.until("three jobs run", func() bool { return len(b.order()) == 3 })
		u, p := q.Size()
		require.Equal(b, []int{3, 6}, []int{u, p})
		require.Len(b, q.Underway(), 3)
		b.release()
		for _, j := range jobs {
			b.finishes(j, 1)
		}
		require.Equal(b, 3, b.widest)
	}},
	{"the width changes while jobs run", func(b *bench) {
		q := b.open(twill.DispatchOptions{Width: 1})
		var jobs []Job
		for i := range 6 {
			jobs = append(jobs, b.put(Arg{Name: fmt.Sprint("j", i), Do: "hang"}, 0))
		}
		b.until("one job runs", func() bool { return len(b.order()) == 1 })
		require.NoError(b, q.SetWidth(3))
		b.until("three jobs run", func() bool { return len(b.order()) == 3 })
		require.NoError(b, q.SetWidth(1))
		require.Equal(b, 1, q.Width())
		for _, j := range jobs[:2] {
			require.True(b, j.Cancel(nil))
		}
		b.quiet()
		require.Len(b, b.order(), 3, "one still runs, and that is the width")
		require.NoError(b, q.SetWidth(4))
		b.until("all jobs run", func() bool { return len(b.order()) == 6 })
		for _, j := range jobs[2:] {
			require.True(b, j.Cancel(nil))
		}
		require.Error(b, q.SetWidth(-1))
	}},
	{"width 0 starts nothing", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		require.NoError(b, q.SetWidth(0))
		j := b.put(Arg{Name: "a"}, 0)
		b.quiet()
		require.Empty(b, b.order())
		require.Equal(b, twill.JobPending, j.State())
		require.False(b, q.Paused())
		require.NoError(b, q.SetWidth(1))
		b.finishes(j, 1)
	}},
	{"a pause settles when the jobs underway have ended", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		first := b.put(Arg{Name: "a", Do: "wait"}, 0)
		b.until("it runs", func() bool { return b.callsOf("a") == 1 })
		paused := q.Pause()
		second := b.put(Arg{Name: "b"}, 0)
		require.True(b, q.Paused())
		_, settled := paused.Poll()
		require.False(b, settled)
		b.release()
		b.settles("the pause", paused)
		require.Equal(b, twill.JobFinished, first.State())
		b.quiet()
		require.Zero(b, b.callsOf("b"))
		require.NoError(b, q.ResumeWidth(2))
		require.Equal(b, 2, q.Width())
		b.finishes(second, 1)
	}},
	{"a pending job is canceled and never runs", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		b.settles("pause of an idle queue", q.Pause())
		a, other := b.put(Arg{Name: "a"}, 0), b.put(Arg{Name: "b"}, 0)
		cause := errors.New("not needed")
		require.True(b, a.Cancel(cause))
		b.fails(a, twill.ErrCanceled, twill.JobCanceled)
		require.False(b, a.Cancel(nil))
		require.Equal(b, []string{"b"}, names(q.Pending()))
		require.NoError(b, q.Resume())
		b.finishes(other, 1)
		require.Zero(b, b.callsOf("a"))
	}},
	{"a cancel ends the context of a job underway", func(b *bench) {
		b.open(twill.DispatchOptions{})
		j := b.put(Arg{Name: "a", Do: "hang"}, 0)
		b.until("it runs", func() bool { return b.callsOf("a") == 1 })
		require.True(b, j.Cancel(nil))
		b.fails(j, twill.ErrCanceled, twill.JobCanceled)
		b.finishes(b.put(Arg{Name: "b"}, 0), 1) // the slot is free again
	}},
	{"a pending job is reprioritized", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		b.settles("pause of an idle queue", q.Pause())
		a, c := b.put(Arg{Name: "a"}, 1), b.put(Arg{Name: "b"}, 2)
		require.NoError(b, q.Reprioritize(c, 0))
		require.Equal(b, 0, c.Priority())
		require.Equal(b, []string{"b", "a"}, names(q.Pending()))
		require.NoError(b, q.Resume())
		b.finishes(a, 1)
		b.finishes(c, 1)
		require.Equal(b, []string{"b", "a"}, b.order())
		require.Error(b, q.Reprioritize(a, 5), "it has ended")
	}},
	{"clear cancels what is pending", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		running := b.put(Arg{Name: "a", Do: "wait"}, 0)
		b.until("it runs", func() bool { return b.callsOf("a") == 1 })
		var jobs []Job
		for i := range 5 {
			jobs = append(jobs, b.put(Arg{Name: fmt.Sprint("j", i)}, 0))
		}
		require.Equal(b, 5, q.Clear())
		for _, j := range jobs {
			b.fails(j, twill.ErrCanceled, twill.JobCanceled)
		}
		b.release()
		b.finishes(running, 1)
		require.Equal(b, []string{"a"}, b.order())
	}},
	{"a delayed job starts when it is due", func(b *bench) {
		b.open(twill.DispatchOptions{})
		began := time.Now()
		late := b.put(Arg{Name: "late"}, -1, twill.JobOptions{After: 4 * b.unit()})
		now := b.put(Arg{Name: "now"}, 5)
		b.finishes(now, 1)
		if started := b.callsOf("late"); time.Since(began) < 4*b.unit() {
			require.Zero(b, started, "it is not due")
		}
		b.finishes(late, 1)
		require.GreaterOrEqual(b, time.Since(began), 4*b.unit())
	}},
	{"puts of one key are one job", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		b.settles("pause of an idle queue", q.Pause())
		first := b.put(Arg{Name: "a"}, 4, twill.JobOptions{Key: "k"})
		second := b.put(Arg{Name: "b"}, 2, twill.JobOptions{Key: "k"})
		require.Equal(b, "k", second.Key())
		require.Equal(b, 2, first.Priority(), "the more urgent priority")
		require.Equal(b, []string{"a"}, names(q.Pending()))
		_, err := q.Put(Arg{Name: "c"}, 0, twill.JobOptions{Key: "k", Refuse: true})
		require.ErrorIs(b, err, twill.ErrDuplicateJob)
		require.NoError(b, q.Resume())
		b.finishes(first, 1)
		r, err := b.await(second)
		require.NoError(b, err)
		require.Equal(b, "a", r.Name)
		b.finishes(b.put(Arg{Name: "d"}, 0, twill.JobOptions{Key: "k"}), 1) // the key is free
	}},
	{"a failed call is retried, without its slot in the pause", func(b *bench) {
		b.open(twill.DispatchOptions{Retry: &twill.RetryOptions{Backoff: func(yield func(time.Duration) bool) {
			for range 5 {
				if !yield(2 * b.unit()) {
					return
				}
			}
		}}})
		a := b.put(Arg{Name: "a", Fail: 2}, 0)
		b.until("it has failed", func() bool { return b.callsOf("a") == 1 })
		other := b.put(Arg{Name: "b"}, 0)
		b.finishes(other, 1)
		b.finishes(a, 3)
		require.Equal(b, 3, a.Attempts())
		hopeless := b.put(Arg{Name: "c", Fail: 100}, 0)
		_, err := b.await(hopeless)
		var failed *twill.RetryError
		require.ErrorAs(b, err, &failed)
		require.Equal(b, 6, b.callsOf("c"))
		require.Equal(b, twill.JobFailed, hopeless.State())
	}},
	{"an error fails the job with its text", func(b *bench) {
		b.open(twill.DispatchOptions{})
		j := b.put(Arg{Name: "a", Fail: 1}, 0)
		_, err := b.await(j)
		require.ErrorContains(b, err, "a, call 1")
		require.Equal(b, twill.JobFailed, j.State())
	}},
	{"a timeout fails the job and ends its context", func(b *bench) {
		b.open(twill.DispatchOptions{})
		j := b.put(Arg{Name: "a", Do: "hang"}, 0, twill.JobOptions{Timeout: 2 * b.unit()})
		_, err := b.await(j)
		require.ErrorIs(b, err, context.DeadlineExceeded)
		var timeout *twill.TimeoutError
		require.ErrorAs(b, err, &timeout)
		require.Equal(b, twill.JobFailed, j.State())
		b.finishes(b.put(Arg{Name: "b"}, 0), 1)
	}},
	{"a call that panics fails its job and nothing else", func(b *bench) {
		b.open(twill.DispatchOptions{})
		j := b.put(Arg{Name: "a", Do: "panic"}, 0)
		_, err := b.await(j)
		require.ErrorContains(b, err, "this call panics")
		require.Equal(b, twill.JobFailed, j.State())
		b.finishes(b.put(Arg{Name: "b"}, 0), 1)
	}},
	{"a call that ends its goroutine fails its job and nothing else", func(b *bench) {
		b.open(twill.DispatchOptions{})
		j := b.put(Arg{Name: "a", Do: "exit"}, 0)
		_, err := b.await(j)
		require.Error(b, err)
		require.Equal(b, twill.JobFailed, j.State())
		b.finishes(b.put(Arg{Name: "b"}, 0), 1)
	}},
	{"a bounded queue refuses, or makes puts wait", func(b *bench) {
		q := b.open(twill.DispatchOptions{Size: 2})
		running := b.put(Arg{Name: "a", Do: "hang"}, 0)
		b.until("it runs", func() bool { return b.callsOf("a") == 1 })
		b.put(Arg{Name: "b"}, 0)
		b.put(Arg{Name: "c"}, 0)
		_, err := q.Put(Arg{Name: "refused"}, 0)
		require.ErrorIs(b, err, twill.ErrQueueFull)
		ctx, cancel := context.WithTimeout(context.Background(), b.unit())
		defer cancel()
		_, err = q.PutWait(ctx, Arg{Name: "given up"}, 0)
		require.ErrorIs(b, err, context.DeadlineExceeded)
		waited := make(chan Job)
		go func() {
			j, err := q.PutWait(context.Background(), Arg{Name: "d"}, 0)
			if err != nil {
				b.Error(err)
			}
			waited <- j
		}()
		b.quiet()
		require.True(b, running.Cancel(nil))
		b.finishes(<-waited, 1)
		require.Zero(b, b.callsOf("refused")+b.callsOf("given up"))
	}},
	{"puts of several are all or none", func(b *bench) {
		q := b.open(twill.DispatchOptions{Size: 3})
		b.settles("pause of an idle queue", q.Pause())
		jobs, err := q.PutAll([]Arg{{Name: "a"}, {Name: "b"}}, 0)
		require.NoError(b, err)
		require.Equal(b, []string{"a", "b"}, names(jobs))
		_, err = q.PutAll([]Arg{{Name: "c"}, {Name: "d"}}, 0)
		require.ErrorIs(b, err, twill.ErrQueueFull)
		require.Equal(b, []string{"a", "b"}, names(q.Pending()))
		require.NoError(b, q.Resume())
		for _, j := range jobs {
			b.finishes(j, 1)
		}
	}},
	{"a stop hands back what has not started", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		running := b.put(Arg{Name: "a", Do: "wait"}, 0)
		b.until("it runs", func() bool { return b.callsOf("a") == 1 })
		b.put(Arg{Name: "b"}, 2)
		b.put(Arg{Name: "c"}, 1)
		stopped := q.Stop()
		b.release()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		left, err := stopped.Await(ctx)
		require.NoError(b, err)
		require.Equal(b, []string{"c", "b"}, names(left))
		b.finishes(running, 1)
		require.True(b, q.Stopped())
		_, err = q.Put(Arg{Name: "d"}, 0)
		require.ErrorIs(b, err, twill.ErrStopped)
		require.Equal(b, []string{"a"}, b.order())
	}},
	{"a drain runs what was put and then refuses", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		var jobs []Job
		for i := range 4 {
			jobs = append(jobs, b.put(Arg{Name: fmt.Sprint("j", i)}, 0))
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		left, err := q.Drain(ctx)
		require.NoError(b, err)
		require.Empty(b, left)
		for _, j := range jobs {
			b.finishes(j, 1)
		}
		_, err = q.Put(Arg{Name: "late"}, 0)
		require.Error(b, err)
	}},
	{"stats count what has happened", func(b *bench) {
		q := b.open(twill.DispatchOptions{Width: 2})
		_, err := b.await(b.put(Arg{Name: "f", Fail: 1}, 0))
		require.Error(b, err)
		b.finishes(b.put(Arg{Name: "a"}, 0), 1)
		b.settles("pause", q.Pause())
		canceled := b.put(Arg{Name: "c"}, 0)
		require.True(b, canceled.Cancel(nil))
		b.put(Arg{Name: "d"}, 0, twill.JobOptions{Key: "k"})
		b.put(Arg{Name: "e"}, 0, twill.JobOptions{Key: "k"})
		b.put(Arg{Name: "g"}, 0, twill.JobOptions{After: time.Hour})
		b.until("the numbers are there", func() bool {
			s := q.Stats()
			return s.Finished == 1 && s.Failed == 1 && s.Canceled == 1 && s.Put == 5 && s.Joined == 1 && s.Pending == 2 && s.Delayed == 1
		})
		require.Equal(b, 2, q.Stats().Width)
	}},
	{"empty settles when the last job has ended", func(b *bench) {
		q := b.open(twill.DispatchOptions{Width: 2})
		b.settles("an empty queue", q.Empty())
		j := b.put(Arg{Name: "a", Take: b.unit()}, 0)
		b.settles("the queue after its job", q.Empty())
		require.Equal(b, twill.JobFinished, j.State())
	}},
	{"a job puts others", func(b *bench) {
		var inner Job
		var q Queue
		q = b.engine.Open(b.T, func(ctx context.Context, arg Arg) (Result, error) {
			if arg.Name == "outer" {
				var err error
				if inner, err = q.Put(Arg{Name: "inner"}, 0); err != nil {
					return Result{}, err
				}
			}
			return b.call(ctx, arg)
		}, twill.DispatchOptions{Width: 1})
		b.q = q
		b.finishes(b.put(Arg{Name: "outer"}, 0), 1)
		b.finishes(inner, 1)
	}},
	{"a group has a limit, and other groups go on", func(b *bench) {
		q := b.open(twill.DispatchOptions{Width: 10, GroupLimit: twill.GroupLimit{Width: 1}})
		var slow []Job
		for i := range 3 {
			slow = append(slow, b.put(Arg{Name: fmt.Sprint("slow", i), Do: "wait"}, 0, twill.JobOptions{Group: "slow"}))
		}
		other := b.put(Arg{Name: "other"}, 5, twill.JobOptions{Group: "other"})
		plain := b.put(Arg{Name: "plain"}, 5)
		b.finishes(other, 1)
		b.finishes(plain, 1)
		require.Equal(b, 1, b.callsOf("slow0")+b.callsOf("slow1")+b.callsOf("slow2"), "one of the group at a time")
		reason, _ := q.Why(slow[2])
		require.Equal(b, twill.WaitGroup, reason)
		require.Equal(b, "slow", slow[2].Group())
		require.NoError(b, q.SetGroupLimit("slow", twill.GroupLimit{Width: 3}))
		b.until("all of the group run", func() bool { return b.callsOf("slow0")+b.callsOf("slow1")+b.callsOf("slow2") == 3 })
		b.release()
		for _, j := range slow {
			b.finishes(j, 1)
		}
		require.Error(b, q.SetGroupLimit("slow", twill.GroupLimit{Width: -1}))
	}},
	{"a group that is paused starts nothing, and other groups go on", func(b *bench) {
		q := b.open(twill.DispatchOptions{Width: 10})
		require.NoError(b, q.SetGroupLimit("paused", twill.GroupLimit{Width: 2, Paused: true}))
		held := b.put(Arg{Name: "held"}, 0, twill.JobOptions{Group: "paused"})
		b.finishes(b.put(Arg{Name: "other"}, 5, twill.JobOptions{Group: "other"}), 1)
		b.quiet()
		require.Equal(b, twill.JobPending, held.State())
		reason, until := q.Why(held)
		require.Equal(b, twill.WaitGroup, reason)
		require.Zero(b, until)
		require.NoError(b, q.SetGroupLimit("paused", twill.GroupLimit{Width: 2}))
		b.finishes(held, 1)
	}},
	{"a job that is snoozed counts no attempt and holds no slot", func(b *bench) {
		b.open(twill.DispatchOptions{})
		began := time.Now()
		j := b.put(Arg{Name: "a", Do: "snooze", Take: 3 * b.unit()}, 0)
		b.until("it is snoozed", func() bool { return b.callsOf("a") == 2 || b.callsOf("a") == 1 && j.State() == twill.JobPending })
		b.finishes(b.put(Arg{Name: "b"}, 0), 1)
		b.finishes(j, 2)
		require.Equal(b, 1, j.Attempts())
		require.GreaterOrEqual(b, time.Since(began), 3*b.unit())
	}},
	{"Again runs a key once more, with the newest argument", func(b *bench) {
		b.open(twill.DispatchOptions{Width: 5})
		first := b.put(Arg{Name: "v1", Do: "wait"}, 0, twill.JobOptions{Key: "k"})
		b.until("it runs", func() bool { return b.callsOf("v1") == 1 })
		second := b.put(Arg{Name: "v2"}, 0, twill.JobOptions{Key: "k", Again: true})
		third := b.put(Arg{Name: "v3"}, 0, twill.JobOptions{Key: "k", Again: true})
		b.release()
		b.finishes(first, 1)
		r, err := b.await(second)
		require.NoError(b, err)
		require.Equal(b, "v3", r.Name)
		b.finishes(third, 1)
		require.Equal(b, []string{"v1", "v3"}, b.order())
	}},
	{"Debounce moves the due time of a key", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		b.settles("pause of an idle queue", q.Pause()) // however long the puts take
		var j Job
		var last time.Time
		for i := range 3 {
			if i > 0 {
				time.Sleep(b.unit())
			}
			last = time.Now()
			j = b.put(Arg{Name: fmt.Sprint("v", i)}, 0, twill.JobOptions{Key: "k", Debounce: true, After: 4 * b.unit()})
		}
		require.NoError(b, q.Resume())
		b.finishes(j, 1)
		require.Equal(b, []string{"v2"}, b.order())
		require.GreaterOrEqual(b, time.Since(last), 4*b.unit())
	}},
	{"a job that is not started in time expires", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		b.settles("pause of an idle queue", q.Pause())
		j := b.put(Arg{Name: "a"}, 0, twill.JobOptions{Expires: time.Now().Add(2 * b.unit())})
		b.fails(j, twill.ErrExpired, twill.JobFailed)
		require.NoError(b, q.Resume())
		b.quiet()
		require.Empty(b, b.order())
	}},
	{"a job is found by its key", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		b.settles("pause of an idle queue", q.Pause())
		j := b.put(Arg{Name: "a"}, 0, twill.JobOptions{Key: "k"})
		found, ok := q.Find("k")
		require.True(b, ok)
		require.Equal(b, j.ID(), found.ID())
		require.NotEqual(b, j.ID(), b.put(Arg{Name: "b"}, 0).ID())
		_, ok = q.Find("other")
		require.False(b, ok)
		require.NoError(b, q.Resume())
		b.finishes(j, 1)
		_, ok = q.Find("k")
		require.False(b, ok, "it has ended")
	}},
	{"why a pending job waits", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		why := func(j Job, want twill.WaitReason) {
			b.Helper()
			reason, _ := q.Why(j)
			require.Equal(b, want, reason)
		}
		running := b.put(Arg{Name: "a", Do: "hang"}, 0)
		b.until("it runs", func() bool { return b.callsOf("a") == 1 })
		waits := b.put(Arg{Name: "b"}, 0)
		why(waits, twill.WaitWidth)
		due := time.Now().Add(100 * b.unit())
		late := b.put(Arg{Name: "c"}, 0, twill.JobOptions{At: due})
		reason, until := q.Why(late)
		require.Equal(b, twill.WaitDue, reason)
		require.WithinDuration(b, due, until, 20*b.unit())
		held := b.put(Arg{Name: "d"}, 0, twill.JobOptions{Held: true})
		why(held, twill.WaitHeld)
		q.Pause()
		why(waits, twill.WaitPause)
		require.True(b, running.Cancel(nil))
		require.NoError(b, q.Resume())
		b.finishes(waits, 1)
	}},
	{"a held job starts when it is released", func(b *bench) {
		b.open(twill.DispatchOptions{})
		j := b.put(Arg{Name: "a"}, 0, twill.JobOptions{Held: true})
		b.quiet()
		require.Empty(b, b.order())
		require.True(b, j.Release())
		require.False(b, j.Release())
		b.finishes(j, 1)
		withdrawn := b.put(Arg{Name: "b"}, 0, twill.JobOptions{Held: true})
		require.True(b, withdrawn.Cancel(nil))
		b.fails(withdrawn, twill.ErrCanceled, twill.JobCanceled)
		require.Equal(b, []string{"a"}, b.order())
	}},
	{"futures for few pending and none underway", func(b *bench) {
		q := b.open(twill.DispatchOptions{})
		b.settles("an empty queue has fewer than one", q.PendingBelow(1))
		b.settles("none is underway", q.NoneUnderway())
		running := b.put(Arg{Name: "a", Do: "wait"}, 0)
		b.until("it runs", func() bool { return b.callsOf("a") == 1 })
		b.put(Arg{Name: "b"}, 0)
		b.put(Arg{Name: "c"}, 0)
		few := q.PendingBelow(2)
		_, settled := few.Poll()
		require.False(b, settled)
		b.release()
		b.settles("fewer than two are pending", few)
		require.Equal(b, twill.JobFinished, running.State())
		b.settles("none is underway", q.NoneUnderway())
	}},
}
