//go:build yield && !explore

package sched

import (
	"math/rand/v2"
	"runtime"
)

// before lets another goroutine run, now and then.
func before(any, bool) {
	if rand.Uint32()&3 == 0 {
		runtime.Gosched()
	}
}

func after(lock any) { before(lock, false) }

// Go calls fn on a goroutine of its own.
func Go(fn func()) { go fn() }
