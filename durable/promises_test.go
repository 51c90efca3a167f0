package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
	"github.com/twillgo/twill/durable/internal/faultfs"
)

// tempFile is the path of a queue's file.
func tempFile(t testing.TB) string { return filepath.Join(t.TempDir(), "jobs.db") }

// open opens a queue that is closed at the end of the test.
func open[A, R any](t testing.TB, path string, fn func(context.Context, A) (R, error), opts *durable.Options) *durable.Queue[A, R] {
	t.Helper()
	q, err := durable.Open(path, fn, opts)
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, q) })
	return q
}

// shut closes a queue at once, as a process that ends.
func shut[A, R any](t testing.TB, q *durable.Queue[A, R]) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = q.Close(ctx)
}

// within is a context that bounds the waits of a test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func double(_ context.Context, n int) (int, error) { return 2 * n, nil }

func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for began := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		require.Less(t, time.Since(began), time.Minute, what)
	}
}

// Promise 1: what was acknowledged survives kill -9 - see TestKill - and a loss
// of power: no acknowledgment comes before an fsync of the log, and callers at
// the same time share it.
func TestPromise01AcknowledgedPutsAreSynced(t *testing.T) {
	disk := faultfs.New()
	q := open(t, tempFile(t), double, durable.WithVFS(nil, disk.Name))
	require.NoError(t, q.SetWidth(0))
	q.Pause()
	_, before := disk.Count(faultfs.Sync)
	for range 20 {
		_, log := disk.Count(faultfs.Sync)
		_, err := q.Put(1, 0)
		require.NoError(t, err)
		_, after := disk.Count(faultfs.Sync)
		require.Greater(t, after, log, "a put that is acknowledged without an fsync")
	}
	_, after := disk.Count(faultfs.Sync)
	require.Less(t, after-before, 25, "one for each commit")

	const callers, each = 64, 20
	commits := q.Commits()
	_, before = disk.Count(faultfs.Sync)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if _, err := q.Put(1, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	_, after = disk.Count(faultfs.Sync)
	made := int(q.Commits() - commits)
	require.Less(t, made, callers*each/2, "callers share commits")
	require.GreaterOrEqual(t, after-before, made, "each commit is synced")
	t.Logf("%d puts by %d callers: %d commits, %d fsyncs", callers*each, callers, made, after-before)
}

// A call begins when its start is on disk, whether its goroutine is started for
// it or has run another job before, and a future settles when the end is.
func TestStartsAndEndsAreSynced(t *testing.T) {
	disk := faultfs.New()
	syncs := func() int {
		_, log := disk.Count(faultfs.Sync)
		return log
	}
	var atCall atomic.Int64
	first := make(chan struct{})
	fn := func(_ context.Context, n int) (int, error) {
		atCall.Store(int64(syncs()))
		if n == 2 {
			<-first
		}
		return n, nil
	}
	q := open(t, tempFile(t), fn, durable.WithVFS(nil, disk.Name))
	for range 20 {
		j, err := q.Put(1, 0, twill.JobOptions{Held: true})
		require.NoError(t, err)
		before := syncs()
		require.True(t, j.Release())
		_, err = j.Await(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, int(atCall.Load()), before+2, "one for the release, one for the start")
		require.Greater(t, syncs(), int(atCall.Load()), "one for the end")
	}

	running, err := q.Put(2, 0)
	require.NoError(t, err)
	next, err := q.Put(3, 0)
	require.NoError(t, err)
	before := syncs()
	close(first)
	_, err = running.Await(t.Context())
	require.NoError(t, err)
	_, err = next.Await(t.Context())
	require.NoError(t, err)
	require.Greater(t, int(atCall.Load()), before)
	require.Greater(t, syncs(), int(atCall.Load()))
}

// Handlers of futures that settle by one transaction run at the same time if
// they have to, and one that ends its goroutine keeps none from running.
func TestHandlersWaitForNoOthers(t *testing.T) {
	const n = 16
	ready, end := make(chan struct{}, n), make(chan struct{})
	q := open(t, tempFile(t), func(context.Context, int) (int, error) {
		ready <- struct{}{}
		<-end
		return 1, nil
	}, &durable.Options{Dispatch: twill.DispatchOptions{Width: n}})
	for _, exit := range []bool{false, true} {
		var all, over sync.WaitGroup
		all.Add(n)
		for range n {
			j, err := q.Put(1, 0)
			require.NoError(t, err)
			over.Add(1)
			j.OnSettled(func(int, error) {
				defer over.Done()
				if exit {
					runtime.Goexit()
				}
				all.Done()
				all.Wait()
			})
		}
		for range n {
			<-ready
		}
		for range n {
			end <- struct{}{}
		}
		_, err := twill.Go(within(t), func(context.Context) (bool, error) {
			over.Wait()
			return true, nil
		}).Await(within(t))
		require.NoError(t, err)
	}
}

// A handler may wait for a job whose end comes later.
func TestHandlersWaitForLaterJobs(t *testing.T) {
	q := open(t, tempFile(t), double, nil)
	first, err := q.Put(1, 0, twill.JobOptions{Held: true})
	require.NoError(t, err)
	later := make(chan int, 1)
	first.OnSettled(func(int, error) {
		j, err := q.Put(2, 0)
		if err != nil {
			t.Error(err)
			return
		}
		v, err := j.Await(context.Background())
		if err != nil {
			t.Error(err)
		}
		later <- v
	})
	require.True(t, first.Release())
	select {
	case v := <-later:
		require.Equal(t, 4, v)
	case <-within(t).Done():
		t.Fatal("the later job has not ended")
	}
}

// Promise 2: a job that was running at a crash is runnable as soon as the file
// is open.
func TestPromise02InterruptedJobsRunAtOnce(t *testing.T) {
	file := tempFile(t)
	out, err := child("exit", file).CombinedOutput()
	require.ErrorContains(t, err, "exit status 9", "%s", out)
	started := make(chan int, 1)
	began := time.Now()
	q := open(t, file, func(ctx context.Context, n int) (int, error) {
		attempt, crashes := durable.JobAttempt(ctx)
		started <- attempt*10 + crashes
		return n, nil
	}, nil)
	require.Equal(t, 21, <-started, "the second attempt, after one crash")
	t.Logf("open to start: %v", time.Since(began))
	require.Equal(t, 1, q.Found().Interrupted)
}

// Promise 3: no two attempts of one job run at the same time, even with two
// processes on the file: the second is refused.
func TestPromise03OneOwner(t *testing.T) {
	file := tempFile(t)
	holder := child("hold", file)
	stdin, err := holder.StdinPipe()
	require.NoError(t, err)
	stdout, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	ready := make([]byte, 6)
	_, err = stdout.Read(ready)
	require.NoError(t, err)

	_, err = durable.Open(file, double, nil)
	require.ErrorIs(t, err, durable.ErrInUse)
	require.ErrorContains(t, err, strconv.Itoa(holder.Process.Pid), "the error names the owner")
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(file, link))
	_, err = durable.Open(link, double, nil)
	require.ErrorIs(t, err, durable.ErrInUse, "by another name")
	require.NoError(t, stdin.Close())
	require.NoError(t, holder.Wait())

	q := open(t, file, double, nil)
	_, err = durable.Open(file, double, nil)
	require.ErrorIs(t, err, durable.ErrInUse, "in the same process")
	require.ErrorContains(t, err, "by this process")
	shut(t, q)
	open(t, file, double, nil)
}

