package store

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// appID marks the file as one of a queue: "twil".
const appID = 0x7477696c

// schemas are the steps from an empty file to the newest schema: a file of
// version n has had the first n.
var schemas = [...]string{
	`CREATE TABLE meta (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	seq INTEGER NOT NULL,   -- number of the last change
	last INTEGER NOT NULL,  -- the highest id ever used
	live INTEGER NOT NULL,  -- how many rows jobs has
	ids INTEGER NOT NULL,   -- the sum of their ids
	sum INTEGER NOT NULL    -- checksum of the row
) STRICT;
INSERT INTO meta VALUES (1, 0, 0, 0, 0, 0);
CREATE TABLE settings (
	name TEXT PRIMARY KEY,
	value BLOB NOT NULL,
	sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE jobs (       -- that have not ended
	id INTEGER PRIMARY KEY,
	seq INTEGER NOT NULL,
	state INTEGER NOT NULL, -- 0 pending, 1 underway, 2 parked
	priority INTEGER NOT NULL,
	queued INTEGER NOT NULL, -- times are milliseconds since 1970, 0 is none
	due INTEGER NOT NULL,
	started INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	crashes INTEGER NOT NULL,
	retries INTEGER NOT NULL,
	timeout INTEGER NOT NULL, -- nanoseconds
	flags INTEGER NOT NULL, -- 1 held, 2 again
	key BLOB,
	grp BLOB,
	policy BLOB,
	error BLOB,
	kind BLOB,
	sum INTEGER NOT NULL
) STRICT;
CREATE TABLE args (       -- of jobs and ended
	id INTEGER PRIMARY KEY,
	data BLOB NOT NULL,
	sum INTEGER NOT NULL
) STRICT;
CREATE TABLE ended (
	id INTEGER PRIMARY KEY,
	seq INTEGER NOT NULL,
	state INTEGER NOT NULL, -- 3 finished, 4 failed, 5 canceled, 6 dead
	priority INTEGER NOT NULL,
	queued INTEGER NOT NULL,
	due INTEGER NOT NULL,
	started INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	crashes INTEGER NOT NULL,
	retries INTEGER NOT NULL,
	timeout INTEGER NOT NULL,
	flags INTEGER NOT NULL,
	key BLOB,
	grp BLOB,
	policy BLOB,
	error BLOB,
	kind BLOB,
	sum INTEGER NOT NULL,
	dead INTEGER NOT NULL,
	ended INTEGER NOT NULL,
	result BLOB
) STRICT;`,
	`CREATE INDEX ended_at ON ended (dead, ended, id);`,
	`CREATE TABLE periodics ( -- jobs that are put at the times of a schedule
	name BLOB PRIMARY KEY,
	schedule BLOB,
	seq INTEGER NOT NULL,
	last INTEGER NOT NULL,  -- the times up to this one are over
	job INTEGER NOT NULL,   -- id of the latest run, 0 is none
	sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;`,
}

// stmt is a prepared statement.
type stmt int

const (
	stmtBegin stmt = iota
	stmtCommit
	stmtRollback
	stmtMeta
	stmtInsertJob
	stmtUpdateJob
	stmtDeleteJob
	stmtJob
	stmtJobs
	stmtSetArg
	stmtArg
	stmtDeleteArg
	stmtInsertEnded
	stmtEnded
	stmtEndedPage
	stmtEndedOldest
	stmtEndedCount
	stmtDeleteEnded
	stmtSet
	stmtUnset
	stmtSettings
	stmtPeriodic
	stmtPeriodics
	stmtSetPeriodic
	stmtUnsetPeriodic
	stmtCount
)

const jobColumns = "id, seq, state, priority, queued, due, started, expires, attempts, crashes, retries, timeout, flags, key, grp, policy, error, kind, sum"

