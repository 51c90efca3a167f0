package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/kv"
	"github.com/twillgo/twill/jetstream/internal/share"
)

// TooLargeError is the failure of what does not fit into one message: an
// argument or a result of a [Queue], a result of a [Pooler], or a value of a
// [Dict]. It Is [ErrTooLarge]. The limit comes from max_payload of the server,
// 1 MiB by default, or from the stream.
type TooLargeError = kv.TooLargeError

// Pooler merges calls of all processes that use the same name: it calls a
// function once for all callers, anywhere, that ask for the same key at the
// same time. It is a [twill.Pooler] over machines. It keeps no results: a call
// made when the previous one has ended goes through.
//
// Use [NewPooler]; a Pooler must not be copied. Its methods may be called by
// several goroutines.
//
// # Calls
//
// The function runs in a process that has called: the first one for the key.
// Others join, and their callers get the same result, encoded as JSON. Callers
// in the process in which the function ran get its value and its error
// themselves, and those elsewhere an [*Error] with the text of the error,
// unless it is one of package twill. The value of a result is shared by the
// callers of a process.
//
// A caller leaves by a Cancel of its future, or when its context ends; that
// does not affect the others. The context of the function ends when the last
// caller, in all processes, has left. The callers of a process that dies count
// as having left when the process was silent for the time of a lease. The
// context of the function carries the values of the first caller's context, and
// a token, for [Token].
//
// A new caller does not join a call that was canceled or whose function has
// returned: it waits until that call is over, and then the function is called
// again. A call within the function for the same key fails with
// [twill.ErrReentrant]. Calls that wait for each other over several processes
// are not detected: bound them by a context.
//
// A panic of the function is a failure with a [*twill.PanicError].
//
// # When a process or the connection fails
//
// The process that runs the function holds a lease on the key. If the process
// dies, or is paused or cut off for longer than the lease, the callers that are
// left take over: the function is called again in one of their processes. So it
// runs at least once for callers that stay. It runs twice at a time only while
// a process has not noticed yet that its lease has run out. The context of the
// function ends when the lease is lost, with the cause [ErrLeaseLost]; what the
// function changes can be guarded by its token.
//
// The first outcome that is stored for a call is its outcome. It is stored
// before it is delivered. What a function returns after another process has
// taken over is dropped.
//
// While the connection is lost, callers wait for it and go on afterwards, until
// their contexts end. They fail with [nats.ErrConnectionClosed] if it is closed
// for good, and with [ErrNoBucket] if the pooler's bucket was deleted.
type Pooler[K comparable, V any] struct {
	local *twill.Pooler[K, V]
	node  *share.Node
	fn    func(ctx context.Context, key K) (V, error)
}

// PoolerOptions are the settings of a [Pooler].
type PoolerOptions struct {
	// Lease is for how long a process may be silent before others take over
	// its calls, and before its callers count as having left. It has the
	// meaning, the default and the limits of the Lease of [LockOptions]. All
	// processes should use the same one.
	Lease time.Duration

	// Replicas is the number of copies of the bucket, if it is created. 0 means
	// 1.
	Replicas int

	// Memory keeps the bucket, if it is created, in memory instead of files. If
	// all its servers restart, calls that are underway may be made a second
	// time.
	Memory bool
}

// NewPooler returns the pooler called name, a word of letters, digits, "-" and
// "_". All processes that use the name have to give the same fn and types. opts
// may be nil. fn runs on a goroutine of its own.
//
// Keys and values are encoded as JSON, as described by [Dict] and by
// encoding/json. NewPooler returns when its bucket, "twill-pooler-" and the
// name, exists, or with an error when ctx ends; without a deadline it gives up
// after 30 seconds. [Pooler.Close] ends the use of the pooler.
func NewPooler[K comparable, V any](ctx context.Context, conn *nats.Conn, name string, fn func(ctx context.Context, key K) (V, error), opts *PoolerOptions) (*Pooler[K, V], error) {
	if fn == nil {
		panic("jetstream: NewPooler with a nil function")
	}
	if opts == nil {
		opts = &PoolerOptions{}
	}
	lease, err := leaseOf(opts.Lease)
	if err != nil {
		return nil, err
	}
	node, err := share.Open(ctx, conn, name, share.Options{
		Lease: lease, Replicas: opts.Replicas, Memory: opts.Memory, Encode: marshalError,
	})
	if err != nil {
		return nil, err
	}
	p := &Pooler[K, V]{node: node, fn: fn}
	p.local = twill.NewPooler(p.share)
	return p, nil
}