// A process that waits gets the file when the owner closes it.
func TestOpenWaitsForTheOwner(t *testing.T) {
	file := tempFile(t)
	first := open(t, file, double, nil)
	second := make(chan error)
	go func() {
		q, err := durable.Open(file, double, &durable.Options{Wait: time.Minute})
		if err == nil {
			shut(t, q)
		}
		second <- err
	}()
	select {
	case <-second:
		t.Fatal("the file has an owner")
	case <-time.After(50 * time.Millisecond):
	}
	shut(t, first)
	require.NoError(t, <-second)
}

// Promise 4: a job that kills the process is dead after so many times, with its
// story, and can be run again.
func TestPromise04JobsThatCrashTheProcess(t *testing.T) {
	file := tempFile(t)
	for range 3 {
		out, err := child("exit", file).CombinedOutput()
		require.ErrorContains(t, err, "exit status 9", "%s", out)
	}
	calls := 0
	q := open(t, file, func(context.Context, int) (int, error) { calls++; return 1, nil }, nil)
	found := q.Found()
	require.Equal(t, []string{"1"}, found.Dead)
	j, err := q.Find("1")
	require.NoError(t, err)
	require.True(t, j.Dead())
	require.Equal(t, 3, j.Crashes())
	require.Equal(t, 3, j.Attempts())
	_, err = j.Await(within(t))
	require.ErrorIs(t, err, durable.ErrDead)
	require.ErrorContains(t, err, "3 of its calls have ended with the process")
	require.Zero(t, calls)
	id, err := q.RunAgain("1")
	require.NoError(t, err)
	j, err = q.Find(id)
	require.NoError(t, err)
	v, err := j.Await(within(t))
	require.NoError(t, err)
	require.Equal(t, 1, v)
	_, err = q.Find("1")
	require.ErrorIs(t, err, durable.ErrNoJob, "it is not dead any longer")
}

