package jetstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// streamNames are the streams of a queue.
func streamNames(name string) []string {
	return []string{"TWILL-" + name + "-in", "TWILL-" + name + "-journal", "TWILL-" + name + "-out"}
}

func jetstreamOf(t *testing.T, servers *natstest.Servers) js.JetStream {
	api, err := js.New(servers.Connect(t))
	require.NoError(t, err)
	return api
}

// When streams are deleted, calls return errors that name them, the futures of
// jobs fail, each trouble is reported once, and no process goes on as if
// nothing had happened. When they are made anew, the processes go on.
func TestStreamsAreDeleted(t *testing.T) {
	t.Parallel()
	for i, deleted := range [][]int{{0, 1, 2}, {0}, {1}, {2}} {
		t.Run([]string{"all", "inbox", "journal", "outcomes"}[i], func(t *testing.T) {
			t.Parallel()
			servers, name := natstest.Start(t, nil), newName()
			api, names := jetstreamOf(t, servers), streamNames(name)
			hold := make(chan struct{})
			worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
				if arg == "hold" {
					select {
					case <-hold:
					case <-ctx.Done():
					}
				}
				return "did " + arg, nil
			}, func(o *jetstream.Options) { o.WorkerWidth = 2 })
			putter := join(t, servers.URL(), name, "putter", nil, nil)
			_, err := await(t, put(t, putter, "first", 0))
			require.NoError(t, err)
			var all []*jetstream.Job[string, string]
			for range 5 {
				all = append(all, put(t, putter, "hold", 0))
			}
			until(t, "two run", func() bool { u, _ := putter.Size(); return u == 2 })
			for _, i := range deleted {
				require.NoError(t, api.DeleteStream(t.Context(), names[i]))
			}
			for _, j := range all {
				_, err := await(t, j)
				require.ErrorIs(t, err, jetstream.ErrNoStream)
				require.NotErrorIs(t, err, twill.ErrCanceled)
				require.Equal(t, twill.JobFailed, j.State())
				for i, name := range names {
					require.Equal(t, contains(deleted, i), strings.Contains(err.Error(), name), "%v", err)
				}
			}
			_, err = putter.Put("second", 0)
			require.ErrorIs(t, err, jetstream.ErrNoStream)
			_, err = putter.Put("second", 0, twill.JobOptions{Key: "k"})
			require.ErrorIs(t, err, jetstream.ErrNoStream)
			_, err = putter.Empty().Await(withPatience(t))
			require.ErrorIs(t, err, jetstream.ErrNoStream)
			require.ErrorIs(t, putter.SetWidth(3), jetstream.ErrNoStream)
			require.ErrorIs(t, putter.Trouble(), jetstream.ErrNoStream)
			require.Nil(t, putter.Pending())
			time.Sleep(2 * lease) // in which what repeats would be reported many times
			for _, p := range []*process{worker, putter} {
				seen := map[string]int{}
				for _, e := range p.saw(jetstream.Trouble) {
					seen[e.Err.Error()]++
				}
				for text, n := range seen {
					require.Equal(t, 1, n, "%s is reported once", text)
				}
				require.Less(t, len(seen), 10, "%v", seen)
			}
			require.Len(t, worker.saw(jetstream.SchedulerEnded), 1)

			// Any NewQueue makes them anew, and the processes go on.
			close(hold)
			operator := join(t, servers.URL(), name, "operator", nil, nil)
			until(t, "jobs run again", func() bool {
				j, err := operator.Put("again", 0)
				if err != nil {
					return false
				}
				v, err := await(t, j)
				return err == nil && v == "did again"
			})
			until(t, "the putter is back", func() bool { return putter.Trouble() == nil })
			v, err := await(t, put(t, putter, "third", 0, twill.JobOptions{Key: "k"}))
			require.NoError(t, err)
			require.Equal(t, "did third", v)
		})
	}
}

func contains(all []int, i int) bool {
	for _, n := range all {
		if n == i {
			return true
		}
	}
	return false
}

