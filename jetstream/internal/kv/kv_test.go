package kv_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream/internal/kv"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

func withPatience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// get and write try again where a loaded machine does not answer within
// seconds.
func get(ctx context.Context, b *kv.Bucket, key string) (kv.Entry, error) {
	return kv.Retry(ctx, func(ctx context.Context) (kv.Entry, error) { return b.Get(ctx, key) })
}

func write(ctx context.Context, b *kv.Bucket, w kv.Write) (uint64, error) {
	if w.If && w.ID == "" {
		w.ID = kv.NewID()
		return b.WriteOnce(ctx, w)
	}
	return kv.Retry(ctx, func(ctx context.Context) (uint64, error) { return b.Write(ctx, w) })
}

func open(t testing.TB, conn *nats.Conn, replicas int) *kv.Bucket {
	t.Helper()
	b, err := kv.Open(withPatience(t), conn, kv.Config{Name: "b", Replicas: replicas})
	require.NoError(t, err)
	return b
}

func TestEncodeKey(t *testing.T) {
	type pair struct{ A, B int }
	long := strings.Repeat("x", 200)
	for want, key := range map[string]any{
		"plain":               "plain",
		"a.b/c-d_E9":          "a.b/c-d_E9",
		"=":                   "",
		"=YSBi":               "a b",
		"=Li4":                "..",
		"=YS4":                "a.",
		"=KmI":                "*b",
		"=PWE":                "=a",
		"=w7w":                "ü",
		"42":                  42,
		"-7":                  -7,
		"true":                true,
		"1.5e-7":              1.5e-7,
		"=eyJBIjoxLCJCIjoyfQ": pair{1, 2},
		long:                  long,
		"==BYLbpgmNw0b-PVbK3vYDkxMjNoeHXHbpWt2fSwnhwsE": long + "yyyy",
	} {
		var got string
		var err error
		switch k := key.(type) {
		case string:
			got, err = kv.EncodeKey(k)
		case int:
			got, err = kv.EncodeKey(k)
		case bool:
			got, err = kv.EncodeKey(k)
		case float64:
			got, err = kv.EncodeKey(k)
		case pair:
			got, err = kv.EncodeKey(k)
		}
		require.NoError(t, err)
		if strings.HasPrefix(want, "==") {
			require.Len(t, got, 45)
			require.True(t, strings.HasPrefix(got, "=="))
			continue
		}
		require.Equal(t, want, got)
	}
	_, err := kv.EncodeKey(make(chan int))
	require.Error(t, err)
	type name string
	got, err := kv.EncodeKey(name("plain"))
	require.NoError(t, err)
	require.Equal(t, "plain", got)
}

func TestWrites(t *testing.T) {
	t.Parallel()
	for n, start := range map[int]func(testing.TB, *natstest.Options) *natstest.Servers{1: natstest.Start, 3: natstest.StartCluster} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := open(t, start(t, nil).Connect(t), n)
			ctx := withPatience(t)
			e, err := get(ctx, b, "k")
			require.NoError(t, err)
			require.Equal(t, kv.Entry{}, e)
			first, err := write(ctx, b, kv.Write{Key: "k", Value: []byte("1"), If: true})
			require.NoError(t, err)
			_, err = write(ctx, b, kv.Write{Key: "k", Value: []byte("2"), If: true})
			require.ErrorIs(t, err, kv.ErrRefused)
			next, err := write(ctx, b, kv.Write{Key: "k", Value: []byte("2"), If: true, Rev: first})
			require.NoError(t, err)
			e, err = get(ctx, b, "k")
			require.NoError(t, err)
			require.Equal(t, kv.Entry{Rev: next, Value: []byte("2"), Exists: true, Header: e.Header}, e)
			_, err = write(ctx, b, kv.Write{Key: "k", Delete: true, If: true, Rev: next})
			require.NoError(t, err)
			e, err = get(ctx, b, "k")
			require.NoError(t, err)
			require.False(t, e.Exists)
			require.Greater(t, e.Rev, next)

			first, err = write(ctx, b, kv.Write{Key: "k", Value: []byte("1"), ID: "a"})
			require.NoError(t, err)
			again, err := write(ctx, b, kv.Write{Key: "k", Value: []byte("1"), ID: "a"})
			require.NoError(t, err)
			require.Equal(t, first, again, "a repeated write is one write")
		})
	}
}