// Promise 5: a key is taken while its job is pending or underway, and free
// otherwise.
func TestPromise05KeysAreTakenByLiveJobs(t *testing.T) {
	key := twill.JobOptions{Key: "k", Refuse: true}
	type queue = *durable.Queue[int, int]
	type job = *durable.Job[int, int]
	for _, c := range []struct {
		name  string
		taken bool
		reach func(t *testing.T, q queue, j job)
	}{
		{"pending", true, func(*testing.T, queue, job) {}},
		{"delayed", true, nil},
		{"held", true, nil},
		{"underway", true, func(t *testing.T, q queue, j job) {
			require.NoError(t, q.Resume())
			until(t, "it runs", func() bool { return j.State() == twill.JobUnderway })
		}},
		{"canceled", false, func(t *testing.T, _ queue, j job) { require.True(t, j.Cancel(nil)) }},
		{"cleared", false, func(t *testing.T, q queue, _ job) { require.Equal(t, 1, q.Clear()) }},
		{"canceled underway", false, func(t *testing.T, q queue, j job) {
			require.NoError(t, q.Resume())
			until(t, "it runs", func() bool { return j.State() == twill.JobUnderway })
			require.True(t, j.Cancel(nil))
		}},
		{"failed", false, nil}, {"finished", false, nil}, {"expired", false, nil}, {"timed out", false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := tempFile(t)
			fn := func(ctx context.Context, n int) (int, error) {
				switch {
				case c.name == "failed":
					return 0, errors.New("failed")
				case c.name == "finished":
					return n, nil
				}
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}
			q := open(t, file, fn, nil)
			q.Pause()
			opts := key
			switch c.name {
			case "delayed":
				opts.After = time.Hour
			case "held":
				opts.Held = true
			case "expired":
				opts.Expires = time.Now().Add(time.Millisecond)
			case "timed out":
				opts.Timeout = time.Millisecond
			}
			j, err := q.Put(1, 0, opts)
			require.NoError(t, err)
			if c.reach != nil {
				c.reach(t, q, j)
			} else if !c.taken {
				if c.name != "expired" {
					require.NoError(t, q.Resume())
				}
				_, _ = j.Await(within(t))
				q.Pause()
			}
			check := func(q queue) {
				other, err := q.Put(2, 0, key)
				if c.taken {
					require.ErrorIs(t, err, twill.ErrDuplicateJob)
					require.Equal(t, j.ID(), other.ID(), "the job that has the key")
				} else {
					require.NoError(t, err)
					require.True(t, other.Cancel(nil))
				}
			}
			check(q)
			shut(t, q)
			q = open(t, file, fn, nil) // and after a restart
			check(q)
		})
	}
}

