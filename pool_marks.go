package twill

// watchMarks notes whether a mark was crossed, and reports whether the caller is
// to tell of it; the lock must be held. Crossings are told in their order: the last
// word is what holds.
func (p *Pool) watchMarks() (tell bool) {
	m, n := &p.marks, p.order.Len()
	if p.opts.High == 0 || m.high && n > p.opts.Low || !m.high && n < p.opts.High {
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

// tellMarks calls OnHigh and OnLow.
func (p *Pool) tellMarks() {
	told := false
	defer func() {
		if !told { // a panic, or runtime.Goexit
			report(caught(recover()))
			go p.tellMarks()
		}
	}()
	for {
		p.mu.Lock()
		m := &p.marks
		if len(m.crossed) == 0 {
			m.telling = false
			p.mu.Unlock()
			told = true
			return
		}
		n, fn := m.crossed[0], p.opts.OnLow
		if m.next {
			fn = p.opts.OnHigh
		}
		m.crossed, m.next = m.crossed[1:], !m.next
		p.mu.Unlock()
		if fn != nil {
			fn(n)
		}
	}
}
