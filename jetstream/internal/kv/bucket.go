// Package kv reads and conditionally writes the keys of JetStream key-value
// buckets, and holds leases on them.
//
// A read and a watch decide nothing: they may be late, on a server that lags
// behind. Whatever is decided is decided by a write that the server accepts
// only if the key still has the revision that the writer expects. Clocks of
// machines are not compared: a lease has expired for a candidate that has seen
// it unchanged for its duration on its own monotonic clock.
package kv

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/twillgo/twill"
)

// How an operation fails. Any other error may be temporary.
var (
	// ErrRefused is returned when a conditional write was not made, as the key
	// has another revision or another write was underway.
	ErrRefused = errors.New("jetstream: key has another revision")

	// ErrNoBucket is returned when the bucket was deleted.
	ErrNoBucket = errors.New("jetstream: bucket does not exist")

	// ErrTooLarge is what a [*TooLargeError] Is.
	ErrTooLarge = errors.New("jetstream: message too large")
)

// TooLargeError is returned for a message that the server would not accept.
type TooLargeError struct {
	What string // what the message is for, such as "result"
	Size int    // of the message with its headers, in bytes
	Max  int    // the limit, in bytes: max_payload of the server, or that of the stream
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("jetstream: %s of %d bytes is larger than the limit of %d", e.What, e.Size, e.Max)
}

// Is reports whether target is [ErrTooLarge].
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// Config are the settings of a bucket that does not exist yet.
type Config struct {
	Name        string
	Description string
	MaxAge      time.Duration // of keys; 0 is no limit
	Replicas    int           // 0 means 1
	Memory      bool
	MaxBytes    int64 // 0 is no limit
}

// Bucket is a key-value bucket.
type Bucket struct {
	nc     *nats.Conn
	js     natsjs.JetStream
	stream natsjs.Stream
	name   string

	missing atomic.Int64 // since when the stream was not found, in ns of a clock that begins with 1; 0: it was found
}

// began is the beginning of a monotonic clock.
var began = time.Now()

// missingTime is for how long a stream is looked for that is not found: a
// server that has just started may not know it yet.
const missingTime = time.Second

// openTime bounds Open where its context has no deadline.
const openTime = 30 * time.Second

// tryTime bounds one request. A request to a server that has just died is not
// answered: it is better repeated soon.
const tryTime = 2 * time.Second

var nameRegexp = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)

// ValidName reports whether name can be the name of a bucket.
func ValidName(name string) bool { return nameRegexp.MatchString(name) }

// Open returns a bucket, which it creates with the settings of cfg if it does
// not exist. It tries again until ctx ends, or for 30 seconds if ctx has no
// deadline. A bucket that it creates answers reads from its leader only, which
// makes a late read rare.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Bucket, error) {
	if !ValidName(cfg.Name) {
		return nil, fmt.Errorf("jetstream: invalid name %q: letters, digits, - and _ are allowed, at most 128", cfg.Name)
	}
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, openTime)
		defer cancel()
	}
	b := &Bucket{nc: nc, js: js, name: cfg.Name}
	open := func(ctx context.Context) (struct{}, error) {
		var none struct{}
		try, cancel := context.WithTimeout(ctx, 2*tryTime)
		defer cancel()
		stream, err := js.Stream(try, "KV_"+cfg.Name)
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			// The stream of a create that timed out may exist by now: the next
			// attempt looks it up.
			stream, err = js.CreateStream(try, cfg.stream())
		}
		if err != nil {
			return none, err
		}
		b.stream = stream
		_, err = b.get(try, "probe") // its leader has been elected
		return none, err
	}
	if _, err := twill.Retry(ctx, open, &twill.RetryOptions{Backoff: backoff, NewTester: twill.RetryIf(mayOpenLater)}); err != nil {
		return nil, fmt.Errorf("jetstream: open bucket %s: %w", cfg.Name, err)
	}
	return b, nil
}

// mayOpenLater reports whether to try again to open a bucket.
func mayOpenLater(err error) bool {
	var api *natsjs.APIError
	switch {
	case Permanent(err), errors.Is(err, natsjs.ErrJetStreamNotEnabled), errors.Is(err, natsjs.ErrJetStreamNotEnabledForAccount):
		return false
	case errors.As(err, &api) && api.Code == 400:
		return api.ErrorCode == natsjs.JSErrCodeStreamNameInUse // another process creates it right now
	case errors.As(err, &api) && api.Code == 500: // such as more replicas than servers
		return false
	}
	return true
}