// A job may end in memory before its Put has gone on.
func TestPutOfJobsThatExpireAtOnce(t *testing.T) {
	q := open(t, tempFile(t), double, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				opts := twill.JobOptions{Expires: time.Now().Add(-time.Second), Key: "k"}
				j, err := q.Put(1, 0, opts)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := j.Await(within(t)); !errors.Is(err, twill.ErrExpired) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Promise 6: a group never exceeds its limit, across retries, restarts and
// batches.
func TestPromise06GroupLimits(t *testing.T) {
	file := tempFile(t)
	var mu sync.Mutex
	running, widest, done := map[int]int{}, 0, map[string]bool{}
	fn := func(ctx context.Context, group int) (int, error) {
		mu.Lock()
		running[group]++
		widest = max(widest, running[group])
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		running[group]--
		attempt, _ := durable.JobAttempt(ctx)
		if attempt%2 == 1 && group == 0 {
			return 0, errors.New("once more")
		}
		done[durable.JobID(ctx)] = true
		return group, nil
	}
	opts := &durable.Options{Dispatch: twill.DispatchOptions{
		Width: 8, GroupLimit: twill.GroupLimit{Width: 2},
		Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Millisecond)},
	}}
	put := map[string]bool{}
	for round := range 5 {
		q := open(t, file, fn, opts)
		for group := range 4 {
			jobs, err := q.PutAll([]int{group, group, group, group, group}, round%2, twill.JobOptions{Group: strconv.Itoa(group)})
			require.NoError(t, err)
			for _, j := range jobs {
				put[j.ID()] = true
			}
		}
		if round == 4 {
			_, err := q.Empty().Await(within(t))
			require.NoError(t, err)
		}
		require.NoError(t, q.Close(within(t)))
	}
	require.Equal(t, 2, widest)
	require.Equal(t, put, done)
}

// Promise 8: a graceful stop costs no attempt and returns within its deadline.
func TestPromise08StopCostsNoAttempt(t *testing.T) {
	file := tempFile(t)
	release := make(chan struct{})
	defer close(release)
	started := make(chan struct{}, 2)
	q := open(t, file, func(ctx context.Context, n int) (int, error) {
		started <- struct{}{}
		<-release // it ignores its context
		return n, nil
	}, nil)
	j, err := q.Put(1, 0)
	require.NoError(t, err)
	waiting, err := q.Put(2, 0)
	require.NoError(t, err)
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	require.NoError(t, q.Close(ctx))
	require.Less(t, time.Since(began), 30*time.Second)
	for _, j := range []*durable.Job[int, int]{j, waiting} {
		_, err = j.Await(within(t))
		require.ErrorIs(t, err, twill.ErrStopped)
		require.ErrorIs(t, err, twill.ErrCanceled)
	}

	attempts := make(chan int, 2)
	q = open(t, file, func(ctx context.Context, n int) (int, error) {
		attempt, crashes := durable.JobAttempt(ctx)
		attempts <- attempt*10 + crashes
		return n, nil
	}, nil)
	require.Equal(t, 10, <-attempts, "the first attempt, without a crash")
	require.Equal(t, 10, <-attempts)
	require.Zero(t, q.Found().Interrupted)
}

// Promise 9: disk use is bounded by the pending jobs and what is kept.
func TestPromise09DiskUseIsBounded(t *testing.T) {
	file := tempFile(t)
	data := strings.Repeat("x", 4096)
	q := open(t, file, func(context.Context, string) (int, error) { return 0, nil },
		&durable.Options{Keep: 10, Dispatch: twill.DispatchOptions{Width: 4}})
	for range 20 {
		args := make([]string, 100)
		for i := range args {
			args[i] = data
		}
		_, err := q.PutAll(args, 0)
		require.NoError(t, err)
		_, err = q.Empty().Await(within(t))
		require.NoError(t, err)
	}
	require.NoError(t, q.Close(within(t)))
	var size int64
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(file + suffix); err == nil {
			size += info.Size()
		}
	}
	require.Less(t, size, int64(3<<20), "8 MB have passed")
	q = open(t, file, func(context.Context, string) (int, error) { return 0, nil }, &durable.Options{Keep: 10})
	n := 0
	for range q.EndedJobs() {
		n++
	}
	require.LessOrEqual(t, n, 10+64)
	require.GreaterOrEqual(t, n, 10)
}

