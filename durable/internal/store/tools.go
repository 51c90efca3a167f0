package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What twill-jobs needs of the store, beside what a queue does.

// alone runs fn on the goroutine of the store, outside a transaction and in
// order with the operations that are submitted. Even after the disk has failed
// it is called, unless it is waiting then.
func (s *Store) alone(fn func() error) error {
	done := make(chan error, 1)
	s.Submit(Op{alone: fn, Done: func(err error) { done <- err }})
	return <-done
}

// View calls fn, which must not change anything, in order with the operations
// that are submitted. There is no transaction that a page which SQLite cannot
// read would make fail, and none is needed: nothing else runs at that time.
func (s *Store) View(fn func(tx *Tx) error) error {
	return s.alone(func() error { return fn(&Tx{s: s, meta: s.meta, ended: s.ended}) })
}

// Sizes are numbers of bytes.
type Sizes struct {
	File int64 `json:"file"` // of the database
	Free int64 `json:"free"` // of the database, not used
	Log  int64 `json:"log"`  // of the write-ahead log
}

// Sizes returns how much space the files take.
func (s *Store) Sizes() (z Sizes, err error) {
	err = s.alone(func() (err error) {
		z, err = s.sizes()
		return err
	})
	return z, err
}

func (s *Store) sizes() (z Sizes, err error) {
	var n [3]int64
	for i, pragma := range []string{"page_size", "page_count", "freelist_count"} {
		if n[i], err = s.db.number(pragma); err != nil {
			return z, err
		}
	}
	z.File, z.Free = n[0]*n[1], n[0]*n[2]
	if log, err := os.Stat(s.path + "-wal"); err == nil {
		z.Log = log.Size()
	}
	return z, nil
}

// Compact rewrites the file without its unused space, and empties the log. All
// other operations wait for it.
func (s *Store) Compact() (before, after Sizes, err error) {
	err = s.alone(func() (err error) {
		if err := s.Broken(); err != nil {
			return err
		}
		if before, err = s.sizes(); err != nil {
			return err
		}
		for _, q := range []string{"PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
			if err := s.db.exec(q); code(err) == codeFull {
				return fmt.Errorf("%w: %w", ErrDiskFull, err)
			} else if err != nil {
				if isFatal(err) {
					s.fail(err)
				}
				return err
			}
		}
		after, err = s.sizes()
		return err
	})
	return before, after, err
}

// Integrity returns what SQLite finds wrong with the file as a whole. All other
// operations wait for it.
func (s *Store) Integrity() (problems []string, err error) {
	err = s.alone(func() error {
		rows, err := s.db.query("PRAGMA integrity_check(100)")
		for _, row := range rows {
			if text, _ := toText(row[0]); text != "ok" {
				problems = append(problems, strings.Split(text, "\n")...)
			}
		}
		if code(err) == codeCorrupt {
			problems, err = append(problems, err.Error()), nil
		}
		return err
	})
	return problems, err
}

// Backup is a copy of the file that is being made.
type Backup struct {
	s    *Store
	path string
	b    *backup
}

// StartBackup begins to copy the file to a new one at path. The copy is as the
// file is when the last step is made. Finish has to be called.
func (s *Store) StartBackup(path string) (*Backup, error) {
	if err := s.Broken(); err != nil {
		return nil, err
	}
	real, err := resolve(path)
	if err != nil {
		return nil, err
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal", ownerSuffix} {
		if real == s.path+suffix {
			return nil, fmt.Errorf("durable: %s is a file of the queue", path)
		}
	}
	if err := makeBackupFile(real); err != nil {
		return nil, err
	}
	b := &Backup{s: s, path: real}
	err = s.alone(func() (err error) {
		b.b, err = s.db.newBackup(real)
		return err
	})
	if err != nil {
		removeBackupFile(real)
		return nil, fmt.Errorf("durable: backup: %w", err)
	}
	return b, nil
}

