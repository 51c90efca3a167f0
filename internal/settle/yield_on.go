//go:build yield

package settle

import (
	"math/rand/v2"
	"runtime"
)

// yield lets another goroutine run, now and then, at the boundaries of a lock:
// the places where an interleaving that the code forgot would show.
func yield() {
	if rand.Uint32()&3 == 0 {
		runtime.Gosched()
	}
}