// What a hook makes of a call is what is on disk: another result, an error, a
// snooze, a result without a call. The call is on disk before the hook runs.
func TestHooksAreJournaled(t *testing.T) {
	file := tempFile(t)
	quarter := func(context.Context, int) (int, error) { return 1, nil }
	q := open(t, file, quarter, &durable.Options{Dispatch: twill.DispatchOptions{Width: 1}})
	var seen []string
	snoozed := make(chan struct{}, 1)
	q.Use(func(ctx context.Context, j *durable.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		arg, err := j.Arg()
		require.NoError(t, err)
		attempt, _ := durable.JobAttempt(ctx)
		seen = append(seen, fmt.Sprint(arg, " ", durable.JobID(ctx) == j.ID(), " ", attempt))
		switch arg {
		case 1: // twice the result
			v, err := next(ctx)
			return 2 * v, err
		case 2: // a result without a call
			return 20, nil
		case 3:
			return 0, fmt.Errorf("refused by the hook")
		case 4:
			snoozed <- struct{}{}
			return 0, twill.Snooze(time.Hour)
		}
		return next(ctx)
	})
	q.Use(func(ctx context.Context, _ *durable.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		v, err := next(ctx)
		return v + 100, err
	})
	var jobs []*durable.Job[int, int]
	for arg := range 5 {
		j, err := q.Put(arg, arg)
		require.NoError(t, err)
		jobs = append(jobs, j)
	}
	<-snoozed
	until(t, "the last one snoozes", func() bool { return jobs[4].State() == twill.JobPending })
	require.NoError(t, q.Close(within(t)))
	require.Equal(t, []string{"0 true 1", "1 true 1", "2 true 1", "3 true 1", "4 true 1"}, seen)

	q = open(t, file, quarter, nil)
	require.Zero(t, q.Found().Interrupted, "the hook has put the job off")
	for i, want := range []int{101, 202, 20} {
		v, err := jobs[i].Await(within(t))
		require.NoError(t, err)
		require.Equal(t, want, v)
		old, err := q.Find(jobs[i].ID())
		require.NoError(t, err)
		v, err = old.Await(within(t))
		require.NoError(t, err)
		require.Equal(t, want, v)
	}
	old, err := q.Find(jobs[3].ID())
	require.NoError(t, err)
	_, err = old.Await(within(t))
	require.ErrorContains(t, err, "refused by the hook")
	old, err = q.Find(jobs[4].ID())
	require.NoError(t, err)
	require.Equal(t, twill.JobPending, old.State())
	require.Greater(t, time.Until(old.Record().Due), 50*time.Minute)
	require.Zero(t, old.Attempts())
}

// panicLogger is enabled, and panics.
type panicLogger struct{ slog.Handler }

func (panicLogger) Enabled(context.Context, slog.Level) bool { panic("logger") }

