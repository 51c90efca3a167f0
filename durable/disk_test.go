package durable_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
	"github.com/twillgo/twill/durable/internal/faultfs"
)

var faults = flag.Int("faults", 7, "the distance of the calls that TestFaultyDisk lets fail; 1 is every one")

// TestFaultyDisk lets a call of SQLite to the file system fail, one at a time,
// or all calls after it too. What was acknowledged is there when the disk works
// again, and a result that was seen is found.
func TestFaultyDisk(t *testing.T) {
	for _, fault := range []faultfs.Fault{faultfs.EIO, faultfs.Full, faultfs.Short} {
		for _, once := range []bool{true, false} {
			t.Run(fmt.Sprintf("fault %d, once %v", fault, once), func(t *testing.T) {
				calls, broken := 0, 0
				for n := 0; ; n += *faults {
					total, failed := withFault(t, fault, n, once)
					if calls++; failed {
						broken++
					}
					if n >= total {
						break
					}
				}
				t.Logf("%d faults, %d of them ended the acknowledgments or refused the file", calls, broken)
				require.Positive(t, broken)
			})
		}
	}
}

// withFault works with a file on a disk on which call n fails, and returns how
// many calls there were.
func withFault(t *testing.T, fault faultfs.Fault, n int, once bool) (total int, failed bool) {
	file := tempFile(t)
	disk := faultfs.New()
	disk.Decide(func(_ faultfs.Call, _ string, i int) faultfs.Fault {
		if i == n || i > n && !once {
			return fault
		}
		return faultfs.None
	})
	put, seen := map[string]int{}, map[string]int{}
	var mu sync.Mutex
	q, err := durable.Open(file, double, durable.WithVFS(&durable.Options{Dispatch: twill.DispatchOptions{Width: 2}}, disk.Name))
	if err != nil {
		failed = true
		require.ErrorContains(t, err, "durable:")
	} else {
		var jobs []*durable.Job[int, int]
		for i := range 6 {
			j, err := q.Put(i, 0)
			if err != nil {
				require.True(t, errors.Is(err, durable.ErrBroken) || errors.Is(err, durable.ErrDiskFull), "call %d: %v", n, err)
				failed = failed || errors.Is(err, durable.ErrBroken)
				continue
			}
			put[j.ID()] = i
			jobs = append(jobs, j)
		}
		if fault == faultfs.Full || fault == faultfs.Short {
			total = disk.Total()
			disk.Decide(nil) // else the jobs wait for space
		}
		for _, j := range jobs {
			v, err := j.Await(within(t))
			if err == nil {
				mu.Lock()
				seen[j.ID()] = v
				mu.Unlock()
				continue
			}
			require.True(t, errors.Is(err, durable.ErrBroken) || errors.Is(err, durable.ErrDiskFull), "call %d: %v", n, err)
			failed = true
		}
		if err := q.Close(within(t)); err != nil {
			require.ErrorContains(t, err, "durable:")
		}
	}
	total += disk.Total()
	disk.Decide(nil)

	ran := map[string]int{}
	q, err = durable.Open(file, func(ctx context.Context, arg int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		ran[durable.JobID(ctx)] = arg
		return 2 * arg, nil
	}, durable.WithVFS(nil, disk.Name))
	require.NoError(t, err, "the disk works again after a fault of call %d", n)
	_, err = q.Empty().Await(within(t))
	require.NoError(t, err)
	for id, arg := range put {
		j, err := q.Find(id)
		require.NoError(t, err, "call %d: job %s was acknowledged", n, id)
		v, err := j.Await(within(t))
		require.NoError(t, err)
		require.Equal(t, 2*arg, v)
	}
	for id, v := range seen {
		require.NotContains(t, ran, id, "call %d: the result was seen", n)
		require.Equal(t, 2*put[id], v)
	}
	require.NoError(t, q.Close(within(t)))
	return total, failed
}

