package twill

import (
	"os"
	"testing"
	"unsafe"
)

// Many tests drop failures on purpose; those about unhandled ones set a
// function of their own.
func TestMain(m *testing.M) {
	OnUnhandled(nil)
	os.Exit(m.Run())
}

// SizeOfThen is the size of what Then allocates for ints.
const SizeOfThen = unsafe.Sizeof(thenNode[int, int]{})

// LogUnhandled is what reports unhandled failures by default.
var LogUnhandled = logUnhandled

// Slots is the number of keys that d has anything of.
func Slots[K comparable, V any](d *Dict[K, V]) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.slots.Len()
}

// Flights is the number of keys that p has anything of.
func Flights[K comparable, V any](p *Pooler[K, V]) int {
	t := p.p.(*poolerTable[K, K, V])
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.joined.Len()
}

// Groups is the number of groups that q has anything of.
func Groups[A, R any](q *ResizableDispatchQueue[A, R]) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.groups.byName)
	if q.groups.byName[""] != nil { // where groups take turns
		n--
	}
	return n
}

// InLine is the number of PutWaits in q's line.
func InLine[A, R any](q *ResizableDispatchQueue[A, R]) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.line.all.Len()
}
