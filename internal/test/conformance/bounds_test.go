//go:build suites

package conformance_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// What a bound, or a cancel, finds upstream in these tests takes slow, and the
// bound is soon.
const (
	soon = 10 * time.Millisecond
	slow = 30 * time.Millisecond
)

// bounded is a chain with one of the recipes in it, and the work that the
// recipe calls.
type bounded struct {
	t       *testing.T
	begun   atomic.Int32 // work that began
	told    atomic.Int32 // work whose context ended
	idle    func() bool  // nothing is held or underway
	keeps   bool         // a cancel of the chain is no cancel of the work
	answers bool         // the work is started in answer to the cancel
}

// work blocks until its context ends.
func (b *bounded) work(ctx context.Context) (int, error) {
	b.begun.Add(1)
	<-ctx.Done()
	b.told.Add(1)
	return 0, context.Cause(ctx)
}

func (b *bounded) workOf(ctx context.Context, _ int) (int, error) { return b.work(ctx) }

// recipes make a future that does the work.
var recipes = map[string]func(b *bounded) func() *twill.Future[int]{
	"Go": func(b *bounded) func() *twill.Future[int] {
		return func() *twill.Future[int] { return twill.Go(context.Background(), b.work) }
	},
	"RunWith": func(b *bounded) func() *twill.Future[int] {
		var l twill.Lock
		b.idle = func() bool { return !l.Locked() }
		return func() *twill.Future[int] { return twill.RunWith(context.Background(), &l, b.work) }
	},
	"RunWith of a lock that is held": func(b *bounded) func() *twill.Future[int] {
		var l twill.Lock
		release, _ := l.TryAcquire()
		time.AfterFunc(soon/2, release)
		b.idle = func() bool { return !l.Locked() && l.Waiting() == 0 }
		return func() *twill.Future[int] { return twill.RunWith(context.Background(), &l, b.work) }
	},
	"RunWithFuture": func(b *bounded) func() *twill.Future[int] {
		s := twill.NewSemaphore(1)
		b.idle = func() bool { return s.Tokens() == 1 }
		return func() *twill.Future[int] {
			return twill.RunWithFuture(s, func() *twill.Future[int] { return twill.Go(context.Background(), b.work) })
		}
	},
	"RetryingCall": func(b *bounded) func() *twill.Future[int] {
		call := twill.NewRetryingCall(b.work, &twill.RetryOptions{Backoff: kit.Pauses(time.Millisecond)})
		return func() *twill.Future[int] { return call.Start(context.Background()) }
	},
	"RetryingCall of futures": func(b *bounded) func() *twill.Future[int] {
		call := twill.NewRetryingCallFuture(func(ctx context.Context) *twill.Future[int] { return twill.Go(ctx, b.work) },
			&twill.RetryOptions{Backoff: kit.Pauses(time.Millisecond), AttemptTimeout: time.Hour})
		return func() *twill.Future[int] { return call.Start(context.Background()) }
	},
	"Race": func(b *bounded) func() *twill.Future[int] {
		return func() *twill.Future[int] { return twill.RaceOf(context.Background(), b.work, b.work) }
	},
	"Init": func(b *bounded) func() *twill.Future[int] {
		b.keeps = true
		return func() *twill.Future[int] {
			in := twill.NewInit(context.Background(), b.work)
			time.AfterFunc(time.Second, func() { in.Cancel(nil) })
			return in.Ready()
		}
	},
	"MethodContext": func(b *bounded) func() *twill.Future[int] {
		in := twill.NewInit(context.Background(), func(context.Context) (int, error) { return 1, nil })
		call := twill.MethodContext(in, func(_ int, ctx context.Context, _ int) (int, error) { return b.work(ctx) })
		return func() *twill.Future[int] { return call(context.Background(), 1) }
	},
	"a job": func(b *bounded) func() *twill.Future[int] {
		q := twill.NewResizableDispatchQueue(b.workOf, nil)
		b.idle = func() bool { underway, pending := q.Size(); return underway+pending == 0 }
		return func() *twill.Future[int] {
			job, err := q.Put(1, 0)
			assert.NoError(b.t, err)
			return &job.Future
		}
	},
	"Pooler": func(b *bounded) func() *twill.Future[int] {
		p := twill.NewPooler(b.workOf)
		b.idle = func() bool { return p.Len() == 0 }
		return func() *twill.Future[int] { return p.Call(context.Background(), 1) }
	},
	"Pooler of futures": func(b *bounded) func() *twill.Future[int] {
		p := twill.NewPoolerFuture(func(ctx context.Context, _ int) *twill.Future[int] { return twill.Go(ctx, b.work) })
		b.idle = func() bool { return p.Len() == 0 }
		return func() *twill.Future[int] { return p.Call(context.Background(), 1) }
	},
	"GetOrCompute": func(b *bounded) func() *twill.Future[int] {
		var d twill.Dict[int, int]
		b.idle = func() bool { return d.Waiting() == 0 }
		return func() *twill.Future[int] { return d.GetOrCompute(context.Background(), 1, b.work) }
	},
	"Series": func(b *bounded) func() *twill.Future[int] {
		return func() *twill.Future[int] {
			return twill.Series(1, func(int) *twill.Future[int] { return twill.Go(context.Background(), b.work) })
		}
	},
	"All": func(b *bounded) func() *twill.Future[int] {
		return func() *twill.Future[int] {
			all := twill.All(twill.Go(context.Background(), b.work), twill.Go(context.Background(), b.work))
			return twill.Then(all, func(vs []int) (int, error) { return vs[0], nil })
		}
	},
	"Follow": func(b *bounded) func() *twill.Future[int] {
		return func() *twill.Future[int] {
			p := twill.NewPromise[int]()
			p.Follow(twill.Go(context.Background(), b.work))
			return p.Future()
		}
	},
}