// Call calls the function, or joins the call for an equal key that is underway
// in any process, and returns the future of the result.
//
// If ctx ends first, the caller leaves and its future fails: with
// [context.Cause] of ctx if that is a deadline, otherwise with a
// [*twill.CanceledError] for that cause. If ctx has ended already, nothing is
// called. A result larger than a message fails with a [*TooLargeError], for all
// callers. A key that JSON cannot encode is an error.
func (p *Pooler[K, V]) Call(ctx context.Context, key K) *twill.Future[V] {
	if ctx == nil {
		panic("jetstream: Call with a nil context")
	}
	if p.within(ctx, key) {
		return twill.Rejected[V](twill.ErrReentrant)
	}
	return p.local.Call(ctx, key)
}

// Do is Call that waits for the result: it returns what Call(ctx,
// key).Await(ctx) returns.
func (p *Pooler[K, V]) Do(ctx context.Context, key K) (V, error) {
	return p.Call(ctx, key).Await(ctx)
}

// Close ends the use of the pooler by this process. Its callers fail with
// [twill.ErrClosed], and so do later ones. The contexts of functions that run
// here end; if callers of other processes wait for them, the function is called
// again there. Close waits until all functions have returned, or until ctx
// ends, and then returns context.Cause of ctx. The connection stays open.
func (p *Pooler[K, V]) Close(ctx context.Context) error { return p.node.Close(ctx) }

// Stats returns how many calls there were and are, in this process.
func (p *Pooler[K, V]) Stats() PoolerStats {
	local, node := p.local.Stats(), p.node.Stats()
	return PoolerStats{
		Calls: local.Calls, Merged: local.Merged, Waiting: local.Waiting,
		Runs: node.Runs, Joined: node.Joined, Lost: node.Lost,
	}
}

// PoolerStats is the result of [Pooler.Stats]. It counts what happened in this
// process.
type PoolerStats struct {
	Calls   uint64 // calls of Call and Do
	Merged  uint64 // those of them that joined another one of this process
	Joined  uint64 // times that this process joined a call of another process
	Runs    uint64 // calls of the function
	Lost    uint64 // leases lost, each with a function that was running
	Waiting int    // callers that wait for their result
}

// frame is a call of the function within which a context was made.
type frame struct {
	pooler any
	key    any
	outer  *frame
}

type frameKey struct{}

// within reports whether ctx was made within a call of the function for key.
func (p *Pooler[K, V]) within(ctx context.Context, key K) bool {
	f, _ := ctx.Value(frameKey{}).(*frame)
	for ; f != nil; f = f.outer {
		if f.pooler == any(p) && f.key == any(key) {
			return true
		}
	}
	return false
}

// share makes or joins the call of the cluster, for all callers of this
// process.
func (p *Pooler[K, V]) share(ctx context.Context, key K) (v V, err error) {
	name, err := kv.EncodeKey(key)
	if err != nil {
		return v, fmt.Errorf("jetstream: encode key: %w", err)
	}
	out, err := p.node.Call(ctx, name, func(ctx context.Context, token uint64) share.Result {
		outer, _ := ctx.Value(frameKey{}).(*frame)
		ctx = context.WithValue(ctx, frameKey{}, &frame{p, key, outer})
		v, err := p.fn(context.WithValue(ctx, tokenKey{}, token), key)
		if err != nil {
			return share.Result{Err: err}
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			return share.Result{Err: fmt.Errorf("jetstream: encode result: %w", err)}
		}
		return share.Result{Value: v, JSON: encoded}
	})
	switch {
	case err != nil:
		return v, err
	case out.Here:
		v, _ = out.Result.Value.(V)
		return v, out.Result.Err
	case out.Failed != nil:
		return v, unmarshalError(out.Failed)
	}
	if err := json.Unmarshal(out.Result.JSON, &v); err != nil {
		return v, fmt.Errorf("jetstream: decode result: %w", err)
	}
	return v, nil
}

// marshalError encodes an error for other processes.
func marshalError(err error) json.RawMessage {
	encoded, marshalErr := json.Marshal(encodeError(err))
	if marshalErr != nil {
		encoded, _ = json.Marshal(failure{Text: "error that cannot be encoded"})
	}
	return encoded
}

func unmarshalError(encoded []byte) error {
	var f failure
	if err := json.Unmarshal(encoded, &f); err != nil {
		return fmt.Errorf("jetstream: decode error: %w", err)
	}
	return decodeError(&f)
}
