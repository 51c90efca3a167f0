//go:build suites

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// keep makes objects that a settled future must not keep in memory.
type keep struct {
	t       *testing.T
	mu      sync.Mutex // guards made
	made    []weak.Pointer[kit.Resource]
	cancels []context.CancelFunc // keeps the contexts cancelable until the test ends
}

// res returns a resource that must be collected.
func (k *keep) res() *kit.Resource {
	r := new(kit.Resource)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made = append(k.made, weak.Make(r))
	return r
}

type keptKey struct{}

// ctx returns a context with a resource that must be collected. It has not
// ended, and its cancel function does not keep it.
func (k *keep) ctx() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancels = append(k.cancels, cancel)
	return context.WithValue(ctx, keptKey{}, k.res())
}

// value returns the future of a resource that must be collected.
func (k *keep) value() *twill.Future[*kit.Resource] { return twill.Resolved(k.res()) }

// promise is value for a test that resolves the future.
func (k *keep) promise() (*twill.Promise[*kit.Resource], *twill.Future[*kit.Resource]) {
	p := twill.NewPromise[*kit.Resource]()
	return p, p.Future()
}

// fn returns a function for Go that refers to and uses a resource that must be
// collected.
func (k *keep) fn() func(context.Context) (int, error) {
	r := k.res()
	return func(ctx context.Context) (int, error) {
		ctx.Done()
		runtime.KeepAlive(r)
		return 1, nil
	}
}

func (k *keep) fnArg() func(context.Context, int) (int, error) {
	fn := k.fn()
	return func(ctx context.Context, _ int) (int, error) { return fn(ctx) }
}

func (k *keep) hangs() func(context.Context) (int, error) {
	r := k.res()
	return func(ctx context.Context) (int, error) {
		<-ctx.Done()
		runtime.KeepAlive(r)
		return 0, ctx.Err()
	}
}

func (k *keep) handler() func(*kit.Resource) (int, error) {
	r := k.res()
	return func(*kit.Resource) (int, error) { runtime.KeepAlive(r); return 1, nil }
}

// settled waits for f.
func settled[T any](k *keep, f *twill.Future[T]) *twill.Future[T] {
	kit.Watchdog(k.t, func() { <-f.Done() })
	return f
}

// canceledFuture cancels f.
func canceledFuture[T any](k *keep, f *twill.Future[T]) *twill.Future[T] {
	require.True(k.t, f.Cancel(nil))
	return settled(k, f)
}

