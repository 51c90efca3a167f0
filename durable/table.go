package durable

// table holds the live jobs by their ids, which are mostly consecutive: it
// takes little more than a pointer for each.
type table[J any] struct {
	chunks map[int64]*chunk[J]
	n      int
}

type chunk[J any] struct {
	jobs [256]*J
	n    int
}

func (t *table[J]) get(id int64) *J {
	if c := t.chunks[id>>8]; c != nil {
		return c.jobs[id&255]
	}
	return nil
}

func (t *table[J]) set(id int64, j *J) {
	c := t.chunks[id>>8]
	if c == nil {
		if t.chunks == nil {
			t.chunks = make(map[int64]*chunk[J])
		}
		c = new(chunk[J])
		t.chunks[id>>8] = c
	}
	if c.jobs[id&255] == nil {
		c.n++
		t.n++
	}
	c.jobs[id&255] = j
}

func (t *table[J]) delete(id int64) {
	c := t.chunks[id>>8]
	if c == nil || c.jobs[id&255] == nil {
		return
	}
	c.jobs[id&255] = nil
	c.n--
	t.n--
	if c.n == 0 {
		delete(t.chunks, id>>8)
	}
}

// all yields the jobs in no order.
func (t *table[J]) all(yield func(int64, *J) bool) {
	for high, c := range t.chunks {
		for low, j := range c.jobs {
			if j != nil && !yield(high<<8|int64(low), j) {
				return
			}
		}
	}
}
