package twill

import (
	"os"
	"sync/atomic"
	"testing"
	"unsafe"
)

// Many tests drop failures on purpose. Tests of unhandled failures set their
// own function.
func TestMain(m *testing.M) {
	OnUnhandled(nil)
	os.Exit(m.Run())
}

// SizeOfThen is the size of the struct that Then allocates for ints.
const SizeOfThen = unsafe.Sizeof(thenNode[int, int]{})

// LogUnhandled is the function that reports unhandled failures by default.
var LogUnhandled = logUnhandled

// Slots returns the number of keys for which d keeps state.
func Slots[K comparable, V any](d *Dict[K, V]) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.slots.Len()
}

// Flights returns the number of keys for which p keeps state.
func Flights[K comparable, V any](p *Pooler[K, V]) int {
	t := p.p.(*poolerTable[K, K, V])
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.joined.Len()
}

// Groups returns the number of groups for which q keeps state.
func Groups[A, R any](q *ResizableDispatchQueue[A, R]) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.groups.byName)
	if q.groups.byName[""] != nil { // if groups take turns
		n--
	}
	return n
}

// CountWaiterVisits makes visits count the steps of all queues from one PutWait
// in a line to another; nil ends that.
func CountWaiterVisits(visits *atomic.Int64) { waiterVisits.Store(visits) }

// InLine returns the number of PutWaits in q's line.
func InLine[A, R any](q *ResizableDispatchQueue[A, R]) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.line.all.Len()
}