// Promise 10: nothing disappears silently.
func TestPromise10NothingDisappears(t *testing.T) {
	t.Run("a full disk", func(t *testing.T) {
		disk := faultfs.New()
		q := open(t, tempFile(t), double, durable.WithVFS(nil, disk.Name))
		disk.Decide(func(call faultfs.Call, _ string, _ int) faultfs.Fault {
			if call == faultfs.Write {
				return faultfs.Full
			}
			return faultfs.None
		})
		_, err := q.Put(1, 0)
		require.ErrorIs(t, err, durable.ErrDiskFull)
		disk.Decide(nil)
		j, err := q.Put(2, 0)
		require.NoError(t, err, "there is space again")
		v, err := j.Await(within(t))
		require.NoError(t, err)
		require.Equal(t, 4, v)
	})
	t.Run("a full disk, while an end waits for space", func(t *testing.T) {
		disk, gate := faultfs.New(), make(chan struct{})
		q := open(t, tempFile(t), func(_ context.Context, n int) (int, error) {
			<-gate
			return n, nil
		}, durable.WithVFS(nil, disk.Name))
		j, err := q.Put(1, 0)
		require.NoError(t, err)
		until(t, "it is underway", func() bool { return j.State() == twill.JobUnderway })
		var refused atomic.Int64
		disk.Decide(func(call faultfs.Call, _ string, _ int) faultfs.Fault {
			if call == faultfs.Write {
				refused.Add(1)
				return faultfs.Full
			}
			return faultfs.None
		})
		close(gate)
		until(t, "its end is refused", func() bool { return refused.Load() > 0 })
		began := time.Now()
		for range 40 {
			_, err = q.Put(2, 0)
			require.ErrorIs(t, err, durable.ErrDiskFull)
		}
		require.Less(t, time.Since(began), 20*time.Second, "no put waits for the next try of the end")
		_, over := j.Poll()
		require.False(t, over)
		disk.Decide(nil)
		v, err := j.Await(within(t))
		require.NoError(t, err)
		require.Equal(t, 1, v)
	})
	t.Run("a file that is deleted, moved or replaced", func(t *testing.T) {
		for _, remove := range []func(file string) error{
			os.Remove,
			func(file string) error { return os.Rename(file, file+"2") },
			func(file string) error { return errors.Join(os.Rename(file, file+"2"), os.WriteFile(file, nil, 0o600)) },
		} {
			file := tempFile(t)
			q := open(t, file, double, nil)
			_, err := q.Put(1, 0)
			require.NoError(t, err)
			require.NoError(t, remove(file))
			_, err = q.Put(2, 0)
			require.ErrorIs(t, err, durable.ErrBroken)
			require.ErrorContains(t, err, file)
			require.ErrorIs(t, q.Trouble(), durable.ErrBroken)
		}
	})
	t.Run("what is too large", func(t *testing.T) {
		file := tempFile(t)
		large := durable.Codec{Marshal: func(v any) ([]byte, error) {
			if fmt.Sprint(v) == "large" {
				return make([]byte, 900_000_001), nil
			}
			return json.Marshal(v)
		}, Unmarshal: json.Unmarshal}
		enlarge := func(context.Context, string) (string, error) { return "large", nil }
		q := open(t, file, enlarge, &durable.Options{Codec: large})
		_, err := q.Put("large", 0)
		require.ErrorIs(t, err, durable.ErrNotKept)
		j, err := q.Put("small", 0)
		require.NoError(t, err)
		_, err = j.Await(within(t))
		require.ErrorIs(t, err, durable.ErrNotKept)
		require.NoError(t, q.Close(within(t)))
		q = open(t, file, enlarge, &durable.Options{Codec: large})
		old, err := q.Find(j.ID())
		require.NoError(t, err)
		require.Equal(t, twill.JobFailed, old.State(), "it has failed for good")
	})
	t.Run("the argument of a job that is not kept", func(t *testing.T) {
		q := open(t, tempFile(t), double, &durable.Options{Keep: -1})
		j, err := q.Put(1, 0)
		require.NoError(t, err)
		_, err = j.Await(within(t))
		require.NoError(t, err)
		_, err = j.Arg()
		require.ErrorIs(t, err, durable.ErrNoJob)
		require.NotErrorIs(t, err, durable.ErrDamaged)
		require.ErrorContains(t, q.CancelJob("77", nil), "no such job")
	})
	t.Run("a locked file", func(t *testing.T) {
		file := tempFile(t)
		open(t, file, double, nil)
		_, err := durable.Open(file, double, nil)
		require.ErrorIs(t, err, durable.ErrInUse)
	})
	t.Run("an unknown kind", func(t *testing.T) {
		file := tempFile(t)
		q := open(t, file, func(context.Context, string) (int, error) {
			return 0, fmt.Errorf("kind 7: %w", durable.ErrUnknownKind)
		}, nil)
		j, err := q.Put("seven", 3, twill.JobOptions{Key: "k"})
		require.NoError(t, err)
		until(t, "it is parked", j.Parked)
		require.Zero(t, j.Attempts())
		shut(t, q)
		q = open(t, file, func(_ context.Context, s string) (int, error) { return len(s), nil }, nil)
		require.Equal(t, 1, q.Found().Parked)
		j, err = q.Find(j.ID())
		require.NoError(t, err)
		v, err := j.Await(within(t))
		require.NoError(t, err)
		require.Equal(t, 5, v)
		require.Equal(t, []any{3, "k", 1}, []any{j.Priority(), j.Key(), j.Attempts()})
	})
	t.Run("an unknown kind, with a logger that panics", func(t *testing.T) {
		q := open(t, tempFile(t), func(context.Context, string) (int, error) {
			return 0, durable.ErrUnknownKind
		}, &durable.Options{Logger: slog.New(panicLogger{slog.DiscardHandler})})
		j, err := q.Put("seven", 3)
		require.NoError(t, err)
		until(t, "it is parked", j.Parked)
	})
	t.Run("an argument of another type", func(t *testing.T) {
		file := tempFile(t)
		q := open(t, file, double, nil)
		q.Pause()
		j, err := q.Put(7, 0)
		require.NoError(t, err)
		shut(t, q)
		texts := open(t, file, func(_ context.Context, s string) (int, error) { return len(s), nil }, nil)
		require.NoError(t, texts.Resume())
		text, err := texts.Find(j.ID())
		require.NoError(t, err)
		until(t, "it is parked", text.Parked)
		shut(t, texts)
		q = open(t, file, double, nil)
		j, err = q.Find(j.ID())
		require.NoError(t, err)
		v, err := j.Await(within(t))
		require.NoError(t, err)
		require.Equal(t, 14, v)
	})
	t.Run("a duplicate", func(t *testing.T) {
		q := open(t, tempFile(t), double, nil)
		q.Pause()
		j, err := q.Put(1, 0, twill.JobOptions{Key: "k"})
		require.NoError(t, err)
		same, err := q.Put(2, 0, twill.JobOptions{Key: "k"})
		require.NoError(t, err)
		require.Same(t, j, same)
		other, err := q.Put(2, 0, twill.JobOptions{Key: "k", Refuse: true})
		require.ErrorIs(t, err, twill.ErrDuplicateJob)
		require.Same(t, j, other)
	})
	t.Run("an expired job", func(t *testing.T) {
		file := tempFile(t)
		q := open(t, file, double, nil)
		q.Pause()
		j, err := q.Put(1, 0, twill.JobOptions{Expires: time.Now().Add(time.Millisecond)})
		require.NoError(t, err)
		_, err = j.Await(within(t))
		require.ErrorIs(t, err, twill.ErrExpired)
		shut(t, q)
		q = open(t, file, double, nil)
		j, err = q.Find(j.ID())
		require.NoError(t, err)
		_, err = j.Await(within(t))
		require.ErrorIs(t, err, twill.ErrExpired)
		require.Equal(t, twill.JobFailed, j.State())
	})
}

