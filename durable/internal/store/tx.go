package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
)

// Tx is a transaction, as an operation sees it. It is valid only in the call of
// Do, on the goroutine of the store.
type Tx struct {
	s     *Store
	meta  meta
	ended [2]int64 // rows in table ended: jobs that are not dead, and dead jobs
	dirty bool
	buf   []byte
	args  [24]value
}

// NextID returns an id that no job has had.
func (tx *Tx) NextID() (int64, error) {
	id, err := NextID(tx.meta.last)
	if err == nil {
		tx.meta.last = id
		tx.dirty = true
	}
	return id, err
}

// NextID returns the id of the job after the one with id last.
func NextID(last int64) (int64, error) {
	if last == forever {
		return 0, ErrNoID
	}
	return last + 1, nil
}

// writeMeta ends the transaction's changes.
func (tx *Tx) writeMeta() error {
	m := tx.meta
	n, err := tx.change(stmtMeta, num(m.seq), num(m.last), num(m.live), num(m.ids), num(m.sum()))
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: table meta", ErrDamaged)
	}
	return err
}

func (tx *Tx) change(which stmt, args ...value) (int64, error) {
	tx.dirty = true
	return tx.s.db.change(which, args...)
}

// columns numbers the change and returns the columns of j.
func (tx *Tx) columns(j *Job) []value {
	tx.meta.seq++
	j.Seq = tx.meta.seq
	var sum int64
	sum, tx.buf = j.sum(tx.buf)
	return append(tx.args[:0], num(j.ID), num(j.Seq), num(int64(j.State)), num(j.Priority), num(j.Queued), num(j.Due), num(j.Started),
		num(j.Expires), num(j.Attempts), num(j.Crashes), num(j.Retries), num(j.Timeout), num(j.flags()), blob(j.Key), blob(j.Group),
		blob(j.Policy), blob(j.Error), blob(j.Kind), num(sum))
}

// Insert adds a job with its argument.
func (tx *Tx) Insert(j Job, arg []byte) error {
	if _, err := tx.change(stmtInsertJob, tx.columns(&j)...); err != nil {
		return err
	}
	tx.meta.live++
	tx.meta.ids += j.ID
	tx.meta.last = max(tx.meta.last, j.ID)
	return tx.SetArg(j.ID, arg)
}

// SetArg gives a job another argument.
func (tx *Tx) SetArg(id int64, arg []byte) error {
	if arg == nil {
		arg = []byte{}
	}
	var sum int64
	sum, tx.buf = dataSumIn(tx.buf, id, "", arg)
	_, err := tx.change(stmtSetArg, num(id), data(arg), num(sum))
	return err
}

// Update changes the row of a job, and reports whether there is one: it may
// have ended.
func (tx *Tx) Update(j Job) (found bool, err error) {
	n, err := tx.change(stmtUpdateJob, tx.columns(&j)...)
	return n > 0, err
}

// Arg returns the argument of a job.
func (tx *Tx) Arg(id int64) (arg []byte, err error) {
	r, found, err := tx.s.db.first(stmtArg, num(id))
	if found {
		defer r.done()
		var ok, isInt bool
		var sum, want int64
		arg, ok = r.bytes(0)
		want, isInt = r.int(1)
		if sum, tx.buf = dataSumIn(tx.buf, id, "", arg); !ok || !isInt || sum != want {
			return nil, fmt.Errorf("%w: checksum of the argument of job %d", ErrDamaged, id)
		}
		return arg, nil
	}
	switch {
	case code(err) == codeCorrupt:
		return nil, fmt.Errorf("%w: argument of job %d: %w", ErrDamaged, id, err)
	case err != nil:
		return nil, err
	}
	return nil, fmt.Errorf("%w: no argument of job %d", ErrDamaged, id)
}

// Has reports whether a job has not ended, or is kept.
func (tx *Tx) Has(id int64) bool {
	_, live := tx.Job(id)
	_, ended := tx.Ended(id)
	return !errors.Is(live, ErrNoJob) || !errors.Is(ended, ErrNoJob)
}

// End moves a job to the ended ones, or deletes it if it is not to be kept, and
// reports whether it was live.
func (tx *Tx) End(j Job, keep bool) (found bool, err error) {
	n, err := tx.change(stmtDeleteJob, num(j.ID))
	if err != nil || n == 0 {
		return false, err
	}
	tx.meta.live--
	tx.meta.ids -= j.ID
	if !keep {
		_, err = tx.change(stmtDeleteArg, num(j.ID))
		return true, err
	}
	return true, tx.insertEnded(j)
}

func (tx *Tx) insertEnded(j Job) error {
	dead := int64(0)
	if j.State == Dead {
		dead = 1
	}
	if _, err := tx.change(stmtInsertEnded, append(tx.columns(&j), num(dead), num(j.Ended), data(j.Result))...); err != nil {
		return err
	}
	tx.ended[dead]++
	return nil
}