// Step copies up to n pages, and returns how many there are and are left. Other
// operations run between steps.
func (b *Backup) Step(n int) (left, all int, err error) {
	err = b.s.alone(func() (err error) {
		left, all, err = b.b.step(n)
		return err
	})
	if err != nil {
		return left, all, fmt.Errorf("durable: backup: %w", err)
	}
	return left, all, nil
}

// Finish ends the copy, and deletes it unless it is whole.
func (b *Backup) Finish(whole bool) error {
	var err error
	for range 2 { // it may be dropped once, with what waits when the disk fails
		if err = b.s.alone(b.b.finish); !errors.Is(err, ErrBroken) {
			break
		}
	}
	if !whole || err != nil {
		removeBackupFile(b.path)
	} else {
		err = syncFolder(filepath.Dir(b.path))
	}
	if err != nil {
		return fmt.Errorf("durable: backup: %w", err)
	}
	return nil
}

// makeBackupFile makes an empty file, readable by its owner only.
func makeBackupFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("durable: backup: %w", err)
	}
	return f.Close()
}

func removeBackupFile(path string) { _, _ = os.Remove(path), os.Remove(path+"-journal") }

// Page calls fn with the jobs with ids from lo to hi, in the order of their
// ids, until it returns false or was called n times, and returns the id to go
// on with, if there is more up to hi. (There is no id above the highest one, so
// that the id does not say it.) ended is whether ended jobs are wanted,
// or live ones. A damaged job has an error. What SQLite cannot read is skipped:
// bad is called with the ids that are lost then.
func (tx *Tx) Page(ended bool, lo, hi int64, n int, fn func(Job, error) bool, bad func(from, to int64, err error)) (next int64, more bool, err error) {
	for calls := 0; lo <= hi; {
		stopped, last, read := false, false, 0
		err := tx.page(ended, lo, hi, n-calls, func(j Job, damage error) bool {
			if last = j.ID >= hi; !last {
				lo = j.ID + 1
			}
			calls++
			read++
			stopped = !fn(j, damage)
			return !stopped
		})
		switch {
		case err != nil && code(err) != codeCorrupt:
			return 0, false, err
		case last, err == nil && !stopped && calls < n:
			return 0, false, nil
		case err == nil:
			return lo, true, nil
		case read == 0:
			next, more := tx.readable(ended, lo, hi)
			if !more {
				bad(lo, hi, err)
				return 0, false, nil
			}
			bad(lo, next-1, err)
			lo = next
		}
	}
	return 0, false, nil
}

// readable returns the first id above lo from which on SQLite can read, if
// there is one. From lo on it cannot.
func (tx *Tx) readable(ended bool, lo, hi int64) (next int64, found bool) {
	good := func(id int64) bool {
		return tx.page(ended, id, hi, 1, func(Job, error) bool { return true }) == nil
	}
	bad := lo
	for step := int64(1); step > 0 && step <= hi-bad; step *= 2 {
		if next = bad + step; good(next) {
			found = true
			break
		}
		bad = next
	}
	if !found {
		if next = hi; bad == hi || !good(hi) {
			return 0, false
		}
	}
	for next-bad > 1 {
		if middle := bad + (next-bad)/2; good(middle) {
			next = middle
		} else {
			bad = middle
		}
	}
	return next, true
}

func (tx *Tx) page(ended bool, lo, hi int64, n int, fn func(Job, error) bool) error {
	q := "SELECT " + jobColumns + " FROM jobs WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"
	if ended {
		q = "SELECT " + jobColumns + ", dead, ended, result FROM ended WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"
	}
	return tx.s.db.eachOf(q, func(r row) bool {
		if ended {
			j, err := scanEnded(r)
			return fn(j, err)
		}
		j, ok, _ := checkJob(r, nil)
		if !ok || j.State > Parked {
			id, _ := r.int(0)
			return fn(Job{ID: id}, fmt.Errorf("%w: checksum of job %d", ErrDamaged, id))
		}
		return fn(j, nil)
	}, num(lo), num(hi), num(int64(n)))
}

