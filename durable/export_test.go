package durable

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
