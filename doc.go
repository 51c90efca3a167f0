// Package twill composes results that are not there yet: futures with handlers,
// cancellation that travels up a chain and comes back down, and the recipes built
// from them. Its nearest neighbours are errgroup, for a group of goroutines
// that end together, and singleflight, for merging equal calls; twill is for
// results that are passed on, shared, combined, bounded and given up.
//
//	user := twill.Go(ctx, fetchUser)
//	name := twill.Then(user, func(u User) (string, error) { return u.Name, nil })
//	safe := name.Catch(func(error) (string, error) { return "somebody", nil }).Timeout(time.Second)
//	greeting, err := safe.Await(ctx)
//
// Any number of goroutines may use one future, and each sees the same result. No
// goroutine waits inside a chain: a pending future costs its own few bytes.
//
// # Settling
//
// A [Future] settles once, with a value or an error, and never changes
// afterwards. Make one with [Go], which runs a function on a goroutine of its
// own, with [Call], which runs it now, with [After], [FromChan] or [FromContext],
// or with a [Promise], which is settled by hand. Of all calls that would settle
// it - Resolve, Reject, Settle and a cancel - exactly one does, and the others
// are told false. By Follow a promise takes the outcome of another future. One
// that is made to wait for itself, directly or through others, fails with
// [ErrCycle].
//
// # Handlers
//
// [Then], [Future.Catch], [Handle] and their kin return a new future, that of
// the handler's result, and leave the old one as it is. A handler runs exactly
// once, and the handlers of one future run in the order in which they were added:
// on the goroutine that settles it or, if it is settled and they have run, on the
// one that adds the handler, before the call that adds it returns. They never run
// under a lock of this package, and may call anything in it. They should not
// block, because others wait for them; [Future.Via] moves what follows to another
// goroutine, a bounded group or an event loop.
//
// What handlers hold is released when they have run. Chains are run by a loop, so
// that their length costs no stack.
//
// # Cancellation
//
// Cancel is a request that goes up the chain to the pending work, and the outcome
// comes down again. At the top the canceler of a promise runs, or the context
// of a function started by [Go] ends; unless the canceler has another
// result, the future there fails with a [*CanceledError]. The handlers below see
// that, and may clean up or recover.
//
// A future that others depend on is not canceled: then the one who cancels
// leaves, at once and alone. The last one to leave takes it down. Dependants
// are handlers, waits, followers and lists; not those who merely watch, as
// [Future.Done] and a [Pool] do. [Future.Shield] lets no cancel through.
// [Future.Timeout] cancels when a time is over, [Future.WithContext] when a
// context ends.
//
// # Waiting
//
// [Future.Await] blocks until the future settles or its context ends. The context
// bounds the waiting, not the work: who gives up leaves nothing behind, and the
// work goes on. So an Await may return before the function of a [Go] with the
// same context has. A result that is there wins over a context that has
// ended. [Future.Poll] never blocks, and [Future.Done] and [Future.Context] are
// for select and for code that speaks contexts. Where a context has ended, what
// is returned is [context.Cause] of it.
//
// # Failures nobody took
//
// A failure is taken by a handler, a wait, a Poll, a Follow or a list; a Pool,
// and a DeferredList without [ConsumeErrors], take none. One that nobody has
// taken when its future becomes garbage is reported, once, to the function set
// by [OnUnhandled], which by default logs it. A cancel nobody took is no
// incident. [SetDebug] has the report say where the future was made.
//
// # Panics
//
// A function or handler that panics, or ends its goroutine by [runtime.Goexit],
// fails its own future with a [*PanicError] or [ErrGoexit], and nothing else:
// the other handlers run, and locks, slots, keys and tokens are given back.
// A panic whose future was settled before goes to OnUnhandled. Misuse, such as a
// nil function, panics at the caller, with a message that begins with "twill: ".
//
// # Memory model
//
// In the terms of the Go memory model, the call that settles a future
// synchronizes before every handler that is run with the result and before every
// return of Await and Poll that gives it. A put synchronizes before the get or
// the job that it serves, a Set of a [Dict] before what sees its value, and a
// release of a [Lock] or [Semaphore] before what the next holder does.
//
// # Choosing a primitive
//
//   - [All], [AllSettled], [Any], [First], [Some], [AllMap] and [AllSettledMap]
//     make one future of several; [Join] and [Combine] of several types, jobs
//     among them. [AsCompleted], [Map] and [MapCompleted] iterate over several.
//     [DeferredList] has the flags of Twisted's.
//   - [Pool] is the set of futures in flight, and says when it is empty.
//   - [ResizableDispatchQueue] runs jobs by priority through a pipeline whose
//     width, order and pace change while it runs; each [Job] is a future.
//   - [Queue] and [PriorityQueue] give items out; a Get of an empty one is a
//     future. A Get from a [Dict] waits for its key.
//   - [Pooler] merges equal calls that are underway; the last caller to leave
//     cancels the call.
//   - [Lock] and [Semaphore] hand out turns; [Init] holds calls back until what
//     they need is ready; [Series] runs functions one after another.
//   - [RetryingCall] and [Retry] repeat a call that fails, and [Race] takes the
//     first of several ways that succeeds.
//
// Where a type of the standard library does, use that: a channel for a
// stream of values, a [sync.WaitGroup] or an errgroup for goroutines that start
// and end together.
//
// # Coming from Twisted
//
// A Deferred is two things here: the [Promise] that is fired and the [Future]
// that has callbacks. addCallback, addErrback and addBoth are [Then],
// [Future.Catch] and [Handle]. What is different:
//
//   - They give a new future instead of changing the old one, so that a result
//     can have many consumers; none takes it from the next.
//   - A second callback is a false from Resolve instead of AlreadyCalledError,
//     and so is a late result after a cancel.
//   - A cancel leaves alone what others depend on.
//   - Follow, which is chainDeferred, leaves the source its result, skips a target
//     that is settled, and passes cancels both ways.
//   - A list without members and with FireOnOneCallback fails with [ErrEmpty]
//     instead of never firing.
package twill
