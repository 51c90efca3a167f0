package jetstream

import (
	"context"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// The clock of the process that runs and schedules is an hour fast, and is set
// to an hour slow while it does. Delays, time limits, retries and leases are as
// long as before, for jobs of a process whose clock is right.
func TestAClockIsSetByAnHour(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	const unit = 200 * time.Millisecond
	var skew atomic.Int64
	skew.Store(int64(time.Hour))
	clock := func() time.Time { return time.Now().Add(time.Duration(skew.Load())).Round(0) } // without its monotonic part
	open := func(fn func(context.Context, string) (time.Time, error), o *Options) *Queue[string, time.Time] {
		o.Lease = 2 * time.Second
		o.OnEvent = func(e Event) {
			if e.Kind != SchedulerStarted {
				t.Log(e.Kind, e.Err)
			}
			if e.Kind == JobLost {
				t.Error("a worker was taken for lost")
			}
		}
		q, err := NewQueue(t.Context(), servers.Connect(t), "clock", fn, o)
		require.NoError(t, err)
		t.Cleanup(q.Close)
		return q
	}
	work := func(ctx context.Context, arg string) (time.Time, error) {
		if arg == "until its time is over" {
			<-ctx.Done()
			return time.Time{}, context.Cause(ctx)
		}
		if a, _ := AttemptOf(ctx); arg == "retry" && a.Attempt == 1 {
			return time.Time{}, context.DeadlineExceeded
		}
		return time.Now(), nil // the right one
	}
	wrong := open(work, &Options{clock: clock, Name: "wrong", WorkerWidth: 4, DispatchOptions: twill.DispatchOptions{
		Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(2 * unit)},
	}})
	right := open(nil, &Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, err := wrong.Put("first", 0)
	require.NoError(t, err)
	_, err = wrong.Empty().Await(ctx)
	require.NoError(t, err)
	for _, set := range []time.Duration{time.Hour, -time.Hour, time.Hour} {
		skew.Store(int64(set))
		began := time.Now()
		after := func(d time.Duration, q *Queue[string, time.Time], arg string, o twill.JobOptions) {
			t.Helper()
			j, err := q.Put(arg, 0, o)
			require.NoError(t, err)
			at, err := j.Await(ctx)
			require.NoError(t, err)
			require.GreaterOrEqual(t, at.Sub(began), d)
			require.Less(t, at.Sub(began), time.Minute)
		}
		after(0, right, "now", twill.JobOptions{Expires: time.Now().Add(time.Minute)})
		after(2*unit, right, "later", twill.JobOptions{After: 2 * unit})
		began = time.Now()
		after(2*unit, right, "at", twill.JobOptions{At: time.Now().Add(2 * unit)})
		began = time.Now()
		after(2*unit, wrong, "at", twill.JobOptions{At: clock().Add(2 * unit)}) // by the clock of the process that puts it
		began = time.Now()
		after(2*unit, right, "retry", twill.JobOptions{})
		j, err := right.Put("until its time is over", 0, twill.JobOptions{Timeout: 2 * unit})
		require.NoError(t, err)
		began = time.Now()
		_, err = j.Await(ctx)
		var timeout *twill.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.Less(t, time.Since(began), time.Minute)

		// Each process shows times by its own clock.
		held, err := right.Put("held", 0, twill.JobOptions{Held: true})
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), held.Record().Queued, time.Minute)
		_, seen, ok := wrong.FindJob(held.ID())
		require.True(t, ok)
		require.WithinDuration(t, clock(), seen.Queued, time.Minute)
		require.True(t, held.Cancel(nil))
	}
	workers, scheduler := right.Workers()
	require.Len(t, workers, 1)
	require.Equal(t, "wrong", scheduler)
	require.Less(t, workers[0].Beat, time.Minute)
}

// No message has a time of day of the machine that sends it, except where the
// journal has times by the clock of the streams.
func TestMessagesHaveNoTimesOfDay(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		require.NotEqual(t, reflect.TypeFor[time.Time](), of, path)
		if seen[of] {
			return
		}
		seen[of] = true
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(path, of.Elem())
		case reflect.Map:
			walk(path, of.Key())
			walk(path, of.Elem())
		case reflect.Struct:
			for i := range of.NumField() {
				walk(path+"."+of.Field(i).Name, of.Field(i).Type)
			}
		}
	}
	for name, v := range vectors() {
		walk(name, reflect.TypeOf(v))
	}
	require.Greater(t, len(seen), 10)
}
