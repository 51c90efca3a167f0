package twill

import "time"

// DispatchStats are the numbers of a [ResizableDispatchQueue].
type DispatchStats struct {
	Width    int
	Underway int // jobs whose calls have not returned
	Pending  int // jobs that wait, the delayed ones with them
	Delayed  int // those of them that are not due

	// Since the queue was made:
	Put      uint64 // jobs added
	Joined   uint64 // Puts that found a job of their key
	Refused  uint64 // jobs that Put and its kin returned an error for
	Retries  uint64 // calls that failed and are followed by another
	Finished uint64
	Failed   uint64
	Canceled uint64

	// Waiting is how long jobs have waited for their first start from when they
	// were due, Running how long calls took, each of a job's own.
	Waiting, Running Histogram

	// Throughput is how many jobs have ended in a second, on average over the
	// last minute or, in a younger queue, its age, and at least a second.
	Throughput float64
}

// Stats returns the numbers as they are now.
func (q *ResizableDispatchQueue[A, R]) Stats() DispatchStats {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats.DispatchStats
	s.Width, s.Underway = q.width, q.underway.Len()
	s.Pending, s.Delayed = q.waiting(), q.delayed.Len()
	s.Throughput = q.stats.throughput(now)
	return s
}

// dispatchStats are the numbers that are counted, under the queue's lock.
type dispatchStats struct {
	last  int64      // the latest second in which a job has ended, or was asked for
	ended [60]uint32 // in each of the last seconds, second s at s%60
	DispatchStats
}

func (s *dispatchStats) waited(ns int64) { s.Waiting.Add(time.Duration(ns)) }

func (s *dispatchStats) ran(ns int64) { s.Running.Add(time.Duration(ns)) }

func (s *dispatchStats) over(state JobState, now int64) {
	switch state {
	case JobFinished:
		s.Finished++
	case JobFailed:
		s.Failed++
	case JobCanceled:
		s.Canceled++
	}
	s.turn(now)
	s.ended[s.last%int64(len(s.ended))]++
}

// turn makes the second of now the latest one.
func (s *dispatchStats) turn(now int64) {
	second := now / int64(time.Second)
	if second-s.last >= int64(len(s.ended)) {
		clear(s.ended[:])
		s.last = second
	}
	for s.last < second {
		s.last++
		s.ended[s.last%int64(len(s.ended))] = 0
	}
}

func (s *dispatchStats) throughput(now int64) float64 {
	s.turn(now)
	var n float64
	for _, ended := range s.ended {
		n += float64(ended)
	}
	return n / min(max(time.Duration(now).Seconds(), 1), float64(len(s.ended)))
}