// While the queue has its files open, no code of this module may open, read or
// copy them: closing a descriptor drops SQLite's locks. Files are only touched
// in the functions that run before, and those of the lock's own file.
func TestNoFileCallsOnTheQueuesFiles(t *testing.T) {
	allowed := map[string]bool{
		"prepare": true, "syncFolder": true, "scanLog": true, "lockFile": true, "resolve": true, "checkFileSystem": true,
		"release": true, "readOwner": true, "write": true, "ReadOwner": true, "checkHeader": true,
		"makeBackupFile": true, "removeBackupFile": true, // of other files
	}
	risky := map[string]bool{
		"Open": true, "OpenFile": true, "OpenRoot": true, "Create": true, "ReadFile": true, "WriteFile": true, "Truncate": true,
		"Rename": true, "Remove": true, "RemoveAll": true, "CopyFS": true, "DirFS": true, "Link": true, "ServeFile": true, "Chmod": true,
	}
	checked := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(path, "cmd") || strings.HasPrefix(path, "benchmarks") || strings.HasPrefix(path, "examples") || strings.Contains(path, "faultfs") {
			return err
		}
		checked++
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || allowed[fn.Name.Name] {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if pkg, ok := s.X.(*ast.Ident); ok && (pkg.Name == "os" || pkg.Name == "http" || pkg.Name == "syscall" || pkg.Name == "io") && risky[s.Sel.Name] {
						t.Errorf("%s: %s calls %s.%s", path, fn.Name.Name, pkg.Name, s.Sel.Name)
					}
				}
				return true
			})
		}
		return nil
	}))
	require.Greater(t, checked, 8)
}

// child is a process of this test.
func child(name, file string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "DURABLE_TEST_CHILD="+name, "DURABLE_TEST_FILE="+file)
	return cmd
}

// exitChild has a job that ends the process.
func exitChild(file string) int {
	q, err := durable.Open(file, func(context.Context, int) (int, error) {
		os.Exit(9)
		return 0, nil
	}, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if len(q.Pending())+len(q.Underway()) == 0 {
		_, err = q.Put(1, 0)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	time.Sleep(time.Minute)
	return 1
}

// holdChild has the file open until its input ends.
func holdChild(file string) int {
	q, err := durable.Open(file, double, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(q)
	return 0
}
