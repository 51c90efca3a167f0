package twill

import "github.com/twillgo/twill/internal/sched"

// waterMarks tell of a pool or a queue that fills and empties; the lock of that
// guards them. Crossings are told in their order: the last word is what holds.
type waterMarks struct {
	high    bool  // the high mark was reached, and the low one not since
	crossed []int // the numbers at crossings not told yet, high and low in turn
	telling bool  // a goroutine does
	next    bool  // the first of those is a high one
}

// watch notes whether n crosses a mark, and reports whether the caller is to
// tell of it; the lock must be held. A high of 0 is no mark.
func (m *waterMarks) watch(n, low, high int) (tell bool) {
	if high == 0 || m.high && n > low || !m.high && n < high {
		return false
	}
	m.high = !m.high
	if len(m.crossed) == 0 {
		m.next = m.high
	}
	m.crossed = append(m.crossed, n)
	tell = !m.telling
	m.telling = true
	return tell
}

// tell calls onHigh and onLow, one at a time, until there is nothing to tell of.
func (m *waterMarks) tell(mu *sched.Mutex, onHigh, onLow func(int)) {
	told := false
	defer func() {
		if !told { // a panic, or runtime.Goexit
			report(caught(recover()))
			go m.tell(mu, onHigh, onLow)
		}
	}()
	for {
		mu.Lock()
		if len(m.crossed) == 0 {
			m.telling = false
			mu.Unlock()
			told = true
			return
		}
		n, fn := m.crossed[0], onLow
		if m.next {
			fn = onHigh
		}
		m.crossed, m.next = m.crossed[1:], !m.next
		mu.Unlock()
		if fn != nil {
			fn(n)
		}
	}
}