// A result that is too large is an error with its size and the limit, in
// whatever process.
func TestAResultThatIsTooLargeNamesItsSize(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, &natstest.Options{MaxPayload: 64 << 10}), newName()
	size := make(chan int, 1)
	join(t, servers.URL(), name, "worker", func(context.Context, string) (string, error) {
		return strings.Repeat("x", <-size), nil
	}, nil)
	putter := join(t, servers.URL(), name, "putter", nil, func(o *jetstream.Options) { o.Lease = lease })
	result := func(n int) (string, *jetstream.TooLargeError) {
		size <- n
		v, err := await(t, put(t, putter, "a", 0))
		if err == nil {
			return v, nil
		}
		var large *jetstream.TooLargeError
		require.ErrorAs(t, err, &large)
		require.ErrorIs(t, err, jetstream.ErrTooLarge)
		require.Equal(t, "result", large.What)
		return "", large
	}
	_, large := result(100 << 10)
	require.Equal(t, 64<<10, large.Max)
	require.Greater(t, large.Size, 100<<10)
	rest := large.Size - 100<<10 // what the message has beside the result
	v, large := result(large.Max - rest)
	require.Nil(t, large, "it just fits")
	require.Len(t, v, 64<<10-rest)
	_, large = result(64<<10 - rest + 1)
	require.NotNil(t, large)
	require.Equal(t, 64<<10+1, large.Size)

	_, err := putter.Put(strings.Repeat("x", 40<<10), 0)
	require.ErrorAs(t, err, &large)
	require.Equal(t, []any{"argument", 40<<10 + 2}, []any{large.What, large.Size})
	_, err = putter.PutAll(make([]string, 20<<10), 0) // two bytes each, and much more with their ids
	require.ErrorAs(t, err, &large)
}

// Without a process that may schedule, what needs none does not wait for one,
// and a list that is not known is not an empty list.
func TestCallsDoNotWaitForASchedulerThatDoesNotCome(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	putter := join(t, servers.URL(), name, "putter", nil, func(o *jetstream.Options) { o.Wait = time.Hour })
	j := put(t, putter, "a", 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		require.Nil(t, putter.Pending())
		require.Nil(t, putter.PendingPage(0, 10))
		require.Nil(t, putter.Underway())
		require.NotNil(t, putter.PendingPage(0, 0))
		require.ErrorIs(t, putter.SetWidth(3), jetstream.ErrNoScheduler)
		require.True(t, j.Cancel(errors.New("not needed")))
		require.Equal(t, twill.JobCanceled, j.State())
	}()
	receive(t, done)
	until(t, "it is known why", func() bool { return errors.Is(putter.Trouble(), jetstream.ErrNoScheduler) })
	worker := join(t, servers.URL(), name, "worker", echo, nil)
	scheduler(t, worker)
	until(t, "the scheduler is known", func() bool { return putter.Trouble() == nil })
	pending := putter.Pending()
	require.NotNil(t, pending)
	require.Empty(t, pending, "the job was canceled")
}

// Close leaves no consumer with the servers.
func TestCloseLeavesNoConsumers(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	api := jetstreamOf(t, servers)
	first := join(t, servers.URL(), name, "first", echo, nil)
	_, err := await(t, put(t, first, "a", 0))
	require.NoError(t, err)
	first.Close()
	second := join(t, servers.URL(), name, "second", echo, nil) // it reads outcomes, the journal and the inbox
	_, err = await(t, put(t, second, "b", 0))
	require.NoError(t, err)
	second.Close()
	for _, name := range streamNames(name) {
		stream, err := api.Stream(t.Context(), name)
		require.NoError(t, err)
		names := stream.ConsumerNames(t.Context())
		for consumer := range names.Name() {
			t.Errorf("%s has the consumer %s", name, consumer)
		}
		require.NoError(t, names.Err())
	}
}

// When the connection is closed for good, what waits without an end fails, and
// a stop ends.
func TestConnectionClosedForGoodEndsWhatWaits(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	started := make(chan struct{})
	worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
		close(started)
		<-ctx.Done()
		return "", context.Cause(ctx)
	}, nil)
	put(t, worker, "a", 0)
	receive(t, started)
	empty := worker.Empty()
	worker.conn.Close()
	_, err := empty.Await(withPatience(t))
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	require.ErrorIs(t, worker.SetWidth(2), nats.ErrConnectionClosed)
	require.ErrorIs(t, worker.Trouble(), nats.ErrConnectionClosed)
	left, err := worker.Stop().Await(withPatience(t)) // the call ends with ErrLost
	require.NoError(t, err)
	require.Empty(t, left)
	time.Sleep(2 * lease)
	require.LessOrEqual(t, len(worker.saw(jetstream.Trouble)), 5, "%v", worker.saw(jetstream.Trouble))
}
