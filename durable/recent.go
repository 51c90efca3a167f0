package durable

// recent has the arguments of jobs that were just put and may start soon, so
// that their starts need not read them from the file. It is bounded: those of
// the other jobs are on disk only.
type recent struct {
	entries map[int64]recentEntry // by the ids of the jobs
	size    int
}

type recentEntry struct {
	data []byte // the encoded argument
	arg  any    // a pointer to the argument, if it need not be decoded; then there is no data
	size int
}

// maxRecent is how many bytes recent has at most.
const maxRecent = 1 << 20

// recentExtra is what an entry takes beside its argument.
const recentExtra = 80

// put adds the argument of a job if there is room.
func (r *recent) put(id int64, data []byte, arg any) {
	e := recentEntry{data, arg, len(data) + recentExtra}
	if data == nil || r.size+e.size > maxRecent {
		return
	}
	if arg != nil {
		e.data = nil
	}
	if r.entries == nil {
		r.entries = make(map[int64]recentEntry)
	}
	r.entries[id] = e
	r.size += e.size
}

// take removes the argument of a job and returns it; both are nil if it is not
// there.
func (r *recent) take(id int64) (data []byte, arg any) {
	e, ok := r.entries[id]
	if !ok {
		return nil, nil
	}
	delete(r.entries, id)
	r.size -= e.size
	return e.data, e.arg
}
