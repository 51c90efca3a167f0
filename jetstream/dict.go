package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/kv"
)

// Dict is a map that all processes share, in which a get of a missing key is a
// future: it is settled when any process sets the key. It is a [twill.Dict]
// over machines, on a key-value bucket of NATS.
//
// Use [NewDict]; a Dict must not be copied. Its methods may be called by
// several goroutines.
//
// # Keys and values
//
// A value is the JSON of a V, so that other programs, and the command nats kv,
// can read and set it. A key that is a string of letters, digits and "-_/",
// with single dots between them, up to 200 bytes, is the key of the bucket.
// Another string is "=" and its base64 with the URL alphabet, without padding,
// and one of more than 150 bytes "==" and the base64 of its SHA-256. A key of
// another type is encoded like the text of its JSON. The value that a get
// returns is shared by the gets in this process that waited for it.
//
// # What is seen when
//
// A set that has returned is seen by all gets that begin afterwards, as long as
// the bucket is read from its leader, which is so for one that NewDict has
// made, and no election is underway. A get that waits is settled by a watch
// within milliseconds. The watch is only an alarm: the key is read again in any
// case, at growing intervals of up to 5 seconds and when a lost connection is
// back. So a get may see only the last of several sets, and misses a value that
// was deleted before it looked. Of a get and a set at the same time, none is
// missed.
//
// While the connection is lost, gets wait for it, as do other calls until their
// contexts end. If it is closed for good they fail with
// [nats.ErrConnectionClosed], and with [ErrNoBucket] if the bucket was deleted.
type Dict[K comparable, V any] struct {
	b *kv.Bucket

	ctx   context.Context // ends with Close, with its error
	stop  context.CancelCauseFunc
	read  chan struct{} // bounds the reads of waiting keys at the same time
	renew chan struct{} // the watch has to start anew

	// mu guards the fields below. Futures are settled, and the bucket used,
	// without it.
	mu    sync.Mutex
	keys  map[string]*dictKey[V] // for which gets wait
	watch bool                   // the goroutine that watches runs
}

// dictKey is a key for which gets wait.
type dictKey[V any] struct {
	gets  []*dictGet[V] // in the order in which they came
	pause time.Duration // until the next read
	timer *time.Timer
}

// dictGet is a get of a missing key.
type dictGet[V any] struct {
	p    *twill.Promise[V]
	base uint64 // the revision of the key when it was missing
}

// DictOptions are the settings of a [Dict]. They are those of the bucket, if it
// is created; one that exists remains as it is.
type DictOptions struct {
	Replicas int           // number of copies; 0 means 1
	Memory   bool          // in memory instead of files
	MaxBytes int64         // of all values; 0 is no limit. A set beyond it is an error
	TTL      time.Duration // after which a value is removed; 0 is no limit
}

// ErrUnclear is returned by [Dict.Update], [Dict.Fail] and [Dict.Delete] when
// the answer of the server to a write was lost, and another process has written
// the key before they could look: the write may have been made or not.
var ErrUnclear = kv.ErrUnclear

// maxDictPause is the longest time between two reads of a key for which gets
// wait.
const maxDictPause = 5 * time.Second

// NewDict returns the dict in the key-value bucket called bucket, a word of
// letters, digits, "-" and "_". opts may be nil. It returns when the bucket
// exists, or with an error when ctx ends; without a deadline it gives up after
// 30 seconds.
func NewDict[K comparable, V any](ctx context.Context, conn *nats.Conn, bucket string, opts *DictOptions) (*Dict[K, V], error) {
	if opts == nil {
		opts = &DictOptions{}
	}
	b, err := kv.Open(ctx, conn, kv.Config{
		Name: bucket, Description: "dict of twill", MaxAge: opts.TTL,
		Replicas: opts.Replicas, Memory: opts.Memory, MaxBytes: opts.MaxBytes,
	})
	if err != nil {
		return nil, err
	}
	d := &Dict[K, V]{b: b, keys: map[string]*dictKey[V]{}, read: make(chan struct{}, 16), renew: make(chan struct{}, 1)}
	d.ctx, d.stop = context.WithCancelCause(context.Background())
	return d, nil
}