// A write whose answer is lost is made once, and its outcome becomes clear
// unless it was written over.
func TestWriteOnce(t *testing.T) {
	t.Parallel()
	for n, start := range map[int]func(testing.TB, *natstest.Options) *natstest.Servers{1: natstest.Start, 3: natstest.StartCluster} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := start(t, nil)
			proxy := natstest.StartProxy(t, s.Nodes[0])
			conn := natstest.Connect(t, proxy.URL(), nats.IgnoreDiscoveredServers(), nats.PingInterval(time.Hour))
			cut, b := open(t, conn, n), open(t, s.Connect(t), n)
			ctx := withPatience(t)
			unclear := func(w kv.Write) (rev uint64, err error) {
				proxy.Block()
				time.AfterFunc(3*time.Second, proxy.Unblock) // the first attempt has timed out by then
				return cut.WriteOnce(ctx, w)
			}
			first, err := unclear(kv.Write{Key: "k", Value: []byte("1"), If: true, ID: "a"})
			require.NoError(t, err)
			e, err := get(ctx, b, "k")
			require.NoError(t, err)
			require.Equal(t, first, e.Rev)
			_, err = cut.WriteOnce(ctx, kv.Write{Key: "k", Value: []byte("2"), If: true, ID: "b"})
			require.ErrorIs(t, err, kv.ErrRefused)

			// Another one comes before it: it may have come after it, too.
			other := make(chan error, 1)
			time.AfterFunc(time.Second, func() {
				_, err := write(ctx, b, kv.Write{Key: "k", Value: []byte("3"), If: true, Rev: first})
				other <- err
			})
			_, err = unclear(kv.Write{Key: "k", Value: []byte("2"), If: true, Rev: first, ID: "c"})
			require.ErrorIs(t, err, kv.ErrUnclear)
			require.NoError(t, <-other)
		})
	}
}

func TestOneClaimWins(t *testing.T) {
	t.Parallel()
	for n, start := range map[int]func(testing.TB, *natstest.Options) *natstest.Servers{1: natstest.Start, 3: natstest.StartCluster} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := start(t, nil)
			ctx := withPatience(t)
			var buckets []*kv.Bucket
			for range 4 {
				buckets = append(buckets, open(t, s.Connect(t), n))
			}
			var rev, token uint64
			for range 10 {
				leases := make(chan *kv.Lease, 8)
				var all sync.WaitGroup
				for i := range 8 {
					all.Go(func() {
						l, err := buckets[i%4].Claim(ctx, "k", rev, kv.Record{Holder: kv.NewID(), LeaseMS: 10_000})
						if err == nil {
							leases <- l
						} else if !errors.Is(err, kv.ErrRefused) {
							t.Error(err)
						}
					})
				}
				all.Wait()
				require.Len(t, leases, 1, "of several claims with the same revision one is made")
				l := <-leases
				require.Greater(t, l.Token(), token)
				token = l.Token()
				require.NoError(t, l.Context().Err())
				require.NoError(t, l.Release())
				require.ErrorIs(t, context.Cause(l.Context()), kv.ErrReleased)
				e, err := get(ctx, buckets[0], "k")
				require.NoError(t, err)
				r, err := kv.ReadRecord(e)
				require.NoError(t, err)
				require.Empty(t, r.Holder)
				rev = e.Rev
			}
		})
	}
}

// A lease lasts as long as it is renewed, and ends when another holder is
// found.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	conn := natstest.Start(t, nil).Connect(t)
	b := open(t, conn, 1)
	ctx := withPatience(t)
	l, err := b.Claim(ctx, "k", 0, kv.Record{Holder: "H", LeaseMS: 4500})
	require.NoError(t, err)
	var seen kv.Observer
	var beats atomic.Int64
	for began := time.Now(); time.Since(began) < 7*time.Second; time.Sleep(50 * time.Millisecond) {
		start := time.Now()
		e, err := get(ctx, b, "k")
		require.NoError(t, err)
		r, err := kv.ReadRecord(e)
		require.NoError(t, err)
		require.Less(t, seen.See(e.Rev, start), r.Duration())
		beats.Store(int64(r.Beat))
		require.NoError(t, l.Context().Err())
	}
	require.GreaterOrEqual(t, beats.Load(), int64(3))
	e, err := get(ctx, b, "k")
	require.NoError(t, err)
	_, err = write(ctx, b, kv.Write{Key: "k", Value: []byte(`{"v":1,"holder":"X","lease_ms":4500}`)})
	require.NoError(t, err)
	<-l.Context().Done()
	require.True(t, l.Lost())
	require.ErrorIs(t, l.Release(), kv.ErrLost)
	after, err := get(ctx, b, "k")
	require.NoError(t, err)
	require.Greater(t, after.Rev, e.Rev)
	r, err := kv.ReadRecord(after)
	require.NoError(t, err)
	require.Equal(t, "X", r.Holder, "the release of a lost lease changes nothing")
}

