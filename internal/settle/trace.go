package settle

import "sync/atomic"

// Tracing turns the calls of [Trace] on.
var Tracing atomic.Bool

// Trace is told where a core was "settled" and "canceled", on the goroutine
// that did it and outside the lock. The root package sets it, once, in an
// init.
var Trace func(c *Core, event string)
