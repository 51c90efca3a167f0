//go:build yield && !explore

package sched

import (
	"math/rand/v2"
	"runtime"
	"time"
)

// before now and then lets another goroutine run.
func before(any, bool) {
	if rand.Uint32()&3 == 0 {
		runtime.Gosched()
	}
}

func after(lock any) { before(lock, false) }

// Go calls fn on a new goroutine.
func Go(fn func()) { go fn() }

// AfterFunc is [time.AfterFunc].
func AfterFunc(d time.Duration, fn func()) *time.Timer { return time.AfterFunc(d, fn) }