// keepRows has, for each function that returns a future, functions that call it
// and return the settled future, or the reason why there are none.
var keepRows = map[string]any{
	"Go": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.Go(k.ctx(), k.fn())) },
		func(k *keep) any { return canceledFuture(k, twill.Go(k.ctx(), k.hangs())) },
		func(k *keep) any {
			return settled(k, twill.Go(k.ctx(), func(context.Context) (int, error) { panic(kit.ErrBoom) }))
		},
	},
	"GoIn": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.GoIn(new(twill.Pool), k.ctx(), k.fn())) },
		func(k *keep) any { return canceledFuture(k, twill.GoIn(new(twill.Pool), k.ctx(), k.hangs())) },
	},
	"GoWith": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return canceledFuture(k, twill.GoWith(k.ctx(), k.hangs(), &twill.GoOptions[int]{Discard: func(int) { runtime.KeepAlive(r) }}))
		},
	},
	"Call":     "settled when it returns, without having held its function",
	"Resolved": "holds a value only",
	"Rejected": "holds an error only",
	"After": []func(k *keep) any{
		func(k *keep) any { return canceledFuture(k, twill.After(time.Hour, k.res())) },
	},
	"FromChan": []func(k *keep) any{
		func(k *keep) any {
			ch := make(chan *kit.Resource, 2)
			ch <- new(kit.Resource)
			ch <- k.res()
			return settled(k, twill.FromChan(ch))
		},
		func(k *keep) any {
			ch, f := make(chan *kit.Resource, 1), (*twill.Future[*kit.Resource])(nil)
			f = twill.FromChan(ch)
			canceledFuture(k, f)
			ch <- k.res()
			return f
		},
	},
	"FromContext": []func(k *keep) any{
		func(k *keep) any { return canceledFuture(k, twill.FromContext(k.ctx())) },
		func(k *keep) any {
			ctx, cancel := context.WithCancel(k.ctx())
			f := twill.FromContext(ctx)
			cancel()
			return settled(k, f)
		},
	},
	"Then": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.Then(k.value(), k.handler())) },
		func(k *keep) any {
			p, f := k.promise()
			g := twill.Then(f, k.handler())
			twill.Then(f, k.handler()) // so that the cancel only detaches
			canceledFuture(k, g)
			p.Resolve(k.res())
			return g
		},
	},
	"Handle": []func(k *keep) any{
		func(k *keep) any {
			h := k.handler()
			return settled(k, twill.Handle(k.value(), func(r *kit.Resource, _ error) (int, error) { return h(r) }))
		},
	},
	"Future.Catch": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, twill.Rejected[int](&keptError{k.res()}).Catch(func(error) (int, error) { runtime.KeepAlive(r); return 1, nil }))
		},
	},
	"Future.Finally": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, twill.Resolved(1).Finally(func() { runtime.KeepAlive(r) }))
		},
	},
	"Future.Tap": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, twill.Resolved(1).Tap(func(int, error) { runtime.KeepAlive(r) }))
		},
	},
	"ThenFuture": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, twill.ThenFuture(k.value(), func(*kit.Resource) *twill.Future[int] { runtime.KeepAlive(r); return twill.Resolved(1) }))
		},
		func(k *keep) any {
			p := twill.NewPromise[int]()
			f := twill.ThenFuture(k.value(), func(*kit.Resource) *twill.Future[int] {
				return twill.Then(p.Future(), func(int) (int, error) { return 1, nil })
			})
			p.Resolve(1)
			return settled(k, f)
		},
		func(k *keep) any {
			ctx := k.ctx()
			return canceledFuture(k, twill.ThenFuture(k.value(), func(*kit.Resource) *twill.Future[int] { return twill.Go(ctx, k.hangs()) }))
		},
	},
	"HandleFuture": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, twill.HandleFuture(k.value(), func(*kit.Resource, error) *twill.Future[int] {
				runtime.KeepAlive(r)
				return twill.Resolved(1)
			}))
		},
	},
	"Future.CatchFuture": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, twill.Rejected[int](&keptError{k.res()}).CatchFuture(func(error) *twill.Future[int] {
				runtime.KeepAlive(r)
				return twill.Resolved(1)
			}))
		},
	},
	"Future.Shield": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.Go(k.ctx(), k.fn()).Shield()) },
		func(k *keep) any {
			p, r := twill.NewPromise[int](), k.res()
			p.OnCancel(func(error) { runtime.KeepAlive(r) })
			return canceledFuture(k, p.Future().Shield())
		},
	},
	"Future.Timeout": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.Go(k.ctx(), k.fn()).Timeout(time.Hour)) },
		func(k *keep) any { return settled(k, twill.Go(k.ctx(), k.hangs()).Timeout(time.Millisecond)) },
		func(k *keep) any { return settled(k, twill.Go(k.ctx(), k.hangs()).Timeout(0)) },
		func(k *keep) any { return canceledFuture(k, twill.Go(k.ctx(), k.hangs()).Timeout(time.Hour)) },
	},
	"Future.WithContext": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.Resolved(1).WithContext(k.ctx())) },
		func(k *keep) any {
			p := twill.NewPromise[int]()
			f := p.Future().WithContext(k.ctx())
			p.Resolve(1)
			return settled(k, f)
		},
		func(k *keep) any { return canceledFuture(k, twill.NewPromise[int]().Future().WithContext(k.ctx())) },
		func(k *keep) any {
			ctx, cancel := context.WithCancel(k.ctx())
			f := twill.NewPromise[int]().Future().WithContext(ctx)
			cancel()
			return settled(k, f)
		},
	},
	"Future.Via": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, twill.Resolved(1).Via(func(fn func()) { runtime.KeepAlive(r); fn() }))
		},
	},
	"All": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.All(twill.Go(k.ctx(), k.fn()), twill.Resolved(2))) },
		func(k *keep) any {
			return canceledFuture(k, twill.All(twill.Go(k.ctx(), k.hangs()), twill.Then(k.value(), k.handler())))
		},
		func(k *keep) any {
			return settled(k, twill.All(k.value(), twill.Rejected[*kit.Resource](kit.ErrBoom), k.value()))
		},
	},
	"AllMap": []func(k *keep) any{
		func(k *keep) any {
			return settled(k, twill.AllMap(map[int]*twill.Future[int]{1: twill.Go(k.ctx(), k.fn())}))
		},
	},
	"AllSettled": []func(k *keep) any{
		func(k *keep) any {
			return settled(k, twill.AllSettled(twill.Go(k.ctx(), k.fn()), twill.Rejected[int](kit.ErrBoom)))
		},
	},
	"AllSettledMap": []func(k *keep) any{
		func(k *keep) any {
			return settled(k, twill.AllSettledMap(map[int]*twill.Future[int]{1: twill.Go(k.ctx(), k.fn())}))
		},
	},
	"Any": []func(k *keep) any{
		func(k *keep) any {
			return settled(k, twill.Any(twill.Go(k.ctx(), k.hangs()), twill.Rejected[int](&keptError{k.res()}), twill.Resolved(1)))
		},
	},
	"First": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.First(twill.Go(k.ctx(), k.hangs()), twill.Resolved(1))) },
	},
	"Some": []func(k *keep) any{
		func(k *keep) any {
			return settled(k, twill.Some(1, twill.Go(k.ctx(), k.hangs()), twill.Rejected[int](&keptError{k.res()}), twill.Resolved(1)))
		},
	},
	"Join": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.Join(twill.Go(k.ctx(), k.fn()), k.value())) },
	},
	"Combine": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, twill.Combine(twill.Go(k.ctx(), k.fn()), k.value(), func(int, *kit.Resource) (int, error) {
				runtime.KeepAlive(r)
				return 1, nil
			}))
		},
	},
	"NewDeferredList": []func(k *keep) any{
		func(k *keep) any {
			return settled(k, &twill.NewDeferredList([]*twill.Future[int]{twill.Go(k.ctx(), k.fn()), twill.Resolved(1)}, 0).Future)
		},
		func(k *keep) any {
			p, r := twill.NewPromise[int](), k.res()
			p.OnCancel(func(error) { runtime.KeepAlive(r) })
			return settled(k, &twill.NewDeferredList([]*twill.Future[int]{p.Future(), twill.Resolved(1)}, twill.FireOnOneCallback).Future)
		},
	},
	"Futures": "returns futures that exist",
	"Pool.Empty": []func(k *keep) any{
		func(k *keep) any {
			pool, p := heldBy[twill.Pool](k), twill.NewPromise[int]()
			require.NoError(k.t, pool.Add(p.Future()))
			f := pool.Empty()
			p.Resolve(1)
			return settled(k, f)
		},
	},
	"Pool.NextEmpty": []func(k *keep) any{
		func(k *keep) any {
			pool, p := heldBy[twill.Pool](k), twill.NewPromise[int]()
			f := pool.NextEmpty()
			require.NoError(k.t, pool.Add(p.Future()))
			p.Resolve(1)
			return settled(k, f)
		},
		func(k *keep) any { return canceledFuture(k, heldBy[twill.Pool](k).NextEmpty()) },
	},
	"Pooler.Call": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.NewPooler(k.fnArg()).Call(k.ctx(), 1)) },
		func(k *keep) any { // the second caller
			r, started, gate := k.res(), make(chan struct{}), make(chan struct{})
			pooler := twill.NewPooler(func(context.Context, int) (int, error) {
				close(started)
				<-gate
				runtime.KeepAlive(r)
				return 1, nil
			})
			pooler.Call(context.Background(), 1)
			<-started
			f := pooler.Call(k.ctx(), 1)
			close(gate)
			return settled(k, f)
		},
		func(k *keep) any {
			fn := k.hangs()
			return canceledFuture(k, twill.NewPooler(func(ctx context.Context, _ int) (int, error) { return fn(ctx) }).Call(k.ctx(), 1))
		},
	},
	"NewPoolerFuture": "returns no future",
	"Pooler.Empty": []func(k *keep) any{
		func(k *keep) any {
			pooler := twill.NewPooler(k.fnArg())
			pooler.Call(k.ctx(), 1)
			return settled(k, pooler.Empty())
		},
	},
	"Queue.Get": []func(k *keep) any{
		func(k *keep) any {
			q := twill.NewQueue[*kit.Resource](nil)
			f := q.Get()
			require.NoError(k.t, q.Put(new(kit.Resource)))
			require.NoError(k.t, q.Put(k.res()))
			return settled(k, f)
		},
		func(k *keep) any {
			q := twill.NewQueue[*kit.Resource](nil)
			f := canceledFuture(k, q.Get())
			require.NoError(k.t, q.Put(k.res()))
			return f
		},
	},
	"PriorityQueue.Get": []func(k *keep) any{
		func(k *keep) any {
			var q twill.PriorityQueue[*kit.Resource]
			f := q.Get()
			for _, r := range []*kit.Resource{new(kit.Resource), k.res()} {
				_, err := q.Put(r, 1)
				require.NoError(k.t, err)
			}
			return settled(k, f)
		},
	},
	"Dict.Get": []func(k *keep) any{
		func(k *keep) any {
			var d twill.Dict[int, *kit.Resource]
			f := d.Get(1)
			d.Set(1, new(kit.Resource))
			d.Set(2, k.res())
			return settled(k, f)
		},
		func(k *keep) any {
			var d twill.Dict[int, *kit.Resource]
			f := canceledFuture(k, d.Get(1))
			d.Set(2, k.res())
			return f
		},
	},
	"Dict.GetOrCompute": []func(k *keep) any{
		func(k *keep) any {
			return settled(k, new(twill.Dict[int, int]).GetOrCompute(k.ctx(), 1, k.fn()))
		},
		func(k *keep) any {
			return canceledFuture(k, new(twill.Dict[int, int]).GetOrCompute(k.ctx(), 1, k.hangs()))
		},
	},
	"Lock.Acquire":       "its value is a function that releases the lock, and so leads to it",
	"Semaphore.Acquire":  "as Lock.Acquire",
	"Semaphore.AcquireN": "as Lock.Acquire",
	"Lock.Run": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, new(twill.Lock).Run(k.ctx(), func(context.Context) error { runtime.KeepAlive(r); return nil }))
		},
	},
	"Semaphore.Run": []func(k *keep) any{
		func(k *keep) any {
			r := k.res()
			return settled(k, new(twill.Semaphore).Run(k.ctx(), func(context.Context) error { runtime.KeepAlive(r); return nil }))
		},
	},
	"RunWith": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.RunWith(k.ctx(), new(twill.Lock), k.fn())) },
		func(k *keep) any { return canceledFuture(k, twill.RunWith(k.ctx(), new(twill.Lock), k.hangs())) },
		func(k *keep) any {
			l := new(twill.Lock)
			l.TryAcquire()
			return canceledFuture(k, twill.RunWith(k.ctx(), l, k.hangs()))
		},
	},
	"RunWithFuture": []func(k *keep) any{
		func(k *keep) any {
			ctx, fn := k.ctx(), k.fn()
			return settled(k, twill.RunWithFuture(new(twill.Lock), func() *twill.Future[int] { return twill.Go(ctx, fn) }))
		},
	},
	"Init.Ready": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.NewInit(k.ctx(), k.fn()).Ready()) },
	},
	"NewInit": []func(k *keep) any{
		func(k *keep) any { in := twill.NewInit(k.ctx(), k.fn()); settled(k, in.Ready()); return in },
	},
	"Method": []func(k *keep) any{
		func(k *keep) any {
			ctx := k.ctx()
			in := twill.NewInit(k.ctx(), func(context.Context) (*kit.Resource, error) { return k.res(), ctx.Err() })
			r := k.res()
			return settled(k, twill.Method(in, func(*kit.Resource, int) (int, error) { runtime.KeepAlive(r); return 1, nil })(1))
		},
	},
	"MethodContext": []func(k *keep) any{
		func(k *keep) any {
			in := twill.NewInit(k.ctx(), func(context.Context) (*kit.Resource, error) { return k.res(), nil })
			return settled(k, twill.MethodContext(in, func(_ *kit.Resource, ctx context.Context, _ int) (int, error) { return 1, ctx.Err() })(k.ctx(), 1))
		},
	},
	"Series": []func(k *keep) any{
		func(k *keep) any {
			r, ctx, fn := k.res(), k.ctx(), k.fn()
			return settled(k, twill.Series(1, func(int) *twill.Future[int] { runtime.KeepAlive(r); return twill.Go(ctx, fn) }))
		},
		func(k *keep) any {
			ctx, fn := k.ctx(), k.hangs()
			return canceledFuture(k, twill.Series(1, func(int) *twill.Future[int] { return twill.Go(ctx, fn) }))
		},
	},
	"SeriesOf": []func(k *keep) any{
		func(k *keep) any {
			r, ctx, fn := k.res(), k.ctx(), k.fn()
			return settled(k, twill.SeriesOf(1, slices.Values([]func(int) *twill.Future[int]{
				func(int) *twill.Future[int] { runtime.KeepAlive(r); return twill.Go(ctx, fn) },
			})))
		},
	},
	"RetryingCall.Start": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.NewRetryingCall(k.fn(), nil).Start(k.ctx())) },
		func(k *keep) any { return canceledFuture(k, twill.NewRetryingCall(k.hangs(), nil).Start(k.ctx())) },
	},
	"NewRetryingCallFuture": "returns no future",
	"Race.Execute": []func(k *keep) any{
		func(k *keep) any {
			r := twill.NewRace[int, int](nil)
			r.Register(k.fnArg())
			return settled(k, r.Execute(k.ctx(), 1))
		},
		func(k *keep) any {
			r, fn := twill.NewRace[int, int](nil), k.hangs()
			r.Register(func(ctx context.Context, _ int) (int, error) { return fn(ctx) })
			return canceledFuture(k, r.Execute(k.ctx(), 1))
		},
	},
	"Race.ExecuteHeld": "its value holds the winner's context, which is what it is for",
	"RaceOf": []func(k *keep) any{
		func(k *keep) any { return settled(k, twill.RaceOf(k.ctx(), k.fn(), k.fn())) },
		func(k *keep) any { return canceledFuture(k, twill.RaceOf(k.ctx(), k.hangs())) },
	},
	"NewResizableDispatchQueueFuture":    "returns no future",
	"ResizableDispatchQueue.Put":         "a Job keeps its queue, argument, options and times",
	"ResizableDispatchQueue.PutWait":     "as Put",
	"ResizableDispatchQueue.PutAll":      "as Put",
	"ResizableDispatchQueue.Restore":     "as Put",
	"ResizableDispatchQueue.Drain":       "returns jobs",
	"ResizableDispatchQueue.Pending":     "returns jobs",
	"ResizableDispatchQueue.PendingPage": "returns jobs",
	"ResizableDispatchQueue.PendingSeq":  "returns jobs",
	"ResizableDispatchQueue.Underway":    "returns jobs",
	"ResizableDispatchQueue.Results":     "returns jobs",
	"ResizableDispatchQueue.Stop":        "its value is the list of jobs that are left",
	"ResizableDispatchQueue.StopNow":     "as Stop",
	"ResizableDispatchQueue.Pause": []func(k *keep) any{
		func(k *keep) any {
			return settled(k, twill.NewResizableDispatchQueue(k.fnArg(), &twill.DispatchOptions{Context: k.ctx()}).Pause())
		},
	},
	"ResizableDispatchQueue.Find":   "returns a job",
	"ResizableDispatchQueue.FindID": "returns a job",
	"ResizableDispatchQueue.NoneUnderway": []func(k *keep) any{
		func(k *keep) any {
			q := twill.NewResizableDispatchQueue(k.fnArg(), &twill.DispatchOptions{Context: k.ctx()})
			kit.PutJob(k.t, q, 1, 0)
			return settled(k, q.NoneUnderway())
		},
	},
	"ResizableDispatchQueue.PendingBelow": []func(k *keep) any{
		func(k *keep) any {
			q := twill.NewResizableDispatchQueue(k.fnArg(), &twill.DispatchOptions{Context: k.ctx()})
			kit.PutJob(k.t, q, 1, 0)
			return settled(k, q.PendingBelow(1))
		},
	},
	"ResizableDispatchQueue.Empty": []func(k *keep) any{
		func(k *keep) any {
			q := twill.NewResizableDispatchQueue(k.fnArg(), &twill.DispatchOptions{Context: k.ctx()})
			kit.PutJob(k.t, q, 1, 0)
			return settled(k, q.Empty())
		},
	},
	"Promise.Future": []func(k *keep) any{
		func(k *keep) any {
			p, r := twill.NewPromise[int](), k.res()
			p.OnCancel(func(error) { runtime.KeepAlive(r) })
			p.Resolve(1)
			return p.Future()
		},
		func(k *keep) any {
			p, r := twill.NewPromise[int](), k.res()
			p.OnCancel(func(error) { runtime.KeepAlive(r) })
			p.Follow(twill.Go(k.ctx(), k.hangs()))
			return canceledFuture(k, p.Future())
		},
		func(k *keep) any {
			p := twill.NewPromise[int]()
			p.Follow(twill.Go(k.ctx(), k.fn()))
			return settled(k, p.Future())
		},
	},
}