// places are where the recipe is in a chain, and what is at work above when the
// bound comes.
var places = map[string]func(b *bounded, do func() *twill.Future[int]) *twill.Future[int]{
	"at the top": func(_ *bounded, do func() *twill.Future[int]) *twill.Future[int] { return do() },
	"after a slow handler": func(_ *bounded, do func() *twill.Future[int]) *twill.Future[int] {
		p := twill.NewPromise[int]()
		slowly := twill.Then(p.Future(), func(v int) (int, error) { time.Sleep(slow); return v, nil })
		go p.Resolve(1)
		return twill.ThenFuture(slowly, func(int) *twill.Future[int] { return do() })
	},
	"after two slow handlers": func(_ *bounded, do func() *twill.Future[int]) *twill.Future[int] {
		p := twill.NewPromise[int]()
		slowly := func(v int) (int, error) { time.Sleep(slow / 2); return v, nil }
		first := twill.Then(p.Future(), slowly)
		second := twill.Then(twill.ThenFuture(first, func(v int) *twill.Future[int] { return twill.Resolved(v) }), slowly)
		go p.Resolve(1)
		return twill.ThenFuture(second, func(int) *twill.Future[int] { return do() })
	},
	"after a busy executor": func(_ *bounded, do func() *twill.Future[int]) *twill.Future[int] {
		busy := func(fn func()) { time.AfterFunc(slow, fn) }
		return twill.ThenFuture(twill.Resolved(1).Via(busy), func(int) *twill.Future[int] { return do() })
	},
	"before a busy executor": func(_ *bounded, do func() *twill.Future[int]) *twill.Future[int] {
		return do().Via(func(fn func()) { time.AfterFunc(slow, fn) })
	},
	"in answer to the cancel": func(b *bounded, do func() *twill.Future[int]) *twill.Future[int] {
		b.answers = true
		return twill.NewPromise[int]().Future().CatchFuture(func(error) *twill.Future[int] { return do() })
	},
	"after a root that settles while its canceler runs": func(_ *bounded, do func() *twill.Future[int]) *twill.Future[int] {
		p := twill.NewPromise[int]()
		stop, gone := make(chan struct{}), make(chan struct{})
		p.OnCancel(func(error) { close(stop); <-gone })
		go func() {
			<-stop
			p.Resolve(1)
			close(gone)
		}()
		return twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return do() })
	},
	"before a slow handler of its failure": func(_ *bounded, do func() *twill.Future[int]) *twill.Future[int] {
		return do().Finally(func() { time.Sleep(slow) })
	},
}

