package settle

import (
	"runtime"
	"sync/atomic"
)

// Failure is the record of one failure. All cores that fail by it share the
// record, unless a handler has made another error of it, so that a failure that
// was handled anywhere is handled. The fields must not change after the record
// was published.
type Failure struct {
	Link
	Err error

	// Canceled is true if a cancel made this failure. It is recorded where that
	// happens, because no error tree shows it.
	Canceled bool
	// Incident marks a cancellation that is reported like other failures,
	// because a canceler panicked in it.
	Incident bool
	// Expected marks a failure that is not reported, because its work ended as a
	// consequence of the end of the work's own context.
	Expected bool

	endedWork atomic.Bool // of a cancel; see EndsWork

	state   atomic.Uint32 // one of the states below
	marks   atomic.Uint32 // of a request to cancel; see cancel.go
	cleanup runtime.Cleanup
}

// The states of a failure, which only increase.
const (
	unarmed uint32 = iota
	arming         // a goroutine sets cleanup
	armed          // cleanup reports the failure when the record is collected
	handled        // it was reported, or never will be
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

// Wrap records err, which adds details to of: the new failure is a
// cancellation, and is reported, if of is.
func Wrap(err error, of *Failure) *Failure {
	f := NewFailure(err)
	f.Canceled, f.Incident, f.Expected = of.Canceled, of.Incident, of.Expected
	return f
}

// Silent reports whether f is never reported, whether or not it is handled.
func (f *Failure) Silent() bool { return (f.Canceled || f.Expected) && !f.Incident }

// EndsWork records that the cancel f ends the context of some work. A timeout
// that made the cancel is then expected.
func (f *Failure) EndsWork() {
	if !f.endedWork.Load() {
		f.endedWork.Store(true)
	}
}

// EndedWork reports whether EndsWork was called.
func (f *Failure) EndedWork() bool { return f.endedWork.Load() }

// Take records that the failure was handled.
func (f *Failure) Take() {
	if f.state.Load() != handled && f.state.Swap(handled) == armed {
		f.cleanup.Stop() // this also drops the reference to the error
	}
}

// Unhandled reports whether a failure is reported if it is not handled. Stopped
// reports whether an error is or wraps a panic or an exited goroutine. Report
// reports an error. They run user code. The root package sets them once, in an
// init function.
var (
	Unhandled func(f *Failure) bool
	Stopped   func(err error) bool
	Report    func(err error, origin *Origin)
)

// arm makes f be reported when no core holds the record any longer, unless it
// is handled before. It is called when c, a core without dependents, fails, and
// must be called without the lock. The report holds the error but not the
// record: an error that refers to a core that failed by it is kept until the
// failure is handled.
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

// abandoned records that every wait for the result was given up: the failure is
// then expected, unless it is a panic.
func (f *Failure) abandoned() {
	if f.state.Load() != handled && !Stopped(f.Err) {
		f.Take()
	}
}

// Fire, Abort, Source and Owner make a Failure a [Node], so that a core can
// keep it in up; they are not called.
func (f *Failure) Fire(*Failure) (*Core, *Link) { return nil, nil }

// Abort is not called.
func (f *Failure) Abort(error) (*Core, *Link) { return nil, nil }

// Source returns nil: a failure has no source.
func (f *Failure) Source(*Failure) (*Core, bool) { return nil, false }

// Owner is nil.
func (f *Failure) Owner() *Core { return nil }
