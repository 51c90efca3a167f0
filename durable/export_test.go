package durable

import "time"

// WithVFS returns opts with another file system of SQLite.
func WithVFS(opts *Options, name string) *Options {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.vfs = name
	return &o
}

// Commits is how many transactions were committed.
func (q *Queue[A, R]) Commits() uint64 { return q.store.Commits() }

// WithClock returns opts with another wall clock, for periodic jobs.
func WithClock(opts *Options, now func() time.Time) *Options {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.clock = now
	return &o
}

// Due is what a periodic job asks of its schedule.
func Due(s Schedule, t, now time.Time, n int) (times []time.Time, next time.Time) {
	return s.due(t, now, n)
}