var queries = [stmtCount]string{
	stmtBegin:       "BEGIN IMMEDIATE",
	stmtCommit:      "COMMIT",
	stmtRollback:    "ROLLBACK",
	stmtMeta:        "UPDATE meta SET seq = ?, last = ?, live = ?, ids = ?, sum = ? WHERE one = 1",
	stmtInsertJob:   "INSERT INTO jobs (" + jobColumns + ") VALUES (" + marks(19) + ")",
	stmtUpdateJob:   "UPDATE jobs SET (" + jobColumns[len("id, "):] + ") = (" + marks(19)[len("?1, "):] + ") WHERE id = ?1",
	stmtDeleteJob:   "DELETE FROM jobs WHERE id = ?",
	stmtJob:         "SELECT " + jobColumns + " FROM jobs WHERE id = ?",
	stmtJobs:        "SELECT " + jobColumns + " FROM jobs WHERE id >= ? AND id <= ? ORDER BY id DESC",
	stmtSetArg:      "INSERT INTO args (id, data, sum) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data, sum = excluded.sum",
	stmtArg:         "SELECT data, sum FROM args WHERE id = ?",
	stmtDeleteArg:   "DELETE FROM args WHERE id = ?",
	stmtInsertEnded: "INSERT INTO ended (" + jobColumns + ", dead, ended, result) VALUES (" + marks(22) + ")",
	stmtEnded:       "SELECT " + jobColumns + ", dead, ended, result FROM ended WHERE id = ?",
	stmtEndedPage: "SELECT " + jobColumns + ", dead, ended, result FROM ended WHERE dead = ? AND (ended, id) < (?, ?) " +
		"ORDER BY ended DESC, id DESC LIMIT ?",
	stmtEndedOldest: "SELECT id, ended FROM ended WHERE dead = ? ORDER BY ended, id LIMIT ?",
	stmtEndedCount:  "SELECT count(*) FROM ended WHERE dead = ?",
	stmtDeleteEnded: "DELETE FROM ended WHERE id = ?",
	stmtSet:         "INSERT INTO settings (name, value, sum) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value, sum = excluded.sum",
	stmtUnset:       "DELETE FROM settings WHERE name = ?",
	stmtSettings:    "SELECT name, value, sum FROM settings ORDER BY name",
	stmtPeriodic:    "SELECT name, schedule, seq, last, job, sum FROM periodics WHERE name = ?",
	stmtPeriodics:   "SELECT name, schedule, seq, last, job, sum FROM periodics ORDER BY name",
	stmtSetPeriodic: "INSERT INTO periodics (name, schedule, seq, last, job, sum) VALUES (" + marks(6) + ") " +
		"ON CONFLICT (name) DO UPDATE SET (schedule, seq, last, job, sum) = (excluded.schedule, excluded.seq, excluded.last, excluded.job, excluded.sum)",
	stmtUnsetPeriodic: "DELETE FROM periodics WHERE name = ?",
}

func marks(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("?" + strconv.Itoa(i+1))
	}
	return b.String()
}

// pragmas are set in this order at each open, and read back. The exclusive mode
// comes before the log, which then needs no file of shared memory.
var pragmas = []struct{ name, value, want string }{
	{"locking_mode", "EXCLUSIVE", "exclusive"},
	{"journal_mode", "WAL", "wal"},
	{"synchronous", "FULL", "2"},
	{"fullfsync", "1", "1"},
	{"checkpoint_fullfsync", "1", "1"},
	{"journal_size_limit", "16777216", "16777216"},
	{"wal_autocheckpoint", "1000", "1000"},
	{"foreign_keys", "0", "0"},
	{"trusted_schema", "0", "0"},
	{"cell_size_check", "1", "1"},
	{"cache_size", "-16384", "-16384"},
}

// setPragmas sets each pragma and fails if SQLite has another value then, as
// for a name that is misspelled or a mode that the file system does not allow.
func (c *conn) setPragmas(about *About) error {
	about.Pragmas = make(map[string]string)
	rows, err := c.query("SELECT sqlite_version()")
	if err != nil {
		return err
	}
	about.Version, _ = toText(rows[0][0])
	if about.Created {
		if err := c.exec("PRAGMA auto_vacuum = INCREMENTAL"); err != nil {
			return err
		}
	}
	for _, p := range pragmas {
		if err := c.exec("PRAGMA " + p.name + " = " + p.value); err != nil {
			return err
		}
		rows, err := c.query("PRAGMA " + p.name)
		if err != nil {
			return err
		}
		got := ""
		if len(rows) == 1 && len(rows[0]) == 1 {
			got = strings.ToLower(fmt.Sprint(rows[0][0]))
		}
		about.Pragmas[p.name] = got
		if got != p.want {
			return fmt.Errorf("durable: SQLite has %s = %q instead of %s", p.name, got, p.want)
		}
	}
	return nil
}

// number is the value of a pragma.
func (c *conn) number(pragma string) (int64, error) {
	rows, err := c.query("PRAGMA " + pragma)
	if err != nil {
		return 0, err
	}
	n, _ := toInt(rows[0][0])
	return n, nil
}

