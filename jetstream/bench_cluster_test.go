package jetstream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// What a call, a lock and a dict cost beside the writes to a key-value bucket
// that they are made of. Servers and clients share the machine: read the times
// as proportions.
func BenchmarkShared(b *testing.B) {
	for replicas, start := range map[int]func(testing.TB, *natstest.Options) *natstest.Servers{1: natstest.Start, 3: natstest.StartCluster} {
		b.Run(fmt.Sprint("R", replicas), func(b *testing.B) {
			s := start(b, nil)
			ctx := context.Background()
			conn, other := s.Connect(b), s.Connect(b)
			run := time.Now().Format("150405.000-") // keys of -count differ

			// A write that creates a key, and one that updates it: what a call of a
			// Pooler and a lock cannot do without.
			b.Run("two writes to a bucket", func(b *testing.B) {
				js, err := natsjs.New(conn)
				require.NoError(b, err)
				bucket, err := js.CreateOrUpdateKeyValue(ctx, natsjs.KeyValueConfig{Bucket: "raw", Replicas: replicas})
				require.NoError(b, err)
				for i := 0; b.Loop(); i++ {
					key := fmt.Sprint(run, i)
					rev, err := bucket.Create(ctx, key, []byte("1"))
					if err == nil {
						_, err = bucket.Update(ctx, key, []byte("2"), rev)
					}
					require.NoError(b, err)
				}
			})

			var poolers []*jetstream.Pooler[int, int]
			for _, c := range []*nats.Conn{conn, other} {
				p, err := jetstream.NewPooler(ctx, c, "bench", func(_ context.Context, key int) (int, error) { return key, nil }, &jetstream.PoolerOptions{Replicas: replicas})
				require.NoError(b, err)
				defer func() { _ = p.Close(ctx) }()
				poolers = append(poolers, p)
			}
			calls := func(pooler func(i int) *jetstream.Pooler[int, int], key func(i int) int) func(*testing.B) {
				return func(b *testing.B) {
					for i := 0; b.Loop(); i++ {
						_, err := pooler(i).Do(ctx, key(i))
						require.NoError(b, err)
					}
				}
			}
			first := func(int) *jetstream.Pooler[int, int] { return poolers[0] }
			turns := func(i int) *jetstream.Pooler[int, int] { return poolers[i%2] }
			b.Run("call, new keys", calls(first, func(i int) int { return i }))
			b.Run("call, one key", calls(first, func(int) int { return -1 }))
			b.Run("call, one key of two processes in turn", calls(turns, func(int) int { return -2 }))

			l, err := jetstream.NewLock(ctx, conn, "bench", &jetstream.LockOptions{Replicas: replicas})
			require.NoError(b, err)
			b.Run("acquire and release a lock", func(b *testing.B) {
				for b.Loop() {
					lease, err := l.AcquireWait(ctx)
					require.NoError(b, err)
					require.NoError(b, lease.Release())
				}
			})

			here, err := jetstream.NewDict[string, int](ctx, conn, "bench", &jetstream.DictOptions{Replicas: replicas})
			require.NoError(b, err)
			there, err := jetstream.NewDict[string, int](ctx, other, "bench", nil)
			require.NoError(b, err)
			defer here.Close(nil)
			b.Run("get of a dict, and a set elsewhere", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					key := fmt.Sprint(run, i)
					f := here.Get(key)
					require.NoError(b, there.Set(ctx, key, i))
					_, err := f.Await(ctx)
					require.NoError(b, err)
				}
			})
		})
	}
}