// Get returns a future of the value of k: of the present value, or else of the
// value that any process sets next. It fails with a [*Error] for a [Dict.Fail]
// for k, and when the Dict is closed. Canceling it withdraws the get. Its
// handlers run on a goroutine that settles the gets of one key, in the order in
// which they came; they may block.
//
// An Await that gives up does not withdraw the get: it waits on, and the key is
// read again and again until it is set. To bound the wait by a context, use
// [Dict.GetWait].
func (d *Dict[K, V]) Get(k K) *twill.Future[V] {
	key, err := kv.EncodeKey(k)
	if err != nil {
		return twill.Rejected[V](fmt.Errorf("jetstream: encode key: %w", err))
	}
	ctx, cancel := context.WithCancelCause(d.ctx)
	g := &dictGet[V]{p: twill.NewPromise[V]()}
	g.p.OnCancel(func(cause error) {
		cancel(cause)
		d.remove(key, g)
	})
	go func() {
		defer cancel(nil)
		d.get(ctx, key, g)
	}()
	return g.p.Future()
}

// get settles g if the key is set, and else makes it wait. After Close it makes
// one attempt to read the key.
func (d *Dict[K, V]) get(ctx context.Context, key string, g *dictGet[V]) {
	if d.ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), maxDictPause)
		defer cancel()
	}
	e, v, err := d.look(ctx, key)
	switch {
	case d.ctx.Err() != nil && !e.Exists:
		g.p.Reject(context.Cause(d.ctx))
	case err != nil:
		g.p.Reject(err)
	case e.Exists:
		g.p.Resolve(v)
	default:
		g.base = e.Rev
		d.add(ctx, key, g)
	}
}

// look reads a key, and tries again until ctx ends.
func (d *Dict[K, V]) look(ctx context.Context, key string) (e kv.Entry, v V, err error) {
	e, err = kv.Retry(ctx, func(ctx context.Context) (kv.Entry, error) { return d.b.Get(ctx, key) })
	if err == nil && e.Exists {
		if err = json.Unmarshal(e.Value, &v); err != nil {
			err = fmt.Errorf("jetstream: decode value of %s: %w", key, err)
		}
	}
	return e, v, err
}

// GetWait returns the value of k, and waits until any process sets k. If ctx
// ends first it returns [context.Cause] of ctx and leaves nothing behind. For
// other errors see [Dict.Get].
func (d *Dict[K, V]) GetWait(ctx context.Context, k K) (V, error) {
	var none V
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	f := d.Get(k)
	v, err := f.Await(ctx)
	if err != nil && ctx.Err() != nil && f.Cancel(context.Cause(ctx)) {
		return none, context.Cause(ctx)
	}
	return v, err
}

// Lookup returns the value of k, and whether k is there. It does not wait for a
// set. It tries again while the bucket does not answer, until ctx ends, and
// then returns [context.Cause] of ctx.
func (d *Dict[K, V]) Lookup(ctx context.Context, k K) (v V, ok bool, err error) {
	key, err := kv.EncodeKey(k)
	if err != nil {
		return v, false, fmt.Errorf("jetstream: encode key: %w", err)
	}
	e, v, err := d.look(ctx, key)
	return v, e.Exists && err == nil, err
}

// Set stores v as the value of k, and so settles the gets of k that wait in all
// processes. It returns when the bucket has the value, and tries again until
// then or until ctx ends; then it returns [context.Cause] of ctx, and the value
// may be stored or not. An attempt that was made twice within 2 minutes counts
// once. It returns a [*TooLargeError] for a value larger than a message, and
// [twill.ErrClosed] after Close.
func (d *Dict[K, V]) Set(ctx context.Context, k K, v V) error {
	key, value, err := encodePair(k, v)
	if err != nil {
		return err
	}
	if d.ctx.Err() != nil {
		return twill.ErrClosed
	}
	id := kv.NewID()
	_, err = kv.Retry(ctx, func(ctx context.Context) (uint64, error) {
		return d.b.Write(ctx, kv.Write{Key: key, Value: value, ID: id, What: "value"})
	})
	return err
}

func encodePair[K comparable, V any](k K, v V) (key string, value []byte, err error) {
	if key, err = kv.EncodeKey(k); err != nil {
		return "", nil, fmt.Errorf("jetstream: encode key: %w", err)
	}
	if value, err = json.Marshal(v); err != nil {
		return "", nil, fmt.Errorf("jetstream: encode value: %w", err)
	}
	return key, value, nil
}

// errorHeader is the header of a mark that a key is missing, with which the
// gets that wait for it fail.
const errorHeader = "Twill-Error"