// migrate brings the schema up to date, within a transaction.
func (s *Store) migrate() error {
	app, err := s.db.number("application_id")
	if err != nil {
		return err
	}
	version, err := s.db.number("user_version")
	if err != nil {
		return err
	}
	tables, err := s.db.query("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	count, _ := toInt(tables[0][0])
	switch {
	case app == 0 && version == 0 && count == 0: // empty
		if err := s.db.exec(fmt.Sprint("PRAGMA application_id = ", appID)); err != nil {
			return err
		}
	case app != appID || version < 1:
		return ErrNotQueue
	case version > int64(len(schemas)):
		return fmt.Errorf("%w: schema %d, known are those up to %d", ErrNewer, version, len(schemas))
	}
	for ; version < int64(len(schemas)); version++ {
		for _, q := range strings.Split(schemas[version], ";\n") {
			if strings.TrimSpace(q) == "" {
				continue
			}
			if err := s.db.exec(q); err != nil {
				return fmt.Errorf("durable: schema %d: %w", version+1, err)
			}
		}
		if err := s.db.exec(fmt.Sprint("PRAGMA user_version = ", version+1)); err != nil {
			return err
		}
	}
	s.about.Schema = int(version)
	return s.checkSchema()
}

// checkSchema fails if the tables are not those that the program knows: a bit
// may have flipped in their definitions.
func (s *Store) checkSchema() error {
	rows, err := s.db.query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
	if err != nil {
		return err
	}
	have := make(map[string]bool)
	for _, row := range rows {
		text, _ := toText(row[0])
		have[text] = true
	}
	n := 0
	for _, schema := range schemas {
		for _, q := range strings.Split(schema, ";") {
			q = strings.TrimSpace(q)
			if strings.HasPrefix(q, "CREATE") {
				n++
				if !have[q] {
					return fmt.Errorf("%w: schema", ErrDamaged)
				}
			}
		}
	}
	if n != len(have) {
		return fmt.Errorf("%w: schema", ErrDamaged)
	}
	return nil
}

// meta is the row of table meta.
type meta struct{ seq, last, live, ids int64 }

func (m meta) sum() int64 {
	return dataSum(m.seq, "meta", fmt.Appendf(nil, "%d %d %d", m.last, m.live, m.ids))
}

// readMeta reads what is known of the file as a whole. If that row is damaged,
// it is made anew from the others: nothing depends on it but the report.
func (s *Store) readMeta() error {
	rows, err := s.db.query("SELECT seq, last, live, ids, sum FROM meta")
	if err != nil && code(err) != codeCorrupt {
		return err
	}
	good := len(rows) == 1
	if good {
		r := rows[0]
		s.meta.seq, _ = toInt(r[0])
		s.meta.last, _ = toInt(r[1])
		s.meta.live, _ = toInt(r[2])
		s.meta.ids, _ = toInt(r[3])
		sum, _ := toInt(r[4])
		good = sum == s.meta.sum() || s.meta == meta{} && sum == 0
	}
	for _, table := range []string{"jobs", "args", "ended"} {
		rows, err := s.db.query("SELECT max(id) FROM " + table)
		if err != nil {
			if code(err) == codeCorrupt {
				continue
			}
			return err
		}
		if id, ok := toInt(rows[0][0]); ok && id > s.meta.last {
			s.meta.last = id
		}
	}
	if !good {
		s.meta.live, s.meta.ids = -1, 0
	}
	s.about.Live = s.meta.live
	for dead := range s.ended {
		err := s.db.each(stmtEndedCount, func(r row) bool {
			s.ended[dead], _ = r.int(0)
			return true
		}, num(int64(dead)))
		if err != nil && code(err) != codeCorrupt {
			return err
		}
	}
	return nil
}

// Damage is a row that was not loaded.
type Damage struct {
	ID  int64
	Err error
}

// Load calls fn with the jobs that have not ended, the latest id first, and
// returns those that cannot be read. It must be called before Start.
func (s *Store) Load(fn func(Job)) (damaged []Damage, err error) {
	var live, ids, maxSeq int64
	var buf []byte
	err = s.scan(0, s.meta.last, func(r row, id int64) {
		var j Job
		var ok bool
		j, ok, buf = checkJob(r, buf)
		live++
		ids += id
		if !ok || j.State > Parked {
			damaged = append(damaged, Damage{id, fmt.Errorf("%w: checksum of job %d", ErrDamaged, id)})
			return
		}
		maxSeq = max(maxSeq, j.Seq)
		fn(j)
	}, func(id int64, err error) {
		damaged = append(damaged, Damage{id, fmt.Errorf("%w: job %d: %w", ErrDamaged, id, err)})
	})
	if err != nil {
		return damaged, fmt.Errorf("durable: reading the jobs of %s: %w", s.path, err)
	}
	if s.meta.live >= 0 {
		s.about.Missing, s.about.Extra = max(s.meta.live-live, 0), max(live-s.meta.live, 0)
		if live == s.meta.live && ids != s.meta.ids {
			s.about.Missing, s.about.Extra = 1, 1
		}
	}
	s.meta.live, s.meta.ids = live, ids
	s.meta.seq = max(s.meta.seq, maxSeq)
	return damaged, nil
}

// scan reads the rows with ids from lo to hi, descending. Where SQLite cannot
// read a page, it goes on with what it can reach around it: bad is called for
// an id of which not even that is known whether it exists.
func (s *Store) scan(lo, hi int64, fn func(r row, id int64), bad func(int64, error)) error {
	type span struct{ lo, hi int64 }
	spans := []span{{lo, hi}}
	for len(spans) > 0 {
		p := spans[len(spans)-1]
		spans = spans[:len(spans)-1]
		if p.lo > p.hi {
			continue
		}
		next := p.hi
		err := s.db.each(stmtJobs, func(r row) bool {
			id, ok := r.int(0)
			if !ok {
				return false
			}
			next = id - 1
			fn(r, id)
			return true
		}, num(p.lo), num(p.hi))
		switch {
		case err == nil:
		case code(err) != codeCorrupt:
			return err
		case p.lo >= next:
			bad(p.lo, err)
		default:
			middle := p.lo + (next-p.lo)/2
			spans = append(spans, span{p.lo, middle}, span{middle + 1, next})
		}
	}
	return nil
}

// scanJob reads the columns of a job, without looking at the checksum.
func scanJob(r row) (j Job, ok bool) {
	var n [13]int64
	for i := range n {
		if n[i], ok = r.int(i); !ok {
			return j, false
		}
	}
	var text [5]string
	for i := range text {
		if text[i], ok = r.text(13 + i); !ok {
			return j, false
		}
	}
	if n[2] < 0 || n[2] > int64(Dead) {
		return j, false
	}
	return Job{
		ID: n[0], Seq: n[1], State: State(n[2]), Priority: n[3], Queued: n[4], Due: n[5], Started: n[6], Expires: n[7],
		Attempts: n[8], Crashes: n[9], Retries: n[10], Timeout: n[11], Held: n[12]&flagHeld != 0, Again: n[12]&flagAgain != 0,
		Key: text[0], Group: text[1], Policy: text[2], Error: text[3], Kind: text[4],
	}, true
}

// checkJob reads the columns of a job that has not ended, and reports whether
// its checksum is right.
func checkJob(r row, buf []byte) (j Job, ok bool, _ []byte) {
	if j, ok = scanJob(r); !ok {
		return j, false, buf
	}
	sum, buf := j.sum(buf)
	want, ok := r.int(18)
	return j, ok && want == sum, buf
}

// scanEnded reads the columns of an ended job and checks the checksum.
func scanEnded(r row) (Job, error) {
	j, ok := scanJob(r)
	id, _ := r.int(0)
	if ok {
		j.Ended, ok = r.int(20)
	}
	if ok {
		j.Result, ok = r.bytes(21)
	}
	sum, _ := j.sum(nil)
	if want, isInt := r.int(18); !ok || !isInt || want != sum {
		return Job{ID: id}, fmt.Errorf("%w: checksum of ended job %d", ErrDamaged, id)
	}
	return j, nil
}

// Settings returns the settings by their names, without damaged ones. It must
// be called before Start.
func (s *Store) Settings() (map[string]string, []Damage, error) {
	settings := make(map[string]string)
	var damaged []Damage
	err := s.db.each(stmtSettings, func(r row) bool {
		name, _ := r.text(0)
		value, _ := r.text(1)
		if sum, ok := r.int(2); !ok || sum != dataSum(0, name, []byte(value)) {
			damaged = append(damaged, Damage{0, fmt.Errorf("%w: setting %q", ErrDamaged, name)})
			return true
		}
		settings[name] = value
		return true
	})
	if err != nil && code(err) == codeCorrupt {
		damaged = append(damaged, Damage{0, fmt.Errorf("%w: settings: %w", ErrDamaged, err)})
		err = nil
	}
	return settings, damaged, err
}

// syncFolder makes a new file's name durable.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, os.ErrInvalid) || errors.Is(err, errNoSync) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// LastID is the highest id that was ever used.
func (s *Store) LastID() int64 { return s.meta.last }

// SharedKeys are the keys that more than one job has, and how many have them.
// It must be called before Start.
func (s *Store) SharedKeys() (map[string]int, error) {
	keys := make(map[string]int)
	rows, err := s.db.query("SELECT key, count(*) FROM jobs WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1")
	if code(err) == codeCorrupt {
		err = nil // those that cannot be read are found by Load
	}
	for _, row := range rows {
		key, _ := toText(row[0])
		n, _ := toInt(row[1])
		keys[key] = int(n)
	}
	return keys, err
}