// stream is the configuration of a bucket as the clients of NATS make it, but
// for direct reads, which followers answer.
func (c *Config) stream() natsjs.StreamConfig {
	s := natsjs.StreamConfig{
		Name:              "KV_" + c.Name,
		Description:       c.Description,
		Subjects:          []string{"$KV." + c.Name + ".>"},
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		MaxAge:            c.MaxAge,
		Replicas:          max(1, c.Replicas),
		AllowRollup:       true,
		DenyDelete:        true,
		Discard:           natsjs.DiscardNew,
		Duplicates:        duplicates,
	}
	if c.MaxBytes > 0 {
		s.MaxBytes = c.MaxBytes
	}
	if c.MaxAge > 0 {
		s.Duplicates = min(s.Duplicates, c.MaxAge)
	}
	if c.Memory {
		s.Storage = natsjs.MemoryStorage
	}
	return s
}

// duplicates is for how long a write with the id of an earlier write is
// ignored.
const duplicates = 2 * time.Minute

// Name is the name of the bucket.
func (b *Bucket) Name() string { return b.name }

// Conn is the connection of the bucket.
func (b *Bucket) Conn() *nats.Conn { return b.nc }

// MaxAge is how long the bucket keeps a key that is not written; 0 if there is
// no limit.
func (b *Bucket) MaxAge() time.Duration { return b.stream.CachedInfo().Config.MaxAge }

// Watch calls for a watch on all keys: of what is written from now on, without
// the values.
func (b *Bucket) Watch(ctx context.Context) (natsjs.KeyWatcher, error) {
	bucket, err := b.js.KeyValue(ctx, b.name)
	if err != nil {
		return nil, err
	}
	return bucket.WatchAll(ctx, natsjs.UpdatesOnly(), natsjs.MetaOnly())
}

// Entry is what a key has: a value, or a mark that it was deleted, or nothing,
// and then Rev is 0.
type Entry struct {
	Rev    uint64
	Value  []byte // nil if there is none
	Exists bool
	Header nats.Header
}

// Get reads a key once. It fails if the bucket does not answer within seconds.
// It returns ErrNoBucket if the bucket was not found for a second.
func (b *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	return b.get(ctx, key)
}

func (b *Bucket) get(ctx context.Context, key string) (Entry, error) {
	msg, err := b.stream.GetLastMsgForSubject(ctx, b.subject(key))
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		now := int64(time.Since(began)) + 1
		if !b.missing.CompareAndSwap(0, now) && now-b.missing.Load() > int64(missingTime) {
			err = ErrNoBucket
		}
		return Entry{}, err
	}
	if err == nil || errors.Is(err, natsjs.ErrMsgNotFound) {
		b.missing.Store(0)
	}
	switch {
	case errors.Is(err, natsjs.ErrMsgNotFound):
		return Entry{}, nil
	case err != nil:
		return Entry{}, err
	}
	e := Entry{Rev: msg.Sequence, Value: msg.Data, Exists: true, Header: msg.Header}
	if e.Header.Get(operation) != "" || e.Header.Get("Nats-Marker-Reason") != "" {
		e.Value, e.Exists = nil, false
	}
	return e, nil
}

// operation is the header of the marks that keys were deleted.
const operation = "KV-Operation"

func (b *Bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// Write is a write of a key.
type Write struct {
	Key    string
	Value  []byte
	Delete bool        // write the mark that the key was deleted
	Header nats.Header // more headers; may be nil
	What   string      // what a TooLargeError calls it

	If  bool   // write only if the revision of the key is Rev
	Rev uint64 // 0: only if the key was never written

	ID string // of an unconditional write: one with the ID of another in the last 2 minutes is that one
}

// Write writes a key once, and returns its new revision. It returns ErrRefused
// if the key does not have the revision that w requires. After any other error
// the write may have been made, except for a [*TooLargeError], which is
// returned before anything is sent.
func (b *Bucket) Write(ctx context.Context, w Write) (rev uint64, err error) {
	msg := &nats.Msg{Subject: b.subject(w.Key), Data: w.Value, Header: nats.Header{}}
	for name, values := range w.Header {
		msg.Header[name] = values
	}
	if w.Delete {
		msg.Header.Set(operation, "DEL")
	}
	if w.If {
		msg.Header.Set(natsjs.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.Rev, 10))
	}
	if w.ID != "" {
		msg.Header.Set(natsjs.MsgIDHeader, w.ID)
	}
	if err := b.checkSize(msg, w.What); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, msg)
	if err == nil {
		return ack.Sequence, nil
	}
	var api *natsjs.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequence || api.ErrorCode == wrongSequenceReplicated):
		return 0, ErrRefused
	case errors.As(err, &api) && api.ErrorCode == messageTooLarge, errors.Is(err, nats.ErrMaxPayload):
		return 0, &TooLargeError{What: w.What, Size: SizeOf(msg), Max: b.limit()}
	case errors.Is(err, natsjs.ErrNoStreamResponse):
		// The stream has no leader, or was deleted.
		if _, lookup := b.get(ctx, "probe"); errors.Is(lookup, ErrNoBucket) {
			return 0, lookup
		}
	}
	return 0, err
}

