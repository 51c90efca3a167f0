// Package watermark calls a function when a number reaches a high mark, and
// another function when the number falls to a low mark after that.
//
// A Marks is not safe for concurrent use: its owner holds a lock.
package watermark

import "sync"

// Marks records which crossings of the two marks have been seen. The zero value
// is ready to use; its number is below the high mark.
type Marks struct {
	above    bool  // the high mark was reached, and the low mark was not since then
	crossed  []int // the numbers at crossings for which calls are due, high and low in turn
	highNext bool  // the first of them is a high one
	calling  bool  // a goroutine is in Call
}

// Watch records whether n crosses a mark, and reports whether the caller must
// call Call afterwards. A high of 0 means that there are no marks.
func (m *Marks) Watch(n, low, high int) bool {
	if high == 0 || m.above && n > low || !m.above && n < high {
		return false
	}
	m.above = !m.above
	if len(m.crossed) == 0 {
		m.highNext = m.above
	}
	m.crossed = append(m.crossed, n)
	call := !m.calling
	m.calling = true
	return call
}

// Call calls onHigh and onLow for the crossings that Watch has recorded, in
// their order and one at a time, until there are none left. A nil function is
// not called. Call locks mu, the lock of the owner, which must not be held; the
// functions run without it.
//
// If a function panics or ends its goroutine, Call passes the result of recover
// to stopped, and a new goroutine makes the remaining calls.
func (m *Marks) Call(mu sync.Locker, onHigh, onLow func(n int), stopped func(panicked any)) {
	done := false
	defer func() {
		if !done {
			stopped(recover())
			go m.Call(mu, onHigh, onLow, stopped)
		}
	}()
	for {
		mu.Lock()
		if len(m.crossed) == 0 {
			m.calling = false
			mu.Unlock()
			done = true
			return
		}
		n, fn := m.crossed[0], onLow
		if m.highNext {
			fn = onHigh
		}
		m.crossed, m.highNext = m.crossed[1:], !m.highNext
		mu.Unlock()
		if fn != nil {
			fn(n)
		}
	}
}