// keptError is an error that refers to a resource, which must be collected with
// it.
type keptError struct{ r *kit.Resource }

func (e *keptError) Error() string { return "kept" }

// heldBy returns a new T that must be collected.
func heldBy[T any](k *keep) *T {
	v := new(struct {
		t T
		r *kit.Resource
	})
	v.r = k.res()
	return &v.t
}

// A settled future keeps its value or its error, and no context, function,
// timer or future from which it was made.
func TestSettledFuturesKeepNothing(t *testing.T) {
	previous := twill.OnUnhandled(nil)
	t.Cleanup(func() { twill.OnUnhandled(previous) })
	names := returnsFuture(t)
	var missing []string
	for _, name := range names {
		if _, ok := keepRows[name]; !ok {
			missing = append(missing, name)
		}
	}
	require.Empty(t, missing, "a function that returns a future needs a row, or a reason to have none")
	for name := range keepRows {
		if _, ok := keepRows[name].(string); !ok && name != "NewInit" {
			require.Contains(t, names, name, "there is no such function")
		}
	}
	for name, row := range keepRows {
		variants, ok := row.([]func(k *keep) any)
		if !ok {
			continue
		}
		for i, variant := range variants {
			t.Run(fmt.Sprint(name, " ", i), func(t *testing.T) {
				k := &keep{t: t}
				var kept any
				kit.Drop(func() { kept = variant(k) })
				require.NotEmpty(t, k.made)
				for j, w := range k.made {
					require.True(t, kit.Released(w), "resource %d is kept", j)
				}
				runtime.KeepAlive(kept)
				for _, cancel := range k.cancels {
					cancel()
				}
			})
		}
	}
}

