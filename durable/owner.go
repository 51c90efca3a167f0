package durable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/steer"
	"github.com/twillgo/twill/durable/internal/store"
)

// listen begins to carry out requests of twill-jobs. If it cannot, that is
// logged: the queue works without.
func (q *Queue[A, R]) listen() {
	if q.opts.NoListener || inBubble() {
		_ = q.store.Announce(store.Off, "")
		return
	}
	service := &steer.Service{Store: q.store, Queue: steered[A, R]{q}}
	server, err := steer.Serve(q.store, service)
	if err != nil {
		_ = q.store.Announce(store.Off, "")
		q.log(slog.LevelWarn, "durable: twill-jobs cannot reach the queue", "file", q.store.Path(), "error", err)
		return
	}
	q.owner = server
}

// stopListening ends the requests that are carried out.
func (q *Queue[A, R]) stopListening() {
	if q.owner != nil {
		q.owner.Close()
	}
}

var processStarted = time.Now()

// inBubble reports whether the caller runs in a bubble of testing/synctest,
// where the clocks begin in the year 2000.
func inBubble() bool {
	d := time.Since(processStarted)
	return d > 20*365*24*time.Hour || d < 0
}

// steered is a queue as twill-jobs knows it.
type steered[A, R any] struct{ q *Queue[A, R] }

func (s steered[A, R]) Live() *steer.Live {
	return &steer.Live{Process: os.Getpid(), Paused: s.q.Paused(), Stopped: s.q.Stopped(), Width: s.q.Width()}
}

func (s steered[A, R]) Has(id int64) bool { return s.live(id) != nil }

func (s steered[A, R]) Why(id int64) string { return s.q.WhyPending(strconv.FormatInt(id, 10)) }

func (s steered[A, R]) KeyTaken(key string) (int64, error) {
	j, ok := s.q.FindKey(key)
	if !ok {
		return 0, nil
	}
	return parseID(j.ID())
}

// live returns a job that has not ended, nil if there is none.
func (s steered[A, R]) live(id int64) *Job[A, R] {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	return s.q.jobs.get(id)
}

// Cancel cancels the jobs and waits for the disk once.
func (s steered[A, R]) Cancel(ctx context.Context, ids []int64, cause error) []steer.Outcome {
	outcomes := make([]steer.Outcome, len(ids))
	canceled := make([]*Job[A, R], len(ids))
	for i, id := range ids {
		outcomes[i] = steer.Outcome{ID: strconv.FormatInt(id, 10), Outcome: steer.Skipped, Reason: "has ended"}
		if h := s.live(id); h != nil {
			h.set(bitCanceled)
			if h.inner.Cancel(cause) {
				canceled[i] = h
			}
		}
	}
	for i, h := range canceled {
		if h == nil {
			continue
		}
		o := &outcomes[i]
		o.Outcome, o.Reason = steer.Done, ""
		_, err := h.Await(ctx)
		switch {
		case ctx.Err() != nil:
			o.Outcome, o.Reason = steer.Failed, "canceled, but not on disk yet: "+context.Cause(ctx).Error()
		case errors.Is(err, ErrBroken), errors.Is(err, ErrClosed), errors.Is(err, ErrDiskFull):
			o.Outcome, o.Reason = steer.Failed, err.Error()
		case h.inner.State() != twill.JobCanceled:
			o.Outcome, o.Reason = steer.Skipped, "has ended ("+h.inner.State().String()+")"
		}
	}
	return outcomes
}

// Retry puts jobs once more, in their order, and waits for the disk once.
func (s steered[A, R]) Retry(jobs []store.Job) []steer.Outcome {
	waits := make([]func() (string, error), len(jobs))
	for i := range jobs {
		waits[i] = s.q.putAgain(&jobs[i], jobs[i].State != store.Finished)
	}
	outcomes := make([]steer.Outcome, len(jobs))
	for i, wait := range waits {
		old := &jobs[i]
		o := &outcomes[i]
		o.ID = strconv.FormatInt(old.ID, 10)
		switch newID, err := wait(); {
		case err == nil:
			o.Outcome, o.New = steer.Done, newID
		case errors.Is(err, twill.ErrDuplicateJob):
			o.Outcome, o.Reason = steer.Skipped, fmt.Sprintf("another job has its key, %q", old.Key)
		case errors.Is(err, ErrNoJob):
			o.Outcome, o.Reason = steer.Skipped, "no such job: it was put again, or is no longer kept"
		default:
			o.Outcome, o.Reason = steer.Failed, err.Error()
		}
	}
	return outcomes
}

// Import puts jobs as they are, in one transaction.
func (s steered[A, R]) Import(jobs []steer.Imported, dry bool) []steer.Outcome {
	im := importing[A, R]{q: s.q, jobs: jobs, outcomes: make([]steer.Outcome, len(jobs))}
	for i := range jobs {
		row := &jobs[i].Row
		if row.ID != 0 {
			im.outcomes[i].ID = strconv.FormatInt(row.ID, 10)
		}
		if row.Policy != "" && s.q.opts.Retries[row.Policy] == nil {
			im.end(i, steer.Failed, fmt.Sprintf("the retry %q is not one of Options.Retries", row.Policy))
		} else if _, err := s.q.args.decode(jobs[i].Data); err != nil {
			im.end(i, steer.Failed, "reading the argument: "+err.Error())
		}
	}
	wait := im.put(dry)
	if wait == nil {
		return im.outcomes
	}
	err := wait()
	for _, p := range im.puts {
		if err != nil {
			p.job.inner.Cancel(err)
		} else if !p.held {
			p.job.inner.Release()
		}
	}
	if err != nil {
		im.endRest(steer.Failed, err.Error())
	}
	im.endRest(steer.Done, "")
	return im.outcomes
}

