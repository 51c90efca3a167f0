// Package twill has futures for Go, and a job queue, retries, hedged calls and
// merged calls built on them. Its nearest neighbors are errgroup, for a group
// of goroutines that end together, and singleflight, for merging equal calls.
// Use twill for results that are passed on, shared, combined, bounded or
// canceled.
//
//	user := twill.Go(ctx, fetchUser)
//	name := twill.Then(user, func(u User) (string, error) { return u.Name, nil })
//	safe := name.Catch(func(error) (string, error) { return "unknown", nil }).Timeout(time.Second)
//	greeting, err := safe.Await(ctx)
//
// Any number of goroutines may use one future, and each sees the same result.
// No goroutine waits inside a chain: a pending future costs its own few bytes.
//
// # Settling
//
//   - A [Future] settles once, with a value or an error, and never changes
//     afterwards.
//   - [Go] runs a function on its own goroutine, [Call] runs it now. [After],
//     [FromChan] and [FromContext] wait for an event. A [Promise] is settled by hand.
//   - Exactly one call to Resolve, Reject, Settle or Cancel settles a future; all
//     others return false.
//   - [Promise.Follow] makes a promise take the result of another future. A future
//     that would wait for itself, directly or through others, fails with [ErrCycle].
//   - A settled future keeps its value or its error, and nothing else.
//   - A settled future may outlive its function: a canceled [Go] settles at once,
//     while its function still runs. [GoIn] makes a [Pool] wait for functions.
//
// # Handlers
//
//   - [Then], [Future.Catch], [Handle] and the like return a new future of the
//     handler's result, and leave the old future as it is.
//   - A handler runs exactly once. The handlers of one future run in the order in
//     which they were added.
//   - A handler runs on the goroutine that settles the future. If the future has
//     settled and its handlers have run, a handler runs on the goroutine that adds it,
//     before the call that adds it returns. [Future.Via] moves what follows to another
//     goroutine, a bounded group or an event loop.
//   - Handlers run under no lock of this package and may call anything in it. They
//     should not block, as other handlers wait for them.
//   - Chains are run by a loop: their length costs no stack.
//
// # Cancellation
//
//   - [Future.Cancel] is a request. It goes up the chain to the pending work, and
//     the outcome comes down again.
//   - At the top the canceler of a promise runs, or the context of a function
//     started by [Go] ends. Unless the canceler supplies another result, the future
//     there fails with a [*CanceledError]. The handlers below see that error and may
//     clean up or recover.
//   - Canceling a dependent of a shared future only detaches that dependent. The
//     shared future is canceled when its last dependent detaches. Dependents are
//     handlers, waits, followers and lists; [Future.Done], [Future.OnSettled] and a
//     [Pool] only watch.
//   - [Future.Shield] stops every cancel from below.
//   - [Future.Timeout] and [Future.WithContext] end their own future at the end of
//     their time, whatever happens upstream.
//
// # Waiting
//
//   - [Future.Await] blocks until the future settles or its context ends, and then
//     returns [context.Cause]. The context limits the wait, not the work. An abandoned
//     wait leaves nothing behind, and the work continues.
//   - An Await may therefore return while a function started by [Go] with the same
//     context is still running.
//   - A result that exists is returned even if the context has ended.
//   - [Future.Poll] never blocks. [Future.Done] and [Future.Context] are for select and
//     for code that takes contexts.
//
// # Unhandled failures
//
//   - A failure is handled by a handler that is called with it, a wait, a Poll, a
//     Follow or a list. A Pool, and a DeferredList without [ConsumeErrors], handle none.
//   - One failure is one record. All futures that fail by it share the record, and
//     handled anywhere is handled.
//   - A failure that was not handled when its last future becomes garbage is
//     reported once, to the function set by [OnUnhandled], which by default logs it.
//   - A cancellation is not reported, nor is the end of a function's own context, nor
//     the failure of a future whose every Await has given up.
//   - In debug mode, see [SetDebug], the report says where the future was made.
//
// # Panics
//
//   - A function or handler that panics, or ends its goroutine by [runtime.Goexit],
//     fails its own future with a [*PanicError] or [ErrGoexit], and nothing else: the
//     other handlers run, and locks, slots, keys and tokens are released.
//   - A panic that was not handled is always reported, at once if its future was
//     settled before.
//   - Misuse, such as a nil function, panics in the caller, with a message that begins
//     with "twill: ".
//
// # Memory model
//
// In the terms of the Go memory model, the call that settles a future
// synchronizes before every handler that is run with the result, and before
// every return of Await and Poll that returns it. A Put synchronizes before the
// get or the job that it serves, a Set of a [Dict] before what sees its value,
// and a release of a [Lock] or [Semaphore] before what the next holder does.
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
//   - Deferred: the [Promise] is fired, and its [Future] has the callbacks
//   - callback, errback: [Promise.Resolve], [Promise.Reject]; AlreadyCalledError is a
//     false from them, and so is a late result after a cancel
//   - addCallback, addErrback, addBoth, addCallbacks: [Then], [Future.Catch], [Handle]; they
//     return a new future, so that a result can have many consumers
//   - a callback that returns a Deferred: [ThenFuture], [Future.CatchFuture],
//     [HandleFuture]
//   - chainDeferred: [Promise.Follow], which leaves the source its result, skips a
//     target that is settled, and passes cancels both ways
//   - canceler, cancel: [Promise.OnCancel], [Future.Cancel], which leaves alone what
//     others depend on
//   - addTimeout: [Future.Timeout]
//   - succeed, fail, maybeDeferred: [Resolved], [Rejected], [Call]
//   - inlineCallbacks: [Go] and [Future.Await] in straight code
//   - Failure.check, trap: [errors.Is], [errors.As]
//   - DeferredList: [DeferredList] with the same flags; a list without members and with
//     FireOnOneCallback fails with [ErrEmpty] instead of never firing
//   - gatherResults: [All]
//   - DeferredLock, DeferredSemaphore, DeferredQueue: [Lock], [Semaphore], [Queue]
//
// The recipes have their names: [Pool], [Pooler], [PriorityQueue], [Dict],
// [RetryingCall], [Race], [Init] and [ResizableDispatchQueue].
package twill
