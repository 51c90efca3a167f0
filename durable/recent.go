package durable

// recent has the encoded arguments of jobs that were just put and may start
// soon, so that their starts need not read them from the file. It is bounded:
// those of the other jobs are on disk only.
type recent struct {
	data map[int64][]byte // by the ids of the jobs
	size int
}

// maxRecent is how many bytes recent has at most.
const maxRecent = 1 << 20

// recentExtra is what an entry takes beside its argument.
const recentExtra = 64

// put adds the argument of a job if there is room.
func (r *recent) put(id int64, data []byte) {
	size := len(data) + recentExtra
	if data == nil || r.size+size > maxRecent {
		return
	}
	if r.data == nil {
		r.data = make(map[int64][]byte)
	}
	r.data[id] = data
	r.size += size
}

// take removes the argument of a job and returns it, nil if it is not there.
func (r *recent) take(id int64) []byte {
	data := r.data[id]
	if data == nil {
		return nil
	}
	delete(r.data, id)
	r.size -= len(data) + recentExtra
	return data
}