// An error that refers to the future that failed with it is collected with the
// future after the failure was handled.
func TestErrorsThatReferToTheirFutureAreCollected(t *testing.T) {
	kit.CollectReports(t)
	type cyclic struct {
		error
		f *twill.Future[int]
		r *kit.Resource
	}
	for name, handle := range map[string]func(f *twill.Future[int]){
		"Await": func(f *twill.Future[int]) { _, _ = f.Await(context.Background()) },
		"Poll":  func(f *twill.Future[int]) { f.Poll() },
		"Catch": func(f *twill.Future[int]) { f.Catch(func(error) (int, error) { return 0, nil }) },
		"Tap": func(f *twill.Future[int]) {
			_, _ = f.Tap(func(int, error) {}).Await(context.Background())
		},
		"All": func(f *twill.Future[int]) {
			twill.All(f).Catch(func(error) ([]int, error) { return nil, nil })
		},
	} {
		for _, late := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", after the failure: ", late), func(t *testing.T) {
				var w weak.Pointer[kit.Resource]
				kit.Drop(func() {
					p, r := twill.NewPromise[int](), new(kit.Resource)
					w = weak.Make(r)
					if !late && name != "Await" && name != "Tap" && name != "Poll" {
						handle(p.Future())
					}
					p.Reject(&cyclic{errors.New("cyclic"), p.Future(), r})
					if late || name == "Await" || name == "Tap" || name == "Poll" {
						handle(p.Future())
					}
				})
				require.True(t, kit.Released(w))
			})
		}
	}
}

// returnsFuture returns the names of all exported functions and methods that
// return a future, or a function that returns one.
func returnsFuture(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../../../*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, "_go127.go") {
			continue // Go 1.26 cannot parse chain_go127.go, whose methods are those of chain.go
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || exportedName(d) == "" || d.Type.Results == nil {
				continue
			}
			returns := false
			ast.Inspect(d.Type.Results, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					returns = returns || id.Name == "Future" || id.Name == "Job" || id.Name == "DeferredList"
				}
				return true
			})
			if returns {
				names = append(names, exportedName(d))
			}
		}
	}
	slices.Sort(names)
	return names
}
