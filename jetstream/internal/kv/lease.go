package kv

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How the context of a [Lease] ends.
var (
	// ErrLost is the cause when the lease may have expired, or has another
	// holder.
	ErrLost = errors.New("jetstream: lease lost")

	// ErrReleased is the cause when the lease was released.
	ErrReleased = errors.New("jetstream: lease released")
)

// version is that of the records which this package writes.
const version = 1

// Record is the value of a key with a lease. It is JSON.
type Record struct {
	Version int    `json:"v"`
	Holder  string `json:"holder,omitempty"`   // of one claim; empty: released
	Owner   string `json:"owner,omitempty"`    // the process that holds it
	LeaseMS int64  `json:"lease_ms,omitempty"` // the duration, in milliseconds
	Beat    uint64 `json:"beat,omitempty"`     // of renewals
}

// Duration is for how long the record has to be seen unchanged until the lease
// has expired.
func (r *Record) Duration() time.Duration { return time.Duration(r.LeaseMS) * time.Millisecond }

// ReadRecord reads the record of an entry. An entry without a value is a
// record without a holder.
func ReadRecord(e Entry) (Record, error) {
	var r Record
	if !e.Exists {
		return r, nil
	}
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return r, fmt.Errorf("jetstream: record of a lease: %w", err)
	}
	return r, CheckVersion(r.Version)
}

// CheckVersion returns an error if v is not a version of records that this
// package reads.
func CheckVersion(v int) error {
	if v != version {
		return fmt.Errorf("jetstream: record has format %d, and this program reads format %d", v, version)
	}
	return nil
}

// NewID returns a random name of 26 letters and digits.
func NewID() string { return rand.Text() }

// Observer is what a candidate knows of a lease that another process holds. Its
// zero value has seen nothing.
type Observer struct {
	rev   uint64
	since time.Time // when rev was first seen
}

// See records that a read which began at the time start, and has ended now,
// returned revision rev. It returns how long rev has been seen unchanged.
func (o *Observer) See(rev uint64, start time.Time) time.Duration {
	if o.since.IsZero() || rev != o.rev {
		o.rev, o.since = rev, time.Now()
		return 0
	}
	return max(0, start.Sub(o.since))
}

// Lease is the right to a key until it is released or lost. It renews itself.
type Lease struct {
	b     *Bucket
	key   string
	token uint64
	ctx   context.Context
	end   context.CancelCauseFunc
	stop  chan struct{} // closed: no more renewals
	done  chan struct{} // closed by the goroutine that renews
	once  sync.Once

	// Those of the goroutine that renews, and then of Release.
	rec Record
	rev uint64

	timer *time.Timer // ends ctx at the end of the lease
}

// Claim writes rec, without a Beat, as the record of a key whose revision is
// rev, and returns the lease on it. It returns ErrRefused if the key has
// another revision. A write whose outcome is not clear is repeated until it is
// clear, ctx ends, or the lease would be over; the lease then expires by itself
// if that write was made.
//
// The context of the lease has the values of ctx, and does not end with ctx.
func (b *Bucket) Claim(ctx context.Context, key string, rev uint64, rec Record) (*Lease, error) {
	rec.Version = version
	bounded, cancel := context.WithTimeout(ctx, usable(rec.Duration()))
	defer cancel()
	var start time.Time // of the write that was made, or earlier
	unclear := false
	token, err := Retry(bounded, func(try context.Context) (uint64, error) {
		if unclear {
			return b.writeRecord(try, key, rev, rec)
		}
		start = time.Now()
		token, err := b.tryRecord(try, key, rev, rec)
		unclear = err != nil && !errors.Is(err, ErrRefused)
		return token, err
	})
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if !errors.Is(err, ErrRefused) {
			go b.clear(key, rec) // in case that it was written
		}
		return nil, err
	}
	l := &Lease{b: b, key: key, token: token, rec: rec, rev: token, stop: make(chan struct{}), done: make(chan struct{})}
	l.ctx, l.end = context.WithCancelCause(context.WithoutCancel(ctx))
	l.timer = time.AfterFunc(time.Until(start.Add(usable(rec.Duration()))), func() { l.end(ErrLost) })
	go l.renew(start)
	return l, nil
}

// usable is the part of a lease in which its holder may rely on it, from the
// start of the last write that was made.
func usable(lease time.Duration) time.Duration { return lease / 3 * 2 }

// writeRecord writes rec if the key has revision rev, or returns the revision
// that it has if rec was written already. It returns ErrRefused if neither is
// so.
func (b *Bucket) writeRecord(ctx context.Context, key string, rev uint64, rec Record) (uint64, error) {
	now, err := b.tryRecord(ctx, key, rev, rec)
	if !errors.Is(err, ErrRefused) {
		return now, err
	}
	// Refused for another write, or for this one, made by an attempt whose
	// answer was lost.
	e, err := b.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	current, err := ReadRecord(e)
	switch {
	case err != nil:
		return 0, ErrRefused
	case current.Holder == rec.Holder && current.Beat == rec.Beat && rec.Holder != "":
		return e.Rev, nil
	case e.Rev <= rev && e.Rev > 0: // an old read, or another write was underway that failed
		return 0, errLateRead
	}
	return 0, ErrRefused
}

