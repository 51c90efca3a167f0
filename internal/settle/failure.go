package settle

import (
	"runtime"
	"sync/atomic"
)

// Failure is the record of a failed core. One record may serve a whole chain
// of them: only the one that is armed has its own.
type Failure struct {
	Link
	Err error
	// Canceled marks a failure made by a cancel.
	Canceled bool
	// Incident marks one of these that is reported like others.
	Incident bool
	// Origin is what debug mode knows of the future; nil otherwise.
	Origin *Origin
	taken  atomic.Bool
}

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

// Clone is the same failure as a record of its own, taken by nobody.
func (f *Failure) Clone() *Failure {
	c := NewFailure(f.Err)
	c.Canceled, c.Incident = f.Canceled, f.Incident
	return c
}

// Take notes that somebody took the failure on.
func (f *Failure) Take() {
	if !f.taken.Load() {
		f.taken.Store(true)
	}
}

// Unhandled is asked whether a failure nobody waits for is to be reported when
// it becomes garbage, and Report does it. The root package sets them, once,
// in an init.
var (
	Unhandled func(c *Core, f *Failure) bool
	Report    func(f *Failure)
)

// arm has f reported when c becomes unreachable before f was taken.
func (f *Failure) arm(c *Core) {
	if !f.taken.Load() && Unhandled(c, f) {
		runtime.AddCleanup(c, report, f)
	}
}

func report(f *Failure) {
	if !f.taken.Swap(true) {
		Report(f)
	}
}

// Fire, Abort and Source make a Failure fit where a core keeps it; nobody
// calls them.
func (f *Failure) Fire(*Failure) (*Core, *Link) { return nil, nil }

// Abort is never called.
func (f *Failure) Abort(error) (*Core, *Link) { return nil, nil }

// Source is nil: a failure has none.
func (f *Failure) Source(*Failure) (*Core, bool) { return nil, false }
