package steer

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/store"
)

// fileQueue is the Queue of a file that no process has open but this one: it
// changes rows.
type fileQueue struct {
	s *store.Store

	mu   sync.Mutex
	keys map[string]store.KeyUse // those of jobs that have not ended; nil until they are needed
}

func (q *fileQueue) Live() *Live { return nil }

func (q *fileQueue) Why(int64) string { return "no process has the file open" }

func (q *fileQueue) Has(int64) bool { return true }

func (q *fileQueue) KeyTaken(key string) (int64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.loadKeysLocked(); err != nil {
		return 0, err
	}
	return q.keys[key].Last, nil
}

func (q *fileQueue) loadKeysLocked() error {
	if q.keys != nil {
		return nil
	}
	return q.s.Run(func(tx *store.Tx) (err error) {
		q.keys, err = tx.LiveKeys()
		return err
	})
}

// Cancel is part of [Queue].
func (q *fileQueue) Cancel(_ context.Context, ids []int64, cause error) []Outcome {
	end := &twill.CanceledError{Cause: cause}
	return q.change(len(ids), false, func(tx *store.Tx, i int) (o Outcome, err error) {
		o.ID = strconv.FormatInt(ids[i], 10)
		j, err := tx.Job(ids[i])
		if err != nil {
			return o, err
		}
		j.State, j.Ended, j.Error, j.Kind = store.Canceled, time.Now().UnixMilli(), end.Error(), store.KindCanceled
		_, err = tx.End(j, true)
		return o, err
	})
}

// Retry is part of [Queue].
func (q *fileQueue) Retry(jobs []store.Job) []Outcome {
	return q.change(len(jobs), true, func(tx *store.Tx, i int) (o Outcome, err error) {
		old := jobs[i]
		o.ID = strconv.FormatInt(old.ID, 10)
		if use := q.keys[old.Key]; old.Key != "" && use.N > 0 {
			o.Outcome, o.Reason = Skipped, keyTaken(old.Key, use.Last)
			return o, nil
		}
		arg, err := tx.Arg(old.ID)
		if err != nil {
			return o, err
		}
		id, err := tx.NextID()
		if err != nil {
			return o, err
		}
		j := store.Job{
			ID: id, Priority: old.Priority, Key: old.Key, Group: old.Group, Timeout: old.Timeout, Policy: old.Policy,
			Queued: time.Now().UnixMilli(),
		}
		if old.State != store.Finished {
			if err := tx.Forget(old.ID); err != nil {
				return o, err
			}
		}
		o.New = strconv.FormatInt(j.ID, 10)
		return o, q.insert(tx, j, arg)
	})
}

// Import is part of [Queue].
func (q *fileQueue) Import(jobs []Imported, dry bool) []Outcome {
	return q.change(len(jobs), true, func(tx *store.Tx, i int) (o Outcome, err error) {
		j := jobs[i].Row
		if j.ID != 0 {
			o.ID = strconv.FormatInt(j.ID, 10)
		}
		use := q.keys[j.Key]
		switch {
		case j.Key == "":
		case use.N == 1 && j.Again:
		case use.N > 0:
			o.Outcome, o.Reason = Skipped, keyTaken(j.Key, use.Last)
			return o, nil
		}
		j.Again = j.Again && use.N == 1
		keeps := jobs[i].Keeps(tx.LastID())
		if !keeps {
			o.Reason = jobs[i].NotKept()
		}
		if dry {
			if !keeps {
				o.New = NewID
			}
			if j.Key != "" {
				q.keys[j.Key] = store.KeyUse{Last: j.ID, N: use.N + 1}
			}
			return o, nil
		}
		if !keeps {
			if j.ID, err = tx.NextID(); err != nil {
				return o, err
			}
		}
		o.New = strconv.FormatInt(j.ID, 10)
		return o, q.insert(tx, j, jobs[i].Data)
	})
}

// insert adds a job in a transaction of change.
func (q *fileQueue) insert(tx *store.Tx, j store.Job, arg []byte) error {
	if err := tx.Insert(j, arg); err != nil {
		return err
	}
	if j.Key != "" {
		q.keys[j.Key] = store.KeyUse{Last: j.ID, N: q.keys[j.Key].N + 1}
	}
	return nil
}

// change calls one for each of n jobs, in one transaction. If that fails, each
// has one of its own. keys is whether the keys of live jobs are needed.
func (q *fileQueue) change(n int, keys bool, one func(tx *store.Tx, i int) (Outcome, error)) []Outcome {
	q.mu.Lock()
	defer q.mu.Unlock()
	outcomes := make([]Outcome, n)
	var loaded error
	if keys {
		loaded = q.loadKeysLocked()
	}
	run := func(from, to int) error {
		if loaded != nil {
			return loaded
		}
		return q.s.Run(func(tx *store.Tx) error {
			for i := from; i < to; i++ {
				o, err := one(tx, i)
				if o.Outcome == "" {
					o.Outcome = Done
				}
				outcomes[i] = o
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if run(0, n) == nil {
		return outcomes
	}
	for i := range n {
		q.keys = nil // those of what was not written
		if keys {
			loaded = q.loadKeysLocked()
		}
		if err := run(i, i+1); err != nil {
			outcomes[i] = failed(outcomes[i].ID, err)
		}
	}
	return outcomes
}

// failed is the outcome of a job for which err was returned.
func failed(id string, err error) Outcome {
	if errors.Is(err, store.ErrNoJob) {
		return Outcome{ID: id, Outcome: Skipped, Reason: "no such job, or it has ended"}
	}
	return Outcome{ID: id, Outcome: Failed, Reason: err.Error()}
}