// LastID is the highest id that was ever used.
func (tx *Tx) LastID() int64 { return tx.meta.last }

// Counts returns how many jobs are in each state.
func (tx *Tx) Counts() (counts [Dead + 1]int64, err error) {
	for _, table := range []string{"jobs", "ended"} {
		rows, err := tx.s.db.query("SELECT state, count(*) FROM " + table + " GROUP BY state")
		if err != nil && code(err) != codeCorrupt { // what can be read is counted
			return counts, err
		}
		for _, row := range rows {
			state, _ := toInt(row[0])
			n, _ := toInt(row[1])
			if state >= 0 && state < int64(len(counts)) {
				counts[state] += n
			}
		}
	}
	return counts, nil
}

// Oldest returns when the oldest of the live jobs was queued, 0 if there is
// none or it cannot be read.
func (tx *Tx) Oldest() (int64, error) {
	rows, err := tx.s.db.query("SELECT min(queued) FROM jobs")
	if code(err) == codeCorrupt || err == nil && len(rows) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	queued, _ := toInt(rows[0][0])
	return queued, nil
}

// KeyUse is which jobs that have not ended have a key.
type KeyUse struct {
	Last int64 // the id of the latest
	N    int
}

// LiveKeys returns the keys of the jobs that have not ended.
func (tx *Tx) LiveKeys() (map[string]KeyUse, error) {
	rows, err := tx.s.db.query("SELECT key, max(id), count(*) FROM jobs WHERE key IS NOT NULL GROUP BY key")
	keys := make(map[string]KeyUse, len(rows))
	for _, row := range rows {
		key, _ := toText(row[0])
		last, _ := toInt(row[1])
		n, _ := toInt(row[2])
		keys[key] = KeyUse{last, int(n)}
	}
	return keys, err
}

// Settings returns the settings by their names, and what is damaged of them.
func (tx *Tx) Settings() (map[string]string, []error, error) {
	settings, damage, err := tx.s.Settings()
	var errs []error
	for _, d := range damage {
		errs = append(errs, d.Err)
	}
	return settings, errs, err
}

// Verify returns what is wrong in the file apart from its jobs: a count of them
// that is not theirs, and arguments without a job.
func (tx *Tx) Verify() (damage []error, err error) {
	wrong := func(format string, args ...any) {
		damage = append(damage, fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...))
	}
	query := func(what, q string) []driver.Value {
		rows, e := tx.s.db.query(q)
		if code(e) == codeCorrupt {
			wrong("%s: %w", what, e)
			return nil
		}
		if e != nil || len(rows) == 0 {
			err = errors.Join(err, e)
			return nil
		}
		return rows[0]
	}
	if row := query("table meta", "SELECT seq, last, live, ids, sum FROM meta"); row != nil {
		var n [5]int64
		for i := range n {
			n[i], _ = toInt(row[i])
		}
		m := meta{n[0], n[1], n[2], n[3]}
		if n[4] != m.sum() && (m != meta{} || n[4] != 0) {
			wrong("checksum of table meta")
		}
	}
	// Halves of ids are added, as SQLite fails where a sum is too large.
	if row := query("the count of jobs", "SELECT count(*), sum(id & 0xffffffff), sum(id >> 32) FROM jobs"); row != nil {
		live, _ := toInt(row[0])
		low, _ := toInt(row[1])
		high, _ := toInt(row[2])
		ids := high<<32 + low
		if live != tx.meta.live || ids != tx.meta.ids {
			wrong("%d jobs that have not ended, and there should be %d", live, tx.meta.live)
		}
	}
	if row := query("arguments", "SELECT count(*) FROM args WHERE id NOT IN (SELECT id FROM jobs) AND id NOT IN (SELECT id FROM ended)"); row != nil {
		if n, _ := toInt(row[0]); n > 0 {
			wrong("%d arguments without a job", n)
		}
	}
	return damage, err
}
