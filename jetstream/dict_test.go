package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"

	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

func newDict[V any](t testing.TB, conn *nats.Conn, opts *jetstream.DictOptions) *jetstream.Dict[string, V] {
	t.Helper()
	d, err := jetstream.NewDict[string, V](withPatience(t), conn, "d", opts)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close(nil) })
	return d
}

// waits waits until so many gets wait for keys.
func waits[V any](t testing.TB, d *jetstream.Dict[string, V], n int) {
	t.Helper()
	eventually(t, func() bool { return d.Waiting() == n }, "gets wait")
}

func TestDictGetWaitsForAnyProcess(t *testing.T) {
	t.Parallel()
	s := natstest.StartCluster(t, nil)
	ctx := withPatience(t)
	type value struct{ A, B int }
	opts := &jetstream.DictOptions{Replicas: 3}
	a, b := newDict[value](t, s.Connect(t), opts), newDict[value](t, s.Connect(t), opts)
	gets := []*twill.Future[value]{a.Get("k"), b.Get("k"), a.Get("k"), a.Get("another")}
	waits(t, a, 3)
	waits(t, b, 1)
	_, ok, err := a.Lookup(ctx, "k")
	require.NoError(t, err)
	require.False(t, ok)
	began := time.Now()
	require.NoError(t, b.Set(ctx, "k", value{1, 2}))
	for _, f := range gets[:3] {
		v, err := f.Await(ctx)
		require.NoError(t, err)
		require.Equal(t, value{1, 2}, v)
	}
	t.Log("settled after", time.Since(began))
	_, settled := gets[3].Poll()
	require.False(t, settled)
	waits(t, a, 1)
	gets[3].Cancel(nil)

	v, err := a.Get("k").Await(ctx)
	require.NoError(t, err)
	require.Equal(t, value{1, 2}, v)
	v, ok, err = b.Lookup(ctx, "k")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 2, v.B)

	deleted, err := a.Delete(ctx, "k")
	require.NoError(t, err)
	require.True(t, deleted)
	deleted, err = b.Delete(ctx, "k")
	require.NoError(t, err)
	require.False(t, deleted)
	f := b.Get("k")
	waits(t, b, 1)
	require.NoError(t, a.Set(ctx, "k", value{3, 4}))
	v, err = f.Await(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, v.A)
}

// A get and a set that meet do not miss each other.
func TestDictMissesNoSet(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	ctx := withPatience(t)
	a, b := newDict[int](t, s.Connect(t), nil), newDict[int](t, s.Connect(t), nil)
	for i := range 300 {
		k := fmt.Sprint("k", i)
		got := make(chan int, 1)
		a.Get(k).OnSettled(func(v int, err error) {
			if err != nil {
				t.Error(err)
			}
			got <- v
		})
		time.Sleep(time.Duration(i%20) * 50 * time.Microsecond)
		require.NoError(t, b.Set(ctx, k, i))
		require.Equal(t, i, receive(t, got))
	}
	waits(t, a, 0)
}

// Gets that have waited for long are woken by the watch: their next read by a
// timer is more than a second away for most of them.
func TestDictIsWoken(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	ctx := withPatience(t)
	a, b := newDict[int](t, s.Connect(t), nil), newDict[int](t, s.Connect(t), nil)
	const keys = 20
	var gets []*twill.Future[int]
	for i := range keys {
		gets = append(gets, a.Get(fmt.Sprint(i)))
	}
	waits(t, a, keys)
	time.Sleep(5 * time.Second) // the pauses between the reads have grown
	soon := 0
	for i, f := range gets {
		require.NoError(t, b.Set(ctx, fmt.Sprint(i), i))
		set := time.Now()
		_, err := f.Await(ctx)
		require.NoError(t, err)
		if time.Since(set) < 500*time.Millisecond {
			soon++
		}
	}
	require.GreaterOrEqual(t, soon, keys/2)
}

