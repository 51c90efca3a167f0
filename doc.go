// Package twill composes results that are not there yet: futures with handlers,
// cancellation that travels up a chain and comes back down, and the recipes built
// from them. Its nearest neighbours are errgroup, for a group of goroutines
// that end together, and singleflight, for merging equal calls; twill is for
// results that are passed on, shared, combined, bounded and given up.
//
// # Futures
//
// A [Future] settles once, with a value or an error. Make one with [Go], which
// runs a function on a goroutine, with [After] or [FromChan], or with a
// [Promise], whose Resolve and Reject settle it by hand. Wait for it with Await;
// or add handlers, each of which gives a new future:
//
//	user := twill.Go(ctx, fetchUser)
//	name := twill.Then(user, func(u User) (string, error) { return u.Name, nil })
//	safe := name.Catch(func(error) (string, error) { return "somebody", nil }).Timeout(time.Second)
//
// Any number of goroutines may use one future, and each sees the same result.
// No goroutine waits inside a chain: a pending future costs its own few bytes.
//
// # Rules
//
//   - Handlers run in the order in which they were added, each exactly once, on
//     the goroutine that settles the future, or that adds them if it is settled.
//     They should not block; [Future.Via] moves them elsewhere.
//   - A panic or a [runtime.Goexit] of a handler is its own future's failure.
//   - Cancel asks the pending future at the top of a chain to end, unless others
//     depend on it: then only the one who cancels leaves. The last one to leave takes
//     it down.
//   - A context given to Await bounds the waiting. [Future.WithContext] and
//     [Future.Timeout] bound the work.
//   - A failure that nobody takes is reported, see [OnUnhandled].
//
// # Lists
//
// [All], [Settled], [Any], [First], [AllMap] and [SettledMap] make one future of several,
// [AsCompleted] and [Map] iterate over several. [DeferredList] has the flags of
// Twisted's.
//
// # Recipes
//
//   - [Pool] is the set of futures in flight, and says when it is empty.
//   - [ResizableDispatchQueue] runs jobs by priority through a pipeline whose
//     width, order and pace change while it runs; each [Job] is a future.
//   - [Queue] and [PriorityQueue] give items out; a Get of an empty one is a
//     future. A Get from a [Dict] waits for its key.
//   - [Pooler] merges equal calls that are underway; the last caller to leave
//     cancels the call.
//   - [Lock] and [Semaphore] hand out turns; [Init] holds calls back until what
//     they need is ready; [Series] runs functions one after another.
//   - [RetryingCall] and [Retry] repeat a call that fails, [Race] takes the first
//     of several ways that succeeds.
//
// # Coming from Twisted
//
// A Deferred is two things here: the [Promise] that is fired and the [Future]
// that has callbacks. addCallback, addErrback and addBoth are [Then],
// [Future.Catch] and [Handle]; they give a new future instead of changing the old
// one, so that a result can have many consumers. A second callback is a
// false from Resolve instead of AlreadyCalledError, and so is a late result
// after a cancel. Follow is chainDeferred; it passes cancels on.
package twill
