// Package work is what the benchmarks measure: the same work done with twill,
// with plain Go, and with other libraries. The benchmark functions of the
// module and the program compare both run the bodies in this table.
package work

import (
	"slices"
	"testing"
)

// Work is one row of a table.
type Work struct {
	Group string // the part of the table it belongs to
	Name  string // what is done
	Ours  func(b *testing.B)
	// Beside is who else does it. The first is the yardstick that the goal
	// names.
	Beside []Peer
	// Goal is what the ratio of ours to the yardstick should not exceed; 0 if
	// there is none, and for a work measured in bytes, whose goal is its first
	// limit.
	Goal float64
	// Bytes says that the work is measured in bytes: the ratio is that of the
	// metric in the first limit.
	Bytes bool
	// Heavy says that one run takes so long that fewer must do.
	Heavy  bool
	Limits []Limit
}

// Peer is another way to do the same work.
type Peer struct {
	Who string
	Run func(b *testing.B)
}

// Limit is what one of our metrics should not exceed.
type Limit struct {
	Metric string
	Max    float64
}

// The metrics that limits are about. The first two come with every benchmark,
// the others are reported by some bodies, and are per one of what they do.
const (
	Allocs     = "allocs/op"
	AllocBytes = "B/op"
	EachBytes  = "B/each"
	Goroutines = "goroutines"
)

// Each is how many times one operation does the work, if not once. Time and
// allocations are to be divided by it.
const Each = "each/op"

// Us is the name under which twill's own results stand.
const Us = "twill"

// Many is the size of what the names of works call 1M. The tests make it less.
var Many = 1_000_000

// All is the whole table.
func All() []Work {
	return slices.Concat(Futures(), Dispatch(), Retry(), Data())
}

// Group returns the rows of one part of the table.
func Group(name string) []Work {
	return slices.DeleteFunc(All(), func(w Work) bool { return w.Group != name })
}

// Run runs one work as sub-benchmarks of b, named so that benchstat can put
// them side by side: benchstat -col /who.
func Run(b *testing.B, name string) {
	for _, w := range All() {
		if w.Name != name {
			continue
		}
		b.Run("who="+Us, reported(w.Ours))
		for _, p := range w.Beside {
			b.Run("who="+p.Who, reported(p.Run))
		}
		return
	}
	b.Fatalf("no work is called %q", name)
}

func reported(run func(b *testing.B)) func(b *testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		run(b)
	}
}
