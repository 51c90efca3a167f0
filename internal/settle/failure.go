package settle

import (
	"runtime"
	"sync/atomic"
)

// Failure is the record of one failure. Every core that fails by it, without a
// handler that made another error of it, holds the same record, so that a
// failure that was handled anywhere is handled. The fields must not change
// after the record was published.
type Failure struct {
	Link
	Err error

	// Canceled reports that a cancel made this failure: a fact, recorded where
	// it happens, that no error tree can tell.
	Canceled bool
	// Incident marks a cancellation that is reported like other failures,
	// because a canceler panicked in it.
	Incident bool
	// Expected marks a failure that is not reported: its work ended because
	// the work's own context had.
	Expected bool

	endedWork atomic.Bool // of a cancel; see EndsWork

	state   atomic.Uint32 // one of those below
	marks   atomic.Uint32 // of a request to cancel; see cancel.go
	cleanup runtime.Cleanup
}

// The states of a failure, which only grow.
const (
	unarmed uint32 = iota
	arming         // a goroutine sets cleanup
	armed          // cleanup reports the failure when the record is collected
	handled        // it is never reported, or was
)

// NewFailure records err.
func NewFailure(err error) *Failure {
	f := &Failure{Err: err}
	f.Do = f
	return f
}

// NewCancel records err as the outcome of a cancel.
func NewCancel(err error) *Failure {
	f := NewFailure(err)
	f.Canceled = true
	return f
}

// Wrap records err, which only says more about of: it is a cancellation, and is
// reported, if of is.
func Wrap(err error, of *Failure) *Failure {
	f := NewFailure(err)
	f.Canceled, f.Incident, f.Expected = of.Canceled, of.Incident, of.Expected
	return f
}

// Silent reports whether f is not to be reported, whether handled or not.
func (f *Failure) Silent() bool { return (f.Canceled || f.Expected) && !f.Incident }

// EndsWork notes that the cancel f ends the context of some work. A timeout
// that made the cancel is then expected.
func (f *Failure) EndsWork() {
	if !f.endedWork.Load() {
		f.endedWork.Store(true)
	}
}

// EndedWork reports whether EndsWork was called.
func (f *Failure) EndedWork() bool { return f.endedWork.Load() }

// Take notes that the failure was handled.
func (f *Failure) Take() {
	if f.state.Load() != handled && f.state.Swap(handled) == armed {
		f.cleanup.Stop() // which also lets go of the error
	}
}

// Unhandled reports whether a failure is to be reported if it is not handled,
// Stopped whether an error tells of a panic or an exited goroutine, and Report
// reports an error. They run user code. The root package sets them, once, in an
// init.
var (
	Unhandled func(f *Failure) bool
	Stopped   func(err error) bool
	Report    func(err error, origin *Origin)
)

// arm makes f be reported when no core holds the record any longer, unless it
// is handled before. It is called when a core fails on which no other depends,
// c, and must be called without the lock. The report must hold the error but
// not the record: an error that leads to a core that failed by it is kept until
// the failure is handled.
func (f *Failure) arm(c *Core) {
	if f.state.Load() != unarmed || !Unhandled(f) || !f.state.CompareAndSwap(unarmed, arming) {
		return
	}
	if Tracing.Load() {
		f.cleanup = runtime.AddCleanup(f, func(r traced) { Report(r.err, r.origin) }, traced{f.Err, OriginOf(c)})
	} else {
		f.cleanup = runtime.AddCleanup(f, report, f.Err)
	}
	if !f.state.CompareAndSwap(arming, armed) {
		f.cleanup.Stop() // handled in the meantime
	}
}

type traced struct {
	err    error
	origin *Origin
}

func report(err error) { Report(err, nil) }

// abandoned notes that every wait for the result was given up: the failure is
// expected then, unless it tells of a panic.
func (f *Failure) abandoned() {
	if f.state.Load() != handled && !Stopped(f.Err) {
		f.Take()
	}
}

// Fire, Abort and Source make a Failure fit where a core keeps it; they are not
// called.
func (f *Failure) Fire(*Failure) (*Core, *Link) { return nil, nil }

// Abort is not called.
func (f *Failure) Abort(error) (*Core, *Link) { return nil, nil }

// Source is nil: a failure has none.
func (f *Failure) Source(*Failure) (*Core, bool) { return nil, false }