// tryRecord writes rec if the key has revision rev.
func (b *Bucket) tryRecord(ctx context.Context, key string, rev uint64, rec Record) (uint64, error) {
	value, err := json.Marshal(rec)
	if err != nil {
		return 0, err
	}
	return b.Write(ctx, Write{Key: key, Value: value, If: true, Rev: rev, What: "lease"})
}

// errLateRead is a reason to try again.
var errLateRead = errors.New("jetstream: read is late, or a write is underway")

// clear releases the key if it has been claimed by rec.
func (b *Bucket) clear(key string, rec Record) {
	ctx, cancel := context.WithTimeout(context.Background(), rec.Duration())
	defer cancel()
	for range 3 {
		e, err := Retry(ctx, func(ctx context.Context) (Entry, error) { return b.Get(ctx, key) })
		if err != nil {
			return
		}
		current, err := ReadRecord(e)
		if err == nil && current.Holder == rec.Holder {
			if _, err := b.writeRecord(ctx, key, e.Rev, Record{Version: version}); err == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(tryTime): // the write may still arrive
		}
	}
}

// Token is the revision of the claim. A later claim of any key of the bucket
// has a larger one.
func (l *Lease) Token() uint64 { return l.token }

// Rev is the revision of the key after Stop.
func (l *Lease) Rev() uint64 { return l.rev }

// Context ends when the lease is lost, with the cause [ErrLost], or released,
// with the cause [ErrReleased].
func (l *Lease) Context() context.Context { return l.ctx }

// Lost reports whether the lease was lost before it was released.
func (l *Lease) Lost() bool { return l.ctx.Err() != nil && context.Cause(l.ctx) == ErrLost }

// renew writes the record again at each third of the lease, until it is
// stopped, the context has ended, or another holder is found.
func (l *Lease) renew(last time.Time) {
	defer close(l.done)
	lease := l.rec.Duration()
	pause := time.NewTimer(time.Until(last.Add(lease / 3)))
	defer pause.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-l.ctx.Done():
			return
		case <-pause.C:
		}
		start := time.Now()
		next := l.rec
		next.Beat++
		rev, err := l.b.writeRecord(l.ctx, l.key, l.rev, next)
		switch {
		case err == nil:
			l.rec, l.rev = next, rev
			// If the timer has fired, the lease is lost, even if the write was made.
			if l.timer.Stop() {
				l.timer.Reset(time.Until(start.Add(usable(lease))))
			}
			pause.Reset(time.Until(start.Add(lease / 3)))
		case errors.Is(err, ErrRefused):
			l.end(ErrLost)
			return
		default: // try again soon: the lease is running out
			pause.Reset(min(lease/30, time.Second/4))
		}
	}
}

// Stop ends the renewals and the context, and leaves the record as it is.
func (l *Lease) Stop() {
	l.once.Do(func() {
		l.end(ErrReleased)
		close(l.stop)
		<-l.done
		l.timer.Stop()
	})
}

// Release ends the context, and makes the key free for others. It returns when
// the bucket has it, or with an error when the lease would be over: then it
// expires by itself. It returns ErrLost if the lease was lost. A second Release
// does nothing.
func (l *Lease) Release() (err error) {
	l.once.Do(func() {
		l.end(ErrReleased)
		close(l.stop)
		<-l.done
		l.timer.Stop()
		if l.Lost() {
			err = ErrLost
			go l.b.clear(l.key, l.rec) // nothing was written over it: it is free sooner
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), l.rec.Duration())
		defer cancel()
		_, err = Retry(ctx, l.free)
		if errors.Is(err, ErrRefused) {
			err = ErrLost
		}
	})
	return err
}

// free writes the record without a holder.
func (l *Lease) free(ctx context.Context) (struct{}, error) {
	_, err := l.b.tryRecord(ctx, l.key, l.rev, Record{Version: version})
	if !errors.Is(err, ErrRefused) {
		return struct{}{}, err
	}
	e, err := l.b.Get(ctx, l.key)
	if err != nil {
		return struct{}{}, err
	}
	current, err := ReadRecord(e)
	switch {
	case err != nil:
		return struct{}{}, ErrRefused
	case current.Holder == "" && e.Rev > l.rev: // by an attempt whose answer was lost
		return struct{}{}, nil
	case current.Holder == l.rec.Holder: // a renewal whose answer was lost
		l.rev = e.Rev
		return struct{}{}, errLateRead
	case e.Rev <= l.rev && e.Rev > 0:
		return struct{}{}, errLateRead
	}
	return struct{}{}, ErrRefused
}