// The holder gives a lease up at two thirds, whatever hangs; another one can
// have it after the whole of it.
func TestLeaseEndsWithoutRenewals(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	proxy := natstest.StartProxy(t, s.Nodes[0])
	cut := open(t, natstest.Connect(t, proxy.URL(), nats.IgnoreDiscoveredServers()), 1)
	b := open(t, s.Connect(t), 1)
	ctx := withPatience(t)
	const lease = 3 * time.Second
	l, err := cut.Claim(ctx, "k", 0, kv.Record{Holder: "H", LeaseMS: lease.Milliseconds()})
	require.NoError(t, err)
	proxy.Block()
	blocked := time.Now()
	<-l.Context().Done()
	require.Less(t, time.Since(blocked), lease, "it ends before it expires for others")
	var seen kv.Observer
	for start := time.Now(); ; start = time.Now() {
		e, err := get(ctx, b, "k")
		require.NoError(t, err)
		if seen.See(e.Rev, start) >= lease {
			_, err := b.Claim(ctx, "k", e.Rev, kv.Record{Holder: "I", LeaseMS: lease.Milliseconds()})
			require.NoError(t, err)
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	proxy.Unblock()
	require.ErrorIs(t, l.Release(), kv.ErrLost)
	time.Sleep(100 * time.Millisecond) // what was held back arrives
	e, err := get(ctx, b, "k")
	require.NoError(t, err)
	r, err := kv.ReadRecord(e)
	require.NoError(t, err)
	require.Equal(t, "I", r.Holder)
}

// A claim whose answer is lost is found to be made, and one whose caller leaves
// is taken back.
func TestUnclearClaims(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	proxy := natstest.StartProxy(t, s.Nodes[0])
	conn := natstest.Connect(t, proxy.URL(), nats.IgnoreDiscoveredServers(), nats.PingInterval(time.Hour))
	cut, b := open(t, conn, 1), open(t, s.Connect(t), 1)
	ctx := withPatience(t)

	proxy.Block()
	claimed := make(chan *kv.Lease, 1)
	go func() {
		l, err := cut.Claim(ctx, "k", 0, kv.Record{Holder: "H", LeaseMS: 30_000})
		if err != nil {
			t.Error(err)
		}
		claimed <- l
	}()
	time.Sleep(3 * time.Second) // the first attempt has timed out
	proxy.Unblock()
	l := <-claimed
	e, err := get(ctx, b, "k")
	require.NoError(t, err)
	r, err := kv.ReadRecord(e)
	require.NoError(t, err)
	require.Equal(t, "H", r.Holder)
	require.NoError(t, l.Release())

	e, err = get(ctx, b, "k")
	require.NoError(t, err)
	proxy.Block()
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = cut.Claim(short, "k", e.Rev, kv.Record{Holder: "I", LeaseMS: 30_000})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	proxy.Unblock()
	require.Eventually(t, func() bool {
		now, err := get(ctx, b, "k")
		require.NoError(t, err)
		r, err := kv.ReadRecord(now)
		require.NoError(t, err)
		return now.Rev > e.Rev && r.Holder == ""
	}, 20*time.Second, 10*time.Millisecond)
}

func TestRecordsOfOtherVersions(t *testing.T) {
	t.Parallel()
	b := open(t, natstest.Start(t, nil).Connect(t), 1)
	ctx := withPatience(t)
	_, err := write(ctx, b, kv.Write{Key: "k", Value: []byte(`{"v":2,"holder":"X"}`)})
	require.NoError(t, err)
	e, err := get(ctx, b, "k")
	require.NoError(t, err)
	_, err = kv.ReadRecord(e)
	require.ErrorContains(t, err, "format 2")
	_, err = kv.ReadRecord(kv.Entry{Exists: true, Value: []byte("garbage")})
	require.Error(t, err)
}

func TestSizesOnEachSideOfTheLimit(t *testing.T) {
	t.Parallel()
	b := open(t, natstest.Start(t, &natstest.Options{MaxPayload: 10_000}).Connect(t), 1)
	ctx := withPatience(t)
	for size := 9_900; size <= 10_000; size++ {
		_, err := write(ctx, b, kv.Write{Key: "k", Value: make([]byte, size), What: "thing", ID: fmt.Sprint(size), If: true, Rev: 1_000_000_000})
		var large *kv.TooLargeError
		if errors.As(err, &large) {
			require.ErrorIs(t, err, kv.ErrTooLarge)
			require.Equal(t, 10_001, large.Size, "the first size that is refused is one too large")
			require.Contains(t, err.Error(), "thing of 10001 bytes")
			return
		}
		require.ErrorIs(t, err, kv.ErrRefused, "what is sent gets to the server")
	}
	t.Fatal("nothing was too large")
}

// The format is that of docs/shared.md.
func TestRecordFormat(t *testing.T) {
	for want, r := range map[string]kv.Record{
		`{"v":1,"holder":"KRX3","owner":"N1","lease_ms":15000,"beat":3}`: {Version: 1, Holder: "KRX3", Owner: "N1", LeaseMS: 15000, Beat: 3},
		`{"v":1}`: {Version: 1},
	} {
		got, err := json.Marshal(r)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		read, err := kv.ReadRecord(kv.Entry{Exists: true, Value: got})
		require.NoError(t, err)
		require.Equal(t, r, read)
	}
}
