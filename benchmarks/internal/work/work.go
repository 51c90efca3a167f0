// Package work has the works that the benchmarks measure: the same work done
// with twill, with plain Go, and with other libraries. The benchmark functions
// of the module and the program compare both run the bodies in this table.
package work

import (
	"slices"
	"testing"
)

// Work is one row of a table.
type Work struct {
	Group string // the part of the table to which it belongs
	Name  string // what the work does
	Ours  func(b *testing.B)
	// Beside has the other libraries. The ratio in the goal is that to the first
	// of them.
	Beside []Peer
	// Goal is the maximum of that ratio; 0 if there is no goal, and for a work
	// measured in bytes, whose goal is its first limit.
	Goal float64
	// Bytes marks a work that is measured in bytes: the ratio is that of the
	// metric in the first limit.
	Bytes bool
	// Heavy marks a work that takes so long that fewer runs must be enough.
	Heavy  bool
	Limits []Limit
}

// Peer is another way to do the same work.
type Peer struct {
	Who string
	Run func(b *testing.B)
}

// Limit is the maximum of one of our metrics.
type Limit struct {
	Metric string
	Max    float64
}

// The metrics of limits. The first two exist for every benchmark, the others
// are reported by some bodies, for each element.
const (
	Allocs     = "allocs/op"
	AllocBytes = "B/op"
	EachBytes  = "B/each"
	Goroutines = "goroutines"
)

// Each is how often one operation does the work, if not once. Time and
// allocations are divided by it.
const Each = "each/op"

// Us is the name of twill's own results.
const Us = "twill"

// Many is the size that the names of works call 1M. The tests reduce it.
var Many = 1_000_000

// All returns the whole table.
func All() []Work {
	return slices.Concat(Futures(), Dispatch(), Retry(), Data())
}

// Group returns the rows of one part of the table.
func Group(name string) []Work {
	return slices.DeleteFunc(All(), func(w Work) bool { return w.Group != name })
}

// Run runs one work as sub-benchmarks of b, with names for benchstat -col /who.
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