// Fail makes the gets that wait for k now, in all processes, fail with an
// [*Error] that has the text of failure; errors of package twill keep their
// types. Nothing is stored: the next Get of k waits again. If k is there, no
// get waits, and Fail does nothing. For what Fail itself returns see
// [Dict.Set]. It panics if failure is nil.
func (d *Dict[K, V]) Fail(ctx context.Context, k K, failure error) error {
	if failure == nil {
		panic("jetstream: Fail with a nil error")
	}
	key, err := kv.EncodeKey(k)
	if err != nil {
		return fmt.Errorf("jetstream: encode key: %w", err)
	}
	if d.ctx.Err() != nil {
		return twill.ErrClosed
	}
	header := nats.Header{errorHeader: {string(marshalError(failure))}}
	return d.change(ctx, key, func(e kv.Entry) (*kv.Write, error) {
		if e.Exists {
			return nil, nil
		}
		return &kv.Write{Delete: true, Header: header, What: "error"}, nil
	})
}

// Delete removes k, and reports whether it was there. Gets that wait for k wait
// on. For the error see [Dict.Set].
func (d *Dict[K, V]) Delete(ctx context.Context, k K) (deleted bool, err error) {
	key, err := kv.EncodeKey(k)
	if err != nil {
		return false, fmt.Errorf("jetstream: encode key: %w", err)
	}
	err = d.change(ctx, key, func(e kv.Entry) (*kv.Write, error) {
		if deleted = e.Exists; !deleted {
			return nil, nil
		}
		return &kv.Write{Delete: true, What: "delete"}, nil
	})
	return deleted && err == nil, err
}

// Update sets k to the value that fn returns for its present value, and returns
// the new value. ok tells fn whether k is there; if not, old is zero. If fn
// returns an error nothing is changed, and Update returns that error. For other
// errors see [Dict.Set].
//
// fn runs on the caller's goroutine. If k was changed while fn ran, fn is
// called again with the newer value. The value is changed once, or Update
// returns an error.
func (d *Dict[K, V]) Update(ctx context.Context, k K, fn func(old V, ok bool) (V, error)) (v V, err error) {
	if fn == nil {
		panic("jetstream: Update with a nil function")
	}
	key, err := kv.EncodeKey(k)
	if err != nil {
		return v, fmt.Errorf("jetstream: encode key: %w", err)
	}
	if d.ctx.Err() != nil {
		return v, twill.ErrClosed
	}
	err = d.change(ctx, key, func(e kv.Entry) (*kv.Write, error) {
		var old V
		if e.Exists {
			if err := json.Unmarshal(e.Value, &old); err != nil {
				return nil, fmt.Errorf("jetstream: decode value of %s: %w", key, err)
			}
		}
		var err error
		if v, err = fn(old, e.Exists); err != nil {
			return nil, err
		}
		value, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("jetstream: encode value: %w", err)
		}
		return &kv.Write{Value: value, What: "value"}, nil
	})
	return v, err
}

// change makes the write that next returns for what a key has, if the key still
// has that when the write arrives, and starts over if not. A nil write is none.
func (d *Dict[K, V]) change(ctx context.Context, key string, next func(kv.Entry) (*kv.Write, error)) error {
	for {
		e, err := kv.Retry(ctx, func(ctx context.Context) (kv.Entry, error) { return d.b.Get(ctx, key) })
		if err != nil {
			return err
		}
		w, err := next(e)
		if w == nil || err != nil {
			return err
		}
		w.Key, w.If, w.Rev, w.ID = key, true, e.Rev, kv.NewID()
		_, err = d.b.WriteOnce(ctx, *w)
		if !errors.Is(err, kv.ErrRefused) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rand.N(5 * time.Millisecond)):
		}
	}
}

// Waiting returns the number of gets that wait in this process, for all keys
// together. A get that is looking for its key for the first time does not
// count.
func (d *Dict[K, V]) Waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, k := range d.keys {
		n += len(k.gets)
	}
	return n
}

// Close makes all gets of this process that wait fail with err, and every later
// get of a missing key. If err is nil it is [twill.ErrClosed]. Values that are
// there can still be got and deleted; Set, Fail and Update return
// twill.ErrClosed. The bucket and the connection stay. A second Close does
// nothing.
func (d *Dict[K, V]) Close(err error) {
	if err == nil {
		err = twill.ErrClosed
	}
	d.stop(err)
	err = context.Cause(d.ctx)
	d.mu.Lock()
	keys := d.keys
	d.keys = map[string]*dictKey[V]{}
	d.mu.Unlock()
	for _, k := range keys {
		k.timer.Stop()
		for _, g := range k.gets {
			g.p.Reject(err)
		}
	}
}