// importing is a call of Import.
type importing[A, R any] struct {
	q        *Queue[A, R]
	jobs     []steer.Imported
	outcomes []steer.Outcome
	puts     []*put[A, R]
}

func (im *importing[A, R]) end(i int, outcome, reason string) {
	im.outcomes[i].Outcome, im.outcomes[i].Reason = outcome, reason
}

// endRest ends the jobs that have no outcome yet.
func (im *importing[A, R]) endRest(outcome, reason string) {
	for i := range im.outcomes {
		if o := &im.outcomes[i]; o.Outcome == "" {
			im.end(i, outcome, cmp.Or(reason, o.Reason))
		}
	}
}

// put puts the jobs that have no outcome yet into the queue in memory, and
// sends them to the disk. It returns nil if there is nothing to wait for.
func (im *importing[A, R]) put(dry bool) (wait func() error) {
	q := im.q
	q.mu.Lock()
	defer q.mu.Unlock()
	q.idMu.Lock()
	defer q.idMu.Unlock()
	if err := q.endedLocked(); err != nil {
		im.endRest(steer.Failed, err.Error())
		return nil
	}
	im.refuseLocked()
	if dry {
		for i := range im.jobs {
			if im.outcomes[i].Outcome == "" && !im.jobs[i].Keeps(q.lastID) {
				im.outcomes[i].New = steer.NewID
				im.outcomes[i].Reason = im.jobs[i].NotKept()
			}
		}
		im.endRest(steer.Done, "")
		return nil
	}
	var records []twill.JobRecord[*Job[A, R]]
	var from []*store.Job
	for i := range im.jobs {
		if im.outcomes[i].Outcome != "" {
			continue
		}
		row := &im.jobs[i].Row
		if !im.jobs[i].Keeps(q.lastID) {
			id, err := store.NextID(q.lastID)
			if err != nil {
				im.end(i, steer.Failed, err.Error())
				continue
			}
			im.outcomes[i].Reason = im.jobs[i].NotKept()
			row.ID = id
		}
		q.lastID = row.ID
		im.outcomes[i].New = strconv.FormatInt(row.ID, 10)
		h, record := q.restored(row)
		record.Again = row.Again
		record.Options.Held = true // until it is on disk
		records, from = append(records, record), append(from, row)
		im.puts = append(im.puts, &put[A, R]{job: h, data: im.jobs[i].Data, key: row.Key, held: row.Held})
	}
	if len(records) == 0 {
		return nil
	}
	inner, err := q.inner.Restore(records)
	if err != nil {
		im.puts = nil
		im.endRest(steer.Failed, err.Error())
		return nil
	}
	rows := make([]store.Job, len(inner))
	size := 0
	for i, j := range inner {
		q.adoptLocked(im.puts[i], j)
		rows[i] = im.puts[i].job.rowLocked()
		rows[i].Queued, rows[i].Due = from[i].Queued, from[i].Due // as they were, to the millisecond
		size += len(im.puts[i].data) + 100
	}
	return q.submitLocked(false, size, func(tx *store.Tx) error {
		for i, p := range im.puts {
			if err := tx.Insert(rows[i], p.data); err != nil {
				return err
			}
		}
		return nil
	})
}

// refuseLocked refuses jobs that Put would.
func (im *importing[A, R]) refuseLocked() {
	q := im.q
	_, pending := q.inner.Size()
	keys := make(map[string]int) // of jobs that are imported
	for i := range im.jobs {
		if im.outcomes[i].Outcome != "" {
			continue
		}
		row := &im.jobs[i].Row
		if row.Key != "" {
			switch n := keys[row.Key]; {
			case n == 0 && q.keyInUseLocked(row.Key):
				im.end(i, steer.Skipped, fmt.Sprintf("another job has its key, %q", row.Key))
				continue
			case n > 1 || n == 1 && !row.Again:
				im.end(i, steer.Skipped, fmt.Sprintf("a job before it has its key, %q", row.Key))
				continue
			case n == 0:
				row.Again = false // there is no job that it could wait for
			}
		}
		if size := q.opts.Dispatch.Size; size > 0 && pending >= size {
			im.end(i, steer.Failed, twill.ErrQueueFull.Error())
			continue
		}
		pending++
		keys[row.Key]++
	}
}

// keyInUseLocked reports whether a job has the key, or had it and the end of
// the job is not on its way to the disk.
func (q *Queue[A, R]) keyInUseLocked(key string) bool {
	if _, used := q.inner.Find(key); used {
		return true
	}
	return len(q.endingLocked(nil, key)) > 0
}