// ErrUnclear is returned by WriteOnce when the write may have been made.
var ErrUnclear = errors.New("jetstream: write may have been made")

// WriteOnce makes a conditional write, and tries again until its outcome is
// clear. w needs an ID. It returns ErrRefused if the write was not made, and
// ErrUnclear if an answer was lost, and another write was made after that of w
// or instead of it.
func (b *Bucket) WriteOnce(ctx context.Context, w Write) (uint64, error) {
	unclear := false
	return Retry(ctx, func(ctx context.Context) (uint64, error) {
		rev, err := b.Write(ctx, w)
		if err == nil || errors.Is(err, ErrRefused) && !unclear {
			return rev, err
		}
		if !errors.Is(err, ErrRefused) {
			unclear = true
			return 0, err
		}
		// A server does not look for the ID before it refuses a write.
		e, err := b.Get(ctx, w.Key)
		switch {
		case err != nil:
			return 0, err
		case e.Header.Get(natsjs.MsgIDHeader) == w.ID:
			return e.Rev, nil
		case e.Rev <= w.Rev && e.Rev > 0:
			return 0, errLateRead
		}
		return 0, ErrUnclear
	})
}

// Error codes of the server that the client has no names for.
const (
	wrongSequenceReplicated natsjs.ErrorCode = 10164
	messageTooLarge         natsjs.ErrorCode = 10054
	storeFailed             natsjs.ErrorCode = 10077 // such as "maximum bytes exceeded"
)

// checkSize returns an error if a message is too large to send.
func (b *Bucket) checkSize(msg *nats.Msg, what string) error {
	if size, limit := SizeOf(msg), b.limit(); limit > 0 && size > limit {
		return &TooLargeError{What: what, Size: size, Max: limit}
	}
	return nil
}

// limit is the size of the largest message, its headers included; 0 if it is
// not known, as the connection was never made.
func (b *Bucket) limit() int {
	limit := int(b.nc.MaxPayload())
	if stream := int(b.stream.CachedInfo().Config.MaxMsgSize); stream > 0 && (limit == 0 || stream < limit) {
		limit = stream
	}
	return limit
}

// SizeOf is the size of a message as the server counts it. The client adds no
// header.
func SizeOf(msg *nats.Msg) int {
	size := len(msg.Data)
	if len(msg.Header) > 0 {
		size += len("NATS/1.0\r\n\r\n")
		for name, values := range msg.Header {
			for _, value := range values {
				size += len(name) + len(": ") + len(value) + len("\r\n")
			}
		}
	}
	return size
}

// backoff are the pauses between attempts: 10 ms, doubling to a second, by
// chance down to half of that.
var backoff = twill.EqualJitter(twill.CapBackoff(twill.ExponentialBackoff(10*time.Millisecond, 2), time.Second))

// Retry calls an operation of a bucket until it succeeds, is refused, fails for
// good, or ctx ends. It returns [context.Cause] of ctx in the last case.
func Retry[T any](ctx context.Context, fn func(context.Context) (T, error)) (T, error) {
	v, err := twill.Retry(ctx, fn, &retry)
	if err == nil {
		return v, nil
	}
	if ctx.Err() != nil {
		return v, context.Cause(ctx)
	}
	var e *twill.RetryError
	if errors.As(err, &e) && e.Last() != nil {
		err = e.Last()
	}
	return v, err
}

var retry = twill.RetryOptions{
	Backoff:   backoff,
	NewTester: twill.RetryIf(func(err error) bool { return !errors.Is(err, ErrRefused) && !Permanent(err) }),
}

// Permanent reports whether an operation will fail with err each time.
func Permanent(err error) bool {
	var large *TooLargeError
	var api *natsjs.APIError
	switch {
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining), errors.Is(err, natsjs.ErrConnectionClosed):
		return true
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, ErrNoBucket), errors.Is(err, ErrUnclear), errors.As(err, &large):
		return true
	case errors.As(err, &api) && api.ErrorCode == storeFailed:
		return strings.Contains(api.Description, "exceeded")
	}
	return false
}