// limits end a chain soon. Each returns the future that is to end.
var limits = map[string]func(f *twill.Future[int]) *twill.Future[int]{
	"Timeout": func(f *twill.Future[int]) *twill.Future[int] { return f.Timeout(soon) },
	"two Timeouts": func(f *twill.Future[int]) *twill.Future[int] {
		return twill.Then(f.Timeout(soon), kit.Same[int]).Timeout(soon)
	},
	"WithContext": func(f *twill.Future[int]) *twill.Future[int] {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		f = f.WithContext(ctx)
		f.OnSettled(func(int, error) { cancel() })
		return f
	},
	"a Timeout of Any": func(f *twill.Future[int]) *twill.Future[int] { return twill.Any(f).Timeout(soon) },
	"a Timeout of Join": func(f *twill.Future[int]) *twill.Future[int] {
		return twill.Then(twill.Join(f), func(struct{}) (int, error) { return 1, nil }).Timeout(soon)
	},
	"a list that leaves": func(f *twill.Future[int]) *twill.Future[int] { return twill.Any(f, twill.After(soon, 1)) },
	"Cancel": func(f *twill.Future[int]) *twill.Future[int] {
		f = twill.Then(f, kit.Same[int])
		time.AfterFunc(soon, func() { f.Cancel(nil) })
		return f
	},
}

// Wherever a recipe is in a chain, a bound ends the chain. Work that nothing
// waits for is canceled, once, and holds nothing.
func TestBoundsOfRecipes(t *testing.T) {
	for recipe, prepare := range recipes {
		for place, build := range places {
			for limit, end := range limits {
				t.Run(fmt.Sprint(recipe, "/", place, "/", limit), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := &bounded{t: t, idle: func() bool { return true }}
						began := time.Now()
						chain := build(b, prepare(b))
						tip := end(chain)
						var took time.Duration
						tip.OnSettled(func(int, error) { took = time.Since(began) })
						time.Sleep(time.Minute)
						synctest.Wait()
						if limit == "a list that leaves" && b.answers && !b.keeps {
							require.Zero(t, b.told.Load(), "the same")
							chain.Cancel(nil)
							synctest.Wait()
						}
						if limit == "Cancel" && b.answers && b.keeps {
							took = 0 // it waits for what was started
						}
						if limit == "Cancel" && b.answers && !b.keeps {
							require.Zero(t, b.told.Load(), "what a handler starts in answer to a cancel is not canceled by that")
							tip.Cancel(nil)
							synctest.Wait()
							took = 0
						}
						_, settled := tip.Poll()
						require.True(t, settled, "it never ends")
						require.LessOrEqual(t, took, soon+slow, "the time of the handlers that the cancel calls is added")
						require.Equal(t, b.begun.Load(), b.told.Load(), "work runs on for ever")
						require.True(t, b.idle(), "something is held or underway")
					})
				})
			}
		}
	}
}

// An Acquirer of the program may take its time; what it acquires after the end
// of the context is not held for good.
func TestRunWithReleasesWhatIsAcquiredTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l twill.Lock
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		f := twill.RunWith(ctx, slowLock{&l}, func(context.Context) (int, error) {
			t.Error("called after the end of its context")
			return 0, nil
		})
		_, err := f.Await(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(slow)
		synctest.Wait()
		require.False(t, l.Locked())
	})
}

type slowLock struct{ *twill.Lock }

func (l slowLock) Acquire() *twill.Future[func()] {
	p := twill.NewPromise[struct{}]()
	go p.Resolve(struct{}{})
	return twill.Then(p.Future(), func(struct{}) (func(), error) {
		time.Sleep(slow)
		return l.Lock.AcquireWait(context.Background())
	})
}
