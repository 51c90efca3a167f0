// Package dispatch is what other modules of this repository use of a dispatch
// queue beside its methods. The root package sets the functions.
package dispatch

// SetSpawn makes a queue, which is not in use yet, give the functions of its
// workers to spawn, in place of starting goroutines. spawn is called with the
// lock of the queue held.
var SetSpawn func(queue any, spawn func(fn func()))

// RowOf returns what a journal writes of a job.
var RowOf func(job any) Row

// Row is the part of a JobRecord that has no argument and no texts. Times are
// milliseconds since 1970, rounded up, and 0 means none.
type Row struct {
	Priority int
	State    uint8
	Again    bool
	Attempts int
	Queued   int64
	Due      int64
	Expires  int64
	Started  int64
	Ended    int64
}