func TestDictFail(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	ctx := withPatience(t)
	a, b := newDict[int](t, s.Connect(t), nil), newDict[int](t, s.Connect(t), nil)
	for range 3 {
		f := a.Get("k")
		waits(t, a, 1)
		require.NoError(t, b.Fail(ctx, "k", errors.New("no\nway: ünable")))
		_, err := f.Await(ctx)
		var failed *jetstream.Error
		require.ErrorAs(t, err, &failed)
		require.Equal(t, "no\nway: ünable", failed.Text)
	}
	f := b.Get("k")
	waits(t, b, 1)
	time.Sleep(200 * time.Millisecond) // it is read again, and has seen the failure before
	_, settled := f.Poll()
	require.False(t, settled)
	require.NoError(t, a.Set(ctx, "k", 1))
	_, err := f.Await(ctx)
	require.NoError(t, err)
	require.NoError(t, a.Fail(ctx, "k", errors.New("it is there")))
	v, err := b.GetWait(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, 1, v)

	f = b.Get("timed out")
	waits(t, b, 1)
	require.NoError(t, a.Fail(ctx, "timed out", &twill.TimeoutError{After: time.Second}))
	_, err = f.Await(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestDictUpdateCountsEachOnce(t *testing.T) {
	t.Parallel()
	s := natstest.StartCluster(t, nil)
	ctx := withPatience(t)
	const processes, updates = 4, 15
	var all sync.WaitGroup
	for range processes {
		d := newDict[int](t, s.Connect(t), &jetstream.DictOptions{Replicas: 3})
		all.Go(func() {
			for range updates {
				if _, err := d.Update(ctx, "n", func(old int, ok bool) (int, error) {
					if ok != (old > 0) {
						t.Errorf("%d, %v", old, ok)
					}
					return old + 1, nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	d := newDict[int](t, s.Connect(t), nil)
	v, ok, err := d.Lookup(ctx, "n")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, processes*updates, v)
	boom := errors.New("boom")
	_, err = d.Update(ctx, "n", func(int, bool) (int, error) { return 0, boom })
	require.ErrorIs(t, err, boom)
}

func TestDictGetWaitLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	d := newDict[int](t, s.Connect(t), nil)
	f := d.Get("k")
	waits(t, d, 1)
	time.Sleep(100 * time.Millisecond) // the watch is made
	before := runtime.NumGoroutine()
	boom := errors.New("boom")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			ctx, cancel := context.WithCancelCause(context.Background())
			time.AfterFunc(time.Duration(i)*time.Millisecond/10, func() { cancel(boom) })
			_, err := d.GetWait(ctx, "k")
			if !errors.Is(err, boom) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.True(t, f.Cancel(nil))
	waits(t, d, 0)
	settled(t, before)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := d.GetWait(ended, "k")
	require.ErrorIs(t, err, context.Canceled)
}

func TestDictClose(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	ctx := withPatience(t)
	conn := s.Connect(t)
	d := newDict[int](t, conn, nil)
	require.NoError(t, d.Set(ctx, "there", 1))
	f := d.Get("k")
	waits(t, d, 1)
	boom := errors.New("boom")
	d.Close(boom)
	d.Close(nil)
	_, err := f.Await(ctx)
	require.ErrorIs(t, err, boom)
	_, err = d.Get("k").Await(ctx)
	require.ErrorIs(t, err, boom)
	require.ErrorIs(t, d.Set(ctx, "k", 1), twill.ErrClosed)
	require.ErrorIs(t, d.Fail(ctx, "k", boom), twill.ErrClosed)
	_, err = d.Update(ctx, "k", func(int, bool) (int, error) { return 1, nil })
	require.ErrorIs(t, err, twill.ErrClosed)
	v, err := d.GetWait(ctx, "there")
	require.NoError(t, err)
	require.Equal(t, 1, v)
	deleted, err := d.Delete(ctx, "there")
	require.NoError(t, err)
	require.True(t, deleted)
}

// Other programs read and write the same values.
func TestDictIsAKeyValueBucket(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	ctx := withPatience(t)
	conn := s.Connect(t)
	js, err := conn.JetStream()
	require.NoError(t, err)
	d := newDict[map[string]int](t, conn, nil)
	bucket, err := js.KeyValue("d")
	require.NoError(t, err)
	require.NoError(t, d.Set(ctx, "hosts/a.b", map[string]int{"x": 1}))
	e, err := bucket.Get("hosts/a.b")
	require.NoError(t, err)
	require.JSONEq(t, `{"x":1}`, string(e.Value()))
	require.NoError(t, d.Set(ctx, "ü ", nil))
	_, err = bucket.Get("=w7wg")
	require.NoError(t, err)

	f := d.Get("theirs")
	waits(t, d, 1)
	_, err = bucket.Put("theirs", []byte(`{"y":2}`))
	require.NoError(t, err)
	v, err := f.Await(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"y": 2}, v)
	_, err = bucket.Put("theirs", []byte(`no json`))
	require.NoError(t, err)
	_, err = d.Get("theirs").Await(ctx)
	require.ErrorContains(t, err, "decode value of theirs")
	require.NoError(t, bucket.Purge("theirs"))
	_, ok, err := d.Lookup(ctx, "theirs")
	require.NoError(t, err)
	require.False(t, ok)

	n, err := jetstream.NewDict[int, json.RawMessage](ctx, conn, "d", nil) // a type of key that is no string
	require.NoError(t, err)
	require.NoError(t, n.Set(ctx, -7, json.RawMessage(`1`)))
	e, err = bucket.Get("-7")
	require.NoError(t, err)
	require.Equal(t, "1", string(e.Value()))
	require.Error(t, n.Set(ctx, 1, json.RawMessage(`{`)))
}

func TestDictLimits(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, &natstest.Options{MaxPayload: 20_000})
	ctx := withPatience(t)
	d := newDict[string](t, s.Connect(t), &jetstream.DictOptions{MaxBytes: 60_000})
	require.NoError(t, d.Set(ctx, "k", strings.Repeat("x", 19_800)))
	var large *jetstream.TooLargeError
	err := d.Set(ctx, "k", strings.Repeat("x", 20_000))
	require.ErrorAs(t, err, &large)
	require.ErrorIs(t, err, jetstream.ErrTooLarge)
	require.Equal(t, 20_000, large.Max)
	for i := range 4 {
		if err = d.Set(ctx, fmt.Sprint(i), strings.Repeat("x", 19_000)); err != nil {
			break
		}
	}
	require.ErrorContains(t, err, "maximum bytes exceeded", "a full bucket is an error, and no wait")
}

// Gets go on through the restart of each server, and settle soon after a set.
func TestDictOverRestarts(t *testing.T) {
	t.Parallel()
	s := natstest.StartCluster(t, nil)
	ctx := withPatience(t)
	opts := &jetstream.DictOptions{Replicas: 3}
	a, b := newDict[int](t, s.Connect(t), opts), newDict[int](t, s.Connect(t), opts)
	for i, node := range s.Nodes {
		var gets []*twill.Future[int]
		for j := range 20 {
			gets = append(gets, a.Get(fmt.Sprint(i, "-", j)))
		}
		waits(t, a, 20)
		node.Kill()
		for j := range 10 {
			require.NoError(t, b.Set(ctx, fmt.Sprint(i, "-", j), j))
		}
		require.NoError(t, node.Restart())
		require.NoError(t, s.WaitReady())
		for j := 10; j < 20; j++ {
			require.NoError(t, b.Set(ctx, fmt.Sprint(i, "-", j), j))
		}
		began := time.Now()
		for j, f := range gets {
			v, err := f.Await(ctx)
			require.NoError(t, err)
			require.Equal(t, j, v)
		}
		require.Less(t, time.Since(began), 20*time.Second)
	}
}

// What is set while a process is cut off reaches its gets when it is back.
func TestDictCutOff(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	proxy := natstest.StartProxy(t, s.Nodes[0])
	ctx := withPatience(t)
	a := newDict[int](t, natstest.Connect(t, proxy.URL(), nats.IgnoreDiscoveredServers()), nil)
	b := newDict[int](t, s.Connect(t), nil)
	f := a.Get("k")
	waits(t, a, 1)
	n, err := a.Update(ctx, "n", func(old int, _ bool) (int, error) { // whose answer is lost
		proxy.Block()
		time.AfterFunc(3*time.Second, proxy.Unblock)
		return old + 1, nil
	})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	proxy.Block()
	require.NoError(t, b.Set(ctx, "k", 1))
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, a.Set(short, "x", 1), context.DeadlineExceeded)
	_, settled := f.Poll()
	require.False(t, settled)
	proxy.Unblock()
	v, err := f.Await(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, v)
}

func TestDictWithoutItsBucketOrConnection(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	ctx := withPatience(t)
	conn := s.Connect(t)
	d := newDict[int](t, conn, nil)
	f := d.Get("k")
	waits(t, d, 1)
	js, err := conn.JetStream()
	require.NoError(t, err)
	require.NoError(t, js.DeleteKeyValue("d"))
	_, err = f.Await(ctx)
	require.ErrorIs(t, err, jetstream.ErrNoBucket)
	require.ErrorIs(t, d.Set(ctx, "k", 1), jetstream.ErrNoBucket)

	d = newDict[int](t, conn, nil)
	f = d.Get("k")
	waits(t, d, 1)
	conn.Close()
	_, err = f.Await(ctx)
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	require.ErrorIs(t, d.Set(ctx, "k", 1), nats.ErrConnectionClosed)
}