// Job returns a job that has not ended.
func (tx *Tx) Job(id int64) (j Job, err error) {
	found, ok := false, false
	err = tx.s.db.each(stmtJob, func(r row) bool {
		found = true
		j, ok, _ = checkJob(r, nil)
		return false
	}, num(id))
	switch {
	case err != nil:
		return Job{}, err
	case !found:
		return Job{}, ErrNoJob
	case !ok:
		return Job{}, fmt.Errorf("%w: checksum of job %d", ErrDamaged, id)
	}
	return j, nil
}

// Jobs calls fn with the jobs that have not ended, the latest id first, until
// it returns false. A job that is damaged has an error.
func (tx *Tx) Jobs(from, to int64, fn func(Job, error) bool) error {
	var buf []byte
	return tx.s.db.each(stmtJobs, func(r row) bool {
		var j Job
		var ok bool
		if j, ok, buf = checkJob(r, buf); !ok {
			id, _ := r.int(0)
			return fn(Job{ID: id}, fmt.Errorf("%w: checksum of job %d", ErrDamaged, id))
		}
		return fn(j, nil)
	}, num(from), num(to))
}

// Ended returns a job that has ended and is kept.
func (tx *Tx) Ended(id int64) (j Job, err error) {
	found := false
	var damage error
	err = tx.s.db.each(stmtEnded, func(r row) bool {
		found = true
		j, damage = scanEnded(r)
		return false
	}, num(id))
	switch {
	case err != nil:
		return Job{}, err
	case !found:
		return Job{}, ErrNoJob
	}
	return j, damage
}

// EndedPage returns up to n of the jobs that have ended before a job, the
// latest first: the dead ones, or the others. The zero Job is before none.
// Damaged rows are left out.
func (tx *Tx) EndedPage(dead bool, before Job, n int) ([]Job, error) {
	if before.ID == 0 {
		before.Ended, before.ID = forever, forever
	}
	class := int64(0)
	if dead {
		class = 1
	}
	var jobs []Job
	for {
		rows := 0
		err := tx.s.db.each(stmtEndedPage, func(r row) bool {
			rows++
			if j, err := scanEnded(r); err == nil {
				jobs = append(jobs, j)
			}
			before.ID, _ = r.int(0)
			before.Ended, _ = r.int(20)
			return true
		}, num(class), num(before.Ended), num(before.ID), num(int64(n)))
		if err != nil || len(jobs) > 0 || rows < n {
			return jobs, err
		}
	}
}

// EndedCount returns how many ended jobs are kept, and how many of the dead
// ones.
func (tx *Tx) EndedCount() (ended, dead int64) { return tx.ended[0], tx.ended[1] }

// Revive makes a job that has ended a live one again.
func (tx *Tx) Revive(j Job) error {
	dead := int64(0)
	if old, err := tx.Ended(j.ID); err != nil {
		return err
	} else if old.State == Dead {
		dead = 1
	}
	if _, err := tx.change(stmtDeleteEnded, num(j.ID)); err != nil {
		return err
	}
	tx.ended[dead]--
	if _, err := tx.change(stmtInsertJob, tx.columns(&j)...); err != nil {
		return err
	}
	tx.meta.live++
	tx.meta.ids += j.ID
	return nil
}

// Forget deletes a job that has ended.
func (tx *Tx) Forget(id int64) error {
	j, err := tx.Ended(id)
	if err != nil {
		return err
	}
	if _, err := tx.change(stmtDeleteEnded, num(id)); err != nil {
		return err
	}
	dead := 0
	if j.State == Dead {
		dead = 1
	}
	tx.ended[dead]--
	_, err = tx.change(stmtDeleteArg, num(id))
	return err
}

// Retention bounds what is kept of ended jobs.
type Retention struct {
	Count int64 // how many
	After int64 // those that have ended before are deleted; milliseconds since 1970
}

// Prune deletes at most n of the ended jobs that are beyond the bounds, the
// oldest first, and returns how many that were. class is 1 for the dead ones
// and 0 for the others.
func (tx *Tx) Prune(class int, keep Retention, n int64) (deleted int64, err error) {
	over := max(tx.ended[class]-keep.Count, 0)
	var old []int64
	err = tx.s.db.each(stmtEndedOldest, func(r row) bool {
		id, _ := r.int(0)
		ended, _ := r.int(1)
		if int64(len(old)) >= over && ended >= keep.After {
			return false
		}
		old = append(old, id)
		return true
	}, num(int64(class)), num(n))
	if err != nil {
		return 0, err
	}
	for _, id := range old {
		if _, err := tx.change(stmtDeleteEnded, num(id)); err != nil {
			return deleted, err
		}
		if _, err := tx.change(stmtDeleteArg, num(id)); err != nil {
			return deleted, err
		}
		tx.ended[class]--
		deleted++
	}
	return deleted, nil
}

// Set writes a setting.
func (tx *Tx) Set(name string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	_, err := tx.change(stmtSet, text(name), data(value), num(dataSum(0, name, value)))
	return err
}

// Unset deletes a setting.
func (tx *Tx) Unset(name string) error {
	_, err := tx.change(stmtUnset, text(name))
	return err
}

// Query returns the rows of any query, for tools.
func (tx *Tx) Query(query string, args ...driver.Value) ([][]driver.Value, error) {
	return tx.s.db.query(query, args...)
}