// A failed fsync ends all acknowledgments, and is not tried again.
func TestFailedSync(t *testing.T) {
	file := tempFile(t)
	disk := faultfs.New()
	block := make(chan struct{})
	q := open(t, file, func(context.Context, int) (int, error) { <-block; return 1, nil }, durable.WithVFS(nil, disk.Name))
	running, err := q.Put(1, 0)
	require.NoError(t, err)
	pending, err := q.Put(2, 0)
	require.NoError(t, err)
	until(t, "it runs", func() bool { return running.State() == twill.JobUnderway })
	require.NoError(t, q.Flush())
	syncs := 0
	disk.Decide(func(call faultfs.Call, _ string, _ int) faultfs.Fault {
		if call == faultfs.Sync {
			if syncs++; syncs == 1 {
				return faultfs.EIO
			}
		}
		return faultfs.None
	})
	_, err = q.Put(3, 0)
	require.ErrorIs(t, err, durable.ErrBroken)
	_, err = q.Put(4, 0)
	require.ErrorIs(t, err, durable.ErrBroken, "the next sync would succeed")
	require.Equal(t, 1, syncs)
	require.ErrorIs(t, q.SetWidth(3), durable.ErrBroken)
	require.ErrorIs(t, q.Flush(), durable.ErrBroken)
	close(block)
	_, err = running.Await(within(t))
	require.ErrorIs(t, err, durable.ErrBroken, "its end is not on disk")
	until(t, "the queue is stopped", q.Stopped)
	require.False(t, pending.Cancel(nil) && pending.State() != twill.JobCanceled)
	require.ErrorIs(t, q.Close(within(t)), durable.ErrBroken)
}

// After the disk has failed, the futures of all jobs fail: those of pending
// jobs at once, as no job starts any longer, and the others when their calls
// return.
func TestEndsAfterTheDiskHasFailed(t *testing.T) {
	disk := faultfs.New()
	block, retrying := make(chan struct{}), make(chan struct{})
	q := open(t, tempFile(t), func(ctx context.Context, n int) (int, error) {
		switch n {
		case 1:
			<-block
		case 2:
			<-ctx.Done()
			return 0, context.Cause(ctx)
		case 3:
			close(retrying)
			return 0, errors.New("again")
		}
		return n, nil
	}, durable.WithVFS(&durable.Options{Dispatch: twill.DispatchOptions{
		Width: 3, Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Hour)},
	}}, disk.Name))
	put := func(n int, o twill.JobOptions) *durable.Job[int, int] {
		j, err := q.Put(n, 0, o)
		require.NoError(t, err)
		return j
	}
	returns := put(1, twill.JobOptions{})
	canceled := put(2, twill.JobOptions{})
	pausing := put(3, twill.JobOptions{})
	<-retrying
	until(t, "all were started", func() bool {
		return returns.State() == twill.JobUnderway && canceled.State() == twill.JobUnderway && pausing.State() == twill.JobPending
	})
	held := twill.JobOptions{Held: true}
	byJob, byChain, held1, held2 := put(4, held), put(5, held), put(6, held), put(7, held)
	chain := twill.Then(byChain.Future, func(n int) (int, error) { return n, nil })
	require.NoError(t, q.Flush())

	disk.Decide(func(call faultfs.Call, _ string, _ int) faultfs.Fault {
		if call == faultfs.Sync {
			return faultfs.EIO
		}
		return faultfs.None
	})
	_, err := q.Put(8, 0)
	require.ErrorIs(t, err, durable.ErrBroken)
	until(t, "the queue is stopped", q.Stopped)

	broken := func(what string, f interface {
		Await(context.Context) (int, error)
	}) {
		t.Helper()
		_, err := f.Await(within(t))
		require.ErrorIs(t, err, durable.ErrBroken, what)
	}
	require.False(t, byJob.Cancel(nil), "a cancel that is not on disk")
	broken("canceled", byJob)
	require.False(t, pausing.Cancel(nil))
	broken("canceled between two calls", pausing)
	require.False(t, canceled.Cancel(nil))
	broken("canceled while underway", canceled)
	close(block)
	broken("returned", returns)
	chain.Cancel(nil)
	_, err = chain.Await(within(t))
	require.ErrorIs(t, err, twill.ErrCanceled)
	_, err = byChain.Await(within(t))
	require.Error(t, err, "canceled by a chain")
	broken("held", held1)
	broken("held", held2)
	require.Zero(t, q.Clear())
}

// A file that cannot be written is refused.
func TestReadOnlyFile(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write any file")
	}
	file := tempFile(t)
	shut(t, open(t, file, double, nil))
	require.NoError(t, os.Chmod(file, 0o400))
	_, err := durable.Open(file, double, nil)
	require.ErrorContains(t, err, "durable:")
}

// Files that are not those of a queue are refused, and left as they are.
func TestForeignFiles(t *testing.T) {
	file := tempFile(t)
	text := []byte("this is not a database, but a text that is long enough to be taken for one, at first sight, by a program that looks at its size.")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	_, err := durable.Open(file, double, nil)
	require.ErrorIs(t, err, durable.ErrNotQueue)
	left, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, text, left)
	_, err = durable.Open(t.TempDir(), double, nil)
	require.ErrorContains(t, err, "not a regular file")
	_, err = durable.Open("", double, nil)
	require.Error(t, err)
}