// add makes g wait for its key, which was missing, and starts the watch if it
// does not run. The key is read again afterwards: what was set before the watch
// began is found by that, and what is set later by the watch.
func (d *Dict[K, V]) add(ctx context.Context, key string, g *dictGet[V]) {
	d.mu.Lock()
	if d.ctx.Err() != nil {
		d.mu.Unlock()
		g.p.Reject(context.Cause(d.ctx))
		return
	}
	k := d.keys[key]
	if k == nil {
		k = &dictKey[V]{pause: 50 * time.Millisecond}
		k.timer = time.AfterFunc(time.Hour, func() { d.check(key) })
		d.keys[key] = k
	}
	k.gets = append(k.gets, g)
	k.pause = min(k.pause, 50*time.Millisecond)
	k.timer.Reset(0)
	start := !d.watch
	d.watch = true
	d.mu.Unlock()
	if start {
		go d.watchKeys()
	}
	if ctx.Err() != nil { // canceled before it was added
		d.remove(key, g)
	}
}

// remove takes a get out that was withdrawn.
func (d *Dict[K, V]) remove(key string, g *dictGet[V]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.keys[key]
	if k == nil {
		return
	}
	if i := slices.Index(k.gets, g); i >= 0 {
		k.gets = slices.Delete(k.gets, i, i+1)
	}
	if len(k.gets) == 0 {
		k.timer.Stop()
		delete(d.keys, key)
	}
}

// check reads a key for which gets wait, settles them if it was set, and else
// reads it again after a pause.
func (d *Dict[K, V]) check(key string) {
	if !d.waited(key) {
		return
	}
	select {
	case d.read <- struct{}{}:
	case <-d.ctx.Done():
		return
	}
	e, v, err := d.look(d.ctx, key)
	<-d.read
	if d.ctx.Err() != nil {
		return // Close settles them
	}
	failed := e.Header.Get(errorHeader)
	gets := d.take(key, func(g *dictGet[V]) bool {
		// A mark that a get has seen, or what is older, is not what it waits for.
		return err != nil && !e.Exists || (e.Exists || failed != "") && e.Rev > g.base
	})
	if failed != "" {
		err = unmarshalError([]byte(failed))
	}
	for _, g := range gets {
		g.p.Settle(v, err)
	}
}

func (d *Dict[K, V]) waited(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys[key] != nil
}

// take takes the gets out that are to be settled, in their order. If others are
// left, the key is read again later.
func (d *Dict[K, V]) take(key string, settled func(*dictGet[V]) bool) (gets []*dictGet[V]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.keys[key]
	if k == nil {
		return nil
	}
	var left []*dictGet[V]
	for _, g := range k.gets {
		if settled(g) {
			gets = append(gets, g)
		} else {
			left = append(left, g)
		}
	}
	if k.gets = left; len(left) == 0 {
		k.timer.Stop()
		delete(d.keys, key)
		if k.pause > time.Second {
			d.renewWatch() // it should have been faster
		}
		return gets
	}
	k.timer.Reset(k.pause/2 + rand.N(k.pause/2))
	k.pause = min(2*k.pause, maxDictPause)
	return gets
}

// renewWatch makes the watch start anew.
func (d *Dict[K, V]) renewWatch() {
	select {
	case d.renew <- struct{}{}:
	default:
	}
}

// watchKeys watches the bucket until Close, and reads keys that gets wait for
// when they are written. It starts the watch anew when it ends, when the
// connection was lost, and when a read has found what the watch has missed.
func (d *Dict[K, V]) watchKeys() {
	connected := d.b.Conn().StatusChanged(nats.CONNECTED)
	defer d.b.Conn().RemoveStatusListener(connected)
	pause := 50 * time.Millisecond
	for d.ctx.Err() == nil {
		if d.watchOnce(connected) {
			pause = 50 * time.Millisecond
		}
		select {
		case <-d.ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, maxDictPause)
	}
}

// watchOnce watches until the watch has to be started anew, and reports whether
// it was started.
func (d *Dict[K, V]) watchOnce(connected <-chan nats.Status) bool {
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	late := time.AfterFunc(maxDictPause, cancel)
	w, err := d.b.Watch(ctx)
	if err != nil {
		return false
	}
	defer func() {
		_ = w.Stop()
		go func() { // else the goroutine of the client may block
			for range w.Updates() {
			}
		}()
	}()
	if !late.Stop() {
		return false
	}
	d.readAll() // what was set before the watch began
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return true
			}
			if e != nil {
				d.wake(e.Key())
			}
		case <-connected:
			d.readAll()
			return true
		case <-d.renew:
			return true
		case <-d.ctx.Done():
			return true
		}
	}
}

// wake reads a key now, if gets wait for it.
func (d *Dict[K, V]) wake(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.keys[key]; k != nil {
		k.timer.Reset(0)
	}
}

// readAll reads all keys that gets wait for.
func (d *Dict[K, V]) readAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.keys {
		k.timer.Reset(0)
	}
}
