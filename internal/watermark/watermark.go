// Package watermark calls a function when a number reaches a high mark, and
// another one when the number is down to a low mark after that.
//
// A Marks is not safe for use by several goroutines: its owner holds a lock.
package watermark

import "sync"

// Marks remembers which crossings of the two marks its owner has been told of.
// The zero value is ready to use; its number is below the high mark.
type Marks struct {
	above    bool  // the high mark was reached, and the low mark not since
	crossed  []int // the numbers at crossings to call for, high and low in turn
	highNext bool  // the first of them is a high one
	calling  bool  // a goroutine is in Call
}

// Watch notes whether n crosses a mark, and reports whether the caller must
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

// Call calls onHigh and onLow for the crossings that Watch has noted, in their
// order and one at a time, until none is left. A nil function is skipped. Call
// takes mu, the lock of the owner, which must not be held; the functions run
// without it.
//
// If a function panics or ends its goroutine, Call passes what recover returned
// to stopped, and a new goroutine makes the calls that are left.
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
