package steer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twillgo/twill/durable/internal/store"
)

// Service does what requests ask for.
type Service struct {
	Store *store.Store
	Queue Queue

	large sync.Mutex // held by Backup and Compact
}

// How many rows are read in one transaction, and how many jobs are changed at a
// time: between them the queue goes on.
const (
	pageRows  = 512
	pageBytes = 8 << 20 // of arguments
)

// Do is part of [Doer].
func (s *Service) Do(ctx context.Context, req *Request, emit func(*Reply) error) error {
	w := &work{Service: s, ctx: ctx, req: req, emit: emit, last: time.Now()}
	do := map[string]func() error{
		Info: w.info, List: w.list, Retry: w.retry, Cancel: w.cancel, Import: w.importJobs, Backup: w.backup, Compact: w.compact, Check: w.check,
	}[req.Do]
	if req.Version != Version || do == nil {
		return fmt.Errorf("request %q of version %d: the owner of the queue knows version %d; use the command of the same version", req.Do, req.Version, Version)
	}
	if err := do(); err != nil {
		return err
	}
	return emit(&Reply{End: &w.end})
}

// work is one request that is being carried out.
type work struct {
	*Service
	ctx  context.Context
	req  *Request
	emit func(*Reply) error
	end  End

	total int64     // how many jobs there are to look at
	seen  int64     // and were looked at
	last  time.Time // when progress was reported
}

// progress reports it now and then.
func (w *work) progress(what string, done, of int64) error {
	if time.Since(w.last) < 500*time.Millisecond {
		return nil
	}
	w.last = time.Now()
	return w.emit(&Reply{Progress: &Progress{done, of, what}})
}

func (w *work) damage(err error) error {
	w.end.Damaged++
	return w.emit(&Reply{Damage: err.Error()})
}

func (w *work) outcome(o Outcome) error {
	switch o.Outcome {
	case Done:
		w.end.Done++
	case Skipped:
		w.end.Skipped++
	default:
		w.end.Failed++
	}
	return w.emit(&Reply{Outcome: &o})
}

func (w *work) outcomes(list []Outcome) error {
	for _, o := range list {
		if err := w.outcome(o); err != nil {
			return err
		}
	}
	return nil
}

// found is a job that a request is about.
type found struct {
	store.Job
	arg    []byte // if it was asked for
	damage error  // of the argument
}

// each calls do with the jobs of the request, some at a time, in the order of
// their ids: those whose ids are not above the highest one at the beginning.
func (w *work) each(args bool, do func([]found) error) error {
	if len(w.req.IDs) > 0 {
		return w.eachID(args, do)
	}
	var last int64
	err := w.Store.View(func(tx *store.Tx) error {
		last = tx.LastID()
		counts, err := tx.Counts()
		live, ended := w.req.Filter.tables()
		w.total = 0
		for s, n := range counts {
			if isEnded(store.State(s)) && ended || !isEnded(store.State(s)) && live {
				w.total += n
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for next, more := int64(0), true; more; {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		var page []found
		var damage []error
		if page, damage, next, more, err = w.page(next, last, args); err != nil {
			return err
		}
		for _, err := range damage {
			if err := w.damage(err); err != nil {
				return err
			}
		}
		w.end.Matched += int64(len(page))
		if len(page) > 0 {
			if err := do(page); err != nil {
				return err
			}
		}
		if err := w.progress("jobs", w.seen, w.total); err != nil {
			return err
		}
	}
	return nil
}

// row is a row that was read.
type row struct {
	id int64
	store.Job
	err error
}

// page reads the jobs with ids from lo on that the filter wants, and returns
// where to go on if there is more up to hi.
func (w *work) page(lo, hi int64, args bool) (page []found, damage []error, next int64, more bool, err error) {
	now := time.Now()
	f := &w.req.Filter
	live, ended := f.tables()
	var seen int64
	err = w.Store.View(func(tx *store.Tx) (err error) {
		page, damage, next, more, seen = nil, nil, 0, false, 0 // it may be called again
		var rows []row
		read := func(j store.Job, err error) bool {
			rows = append(rows, row{j.ID, j, err})
			return true
		}
		lost := func(from, to int64, err error) {
			rows = append(rows, row{id: from, err: fmt.Errorf("%w: jobs %d to %d cannot be read: %w", store.ErrDamaged, from, to, err)})
		}
		if live {
			if next, more, err = tx.Page(false, lo, hi, pageRows, read, lost); err != nil {
				return err
			}
		}
		if ended { // not beyond the others, which are read again if there is more before them
			to := hi
			if more {
				to = next - 1
			}
			after, rest, err := tx.Page(true, lo, to, pageRows, read, lost)
			if err != nil {
				return err
			}
			if rest {
				next, more = after, true
			}
		}
		slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.id, b.id) })
		size := 0
		for _, r := range rows {
			if more && r.id >= next {
				break
			}
			if size > pageBytes {
				next, more = r.id, true
				break
			}
			seen++
			j := found{Job: r.Job}
			switch {
			case r.err != nil:
				damage = append(damage, r.err)
				continue
			case !f.matches(&j.Job, now):
				continue
			case args || f.needsArg():
				if j.arg, j.damage = tx.Arg(j.ID); j.damage != nil && !errors.Is(j.damage, store.ErrDamaged) {
					return j.damage
				}
				size += len(j.arg) + len(j.Result)
				if f.needsArg() && (j.damage != nil || !f.matchesArg(j.arg)) {
					continue
				}
			}
			page = append(page, j)
		}
		return nil
	})
	w.seen += seen
	return page, damage, next, more, err
}

// eachID is each for jobs by their ids. A job that there is not is skipped.
func (w *work) eachID(args bool, do func([]found) error) error {
	for ids := range slices.Chunk(w.req.IDs, 64) {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		var page []found
		var missing []Outcome
		var damage []error
		err := w.Store.View(func(tx *store.Tx) error {
			page, missing, damage = nil, nil, nil
			for _, id := range ids {
				j, err := tx.Job(id)
				if errors.Is(err, store.ErrNoJob) {
					j, err = tx.Ended(id)
				}
				switch {
				case errors.Is(err, store.ErrNoJob):
					missing = append(missing, Outcome{ID: strconv.FormatInt(id, 10), Outcome: Skipped, Reason: "no such job"})
				case errors.Is(err, store.ErrDamaged):
					damage = append(damage, err)
				case err != nil:
					return err
				default:
					f := found{Job: j}
					if args {
						if f.arg, f.damage = tx.Arg(id); f.damage != nil && !errors.Is(f.damage, store.ErrDamaged) {
							return f.damage
						}
					}
					page = append(page, f)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, err := range damage {
			if err := w.damage(err); err != nil {
				return err
			}
		}
		if err := w.outcomes(missing); err != nil {
			return err
		}
		w.end.Matched += int64(len(page))
		if len(page) > 0 {
			if err := do(page); err != nil {
				return err
			}
		}
		if err := w.progress("jobs", w.end.Matched, int64(len(w.req.IDs))); err != nil {
			return err
		}
	}
	return nil
}

// list is the request List.
func (w *work) list() error {
	var latest []found // a ring of the last ones, if these are wanted
	show := func(j *found) error {
		w.end.Shown++
		out := newJob(&j.Job)
		if w.req.Args {
			out.Arg = j.arg
			if j.damage != nil {
				out.Damage = j.damage.Error()
				w.end.Damaged++
			}
		} else {
			out.Result = nil
		}
		if w.req.Why && !isEnded(j.State) {
			out.Why = w.Queue.Why(j.ID)
		}
		return w.emit(&Reply{Job: out})
	}
	err := w.each(w.req.Args, func(page []found) error {
		for i := range page {
			switch {
			case w.req.Latest && (w.req.Limit == 0 || len(latest) < w.req.Limit):
				latest = append(latest, page[i])
			case w.req.Latest:
				latest[int(w.end.Shown)%w.req.Limit] = page[i]
				w.end.Shown++
			case w.req.Limit == 0 || int(w.end.Shown) < w.req.Limit:
				if err := show(&page[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || !w.req.Latest {
		return err
	}
	at := int(w.end.Shown) // of the oldest one, modulo the length
	w.end.Shown = 0
	for i := range latest {
		if err := show(&latest[(at+len(latest)-1-i)%len(latest)]); err != nil {
			return err
		}
	}
	return nil
}

// cancel is the request Cancel. Of jobs by a filter, those that are underway
// are canceled if the filter names that state.
func (w *work) cancel() error {
	if len(w.req.IDs) == 0 && len(w.req.Filter.States) == 0 {
		w.req.Filter.States = []string{store.Pending.String(), store.Parked.String()}
	}
	cause := errors.New(w.req.Cause)
	return w.each(false, func(page []found) error {
		var ids []int64
		for i := range page {
			id := strconv.FormatInt(page[i].ID, 10)
			switch {
			case isEnded(page[i].State):
				if err := w.outcome(Outcome{ID: id, Outcome: Skipped, Reason: errEnded{page[i].State}.Error()}); err != nil {
					return err
				}
			case w.req.Dry:
				if err := w.outcome(Outcome{ID: id, Outcome: Done}); err != nil {
					return err
				}
			default:
				ids = append(ids, page[i].ID)
			}
		}
		if len(ids) == 0 {
			return nil
		}
		return w.outcomes(w.Queue.Cancel(w.ctx, ids, cause))
	})
}

// retry is the request Retry. Of jobs by a filter, those that failed or are
// dead are put again, and others if the filter names their state.
func (w *work) retry() error {
	if len(w.req.IDs) == 0 && len(w.req.Filter.States) == 0 {
		w.req.Filter.States = []string{store.Failed.String(), store.Dead.String()}
	}
	taken := make(map[string]int64) // keys, by what a dry run would do
	return w.each(false, func(page []found) error {
		var jobs []store.Job
		for i := range page {
			j := &page[i]
			reason := ""
			switch {
			case j.State == store.Parked:
				reason = "is parked: it is tried again when the program is started again"
			case !isEnded(j.State):
				reason = "is " + j.State.String()
			case j.Key != "":
				by, err := w.Queue.KeyTaken(j.Key)
				if err != nil {
					return err
				}
				if by == 0 && w.req.Dry {
					by = taken[j.Key]
					taken[j.Key] = j.ID
				}
				if by != 0 {
					reason = keyTaken(j.Key, by)
				}
			}
			id := strconv.FormatInt(j.ID, 10)
			switch {
			case reason != "":
				if err := w.outcome(Outcome{ID: id, Outcome: Skipped, Reason: reason}); err != nil {
					return err
				}
			case w.req.Dry:
				if err := w.outcome(Outcome{ID: id, Outcome: Done}); err != nil {
					return err
				}
			default:
				jobs = append(jobs, j.Job)
			}
		}
		if len(jobs) == 0 {
			return nil
		}
		return w.outcomes(w.Queue.Retry(jobs))
	})
}

func keyTaken(key string, by int64) string { return fmt.Sprintf("job %d has its key, %q", by, key) }

// importJobs is the request Import.
func (w *work) importJobs() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	w.end.Matched = int64(len(w.req.Jobs))
	var jobs []Imported
	var lines []int
	for i := range w.req.Jobs {
		j := &w.req.Jobs[i]
		in, err := j.row(w.req.Again)
		if err == nil {
			jobs = append(jobs, in)
			lines = append(lines, j.Line)
			continue
		}
		o := Outcome{ID: j.ID, Line: j.Line, Outcome: Failed, Reason: err.Error()}
		if _, ended := errors.AsType[errEnded](err); ended {
			o.Outcome = Skipped
		}
		if err := w.outcome(o); err != nil {
			return err
		}
	}
	jobs, lines, err := w.withoutPresent(jobs, lines)
	if err != nil || len(jobs) == 0 {
		return err
	}
	outcomes := w.Queue.Import(jobs, w.req.Dry)
	for i := range outcomes {
		outcomes[i].Line = lines[i]
	}
	return w.outcomes(outcomes)
}

// withoutPresent skips jobs that the file has, or an earlier line, with the
// same id and argument. If ended jobs are to be put once more, it does not look
// for them in the file.
func (w *work) withoutPresent(jobs []Imported, lines []int) (rest []Imported, restLines []int, err error) {
	reasons := make([]string, len(jobs))
	err = w.Store.View(func(tx *store.Tx) error {
		for i := range jobs {
			reasons[i] = ""
			id := jobs[i].Row.ID
			if id == 0 || id > tx.LastID() {
				continue
			}
			j, err := tx.Job(id)
			if errors.Is(err, store.ErrNoJob) && !w.req.Again {
				j, err = tx.Ended(id)
			}
			if err == nil {
				var arg []byte
				if arg, err = tx.Arg(id); err == nil && bytes.Equal(arg, jobs[i].Data) {
					reasons[i] = "is in the queue (" + j.State.String() + ")"
				}
			}
			if err != nil && !errors.Is(err, store.ErrNoJob) && !errors.Is(err, store.ErrDamaged) {
				return err
			}
		}
		return nil
	})
	earlier := make(map[int64]int) // jobs by their ids
	for i := range jobs {
		if id := jobs[i].Row.ID; id != 0 && reasons[i] == "" {
			if first, ok := earlier[id]; !ok {
				earlier[id] = i
			} else if bytes.Equal(jobs[first].Data, jobs[i].Data) {
				reasons[i] = fmt.Sprintf("is in line %d as well", lines[first])
			}
		}
		if reasons[i] == "" {
			rest, restLines = append(rest, jobs[i]), append(restLines, lines[i])
			continue
		}
		o := Outcome{ID: strconv.FormatInt(jobs[i].Row.ID, 10), Line: lines[i], Outcome: Skipped, Reason: reasons[i]}
		if err := w.outcome(o); err != nil {
			return nil, nil, err
		}
	}
	return rest, restLines, err
}

var errLarge = errors.New("a backup is being made, or the file is compacted")

// backup is the request Backup.
func (w *work) backup() (err error) {
	if !w.large.TryLock() {
		return errLarge
	}
	defer w.large.Unlock()
	b, err := w.Store.StartBackup(w.req.Path)
	if err != nil {
		return err
	}
	whole := false
	defer func() { err = errors.Join(err, b.Finish(whole)) }()
	for {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		left, all, err := b.Step(1024)
		if err != nil {
			return err
		}
		w.end.Pages = all
		if whole = left == 0; whole {
			return nil
		}
		if err := w.progress("pages", int64(all-left), int64(all)); err != nil {
			return err
		}
	}
}

// compact is the request Compact.
func (w *work) compact() error {
	if !w.large.TryLock() {
		return errLarge
	}
	defer w.large.Unlock()
	if w.req.Dry {
		z, err := w.Store.Sizes()
		w.end.Before = &z
		return err
	}
	before, after, err := w.Store.Compact()
	w.end.Before, w.end.After = &before, &after
	return err
}

// info is the request Info.
func (w *work) info() error {
	a := w.Store.About()
	about := &About{File: a.Path, SQLite: a.Version, Schema: a.Schema, FileSystem: a.FileSystem, Pragmas: a.Pragmas, Jobs: make(map[string]int64)}
	w.end.About = about
	if l := w.Queue.Live(); l != nil {
		about.Owner, about.Paused, about.Stopped, about.Width = l.Process, l.Paused, l.Stopped, l.Width
	}
	var err error
	if about.Sizes, err = w.Store.Sizes(); err != nil {
		return err
	}
	return w.Store.View(func(tx *store.Tx) error {
		counts, err := tx.Counts()
		if err != nil {
			return err
		}
		for s, n := range counts {
			about.Jobs[store.State(s).String()] = n
		}
		about.LastID = tx.LastID()
		queued, err := tx.Oldest()
		if err != nil {
			return err
		}
		about.Oldest = toTime(queued)
		periodics, _, err := tx.Periodics()
		if err != nil {
			return err
		}
		about.Periodics = nil // it may be called again
		for _, p := range periodics {
			one := Periodic{Name: Text(p.Name), Schedule: Text(p.Text), Last: toTime(p.Last)}
			if p.Job != 0 {
				one.Job = strconv.FormatInt(p.Job, 10)
			}
			about.Periodics = append(about.Periodics, one)
		}
		about.Settings, _, err = tx.Settings()
		if about.Owner == 0 {
			_, about.Paused = about.Settings["paused"]
		}
		return err
	})
}

// check is the request Check.
func (w *work) check() error {
	err := w.each(true, func(page []found) error {
		for i := range page {
			j := &page[i]
			if j.damage != nil {
				if err := w.damage(j.damage); err != nil {
					return err
				}
			}
			if err := w.checkMemory(j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var damage []error
	if err := w.Store.View(func(tx *store.Tx) (err error) {
		if _, damage, err = tx.Settings(); err != nil {
			return err
		}
		more, err := tx.Verify()
		damage = append(damage, more...)
		if err != nil {
			return err
		}
		_, periodics, err := tx.Periodics()
		for _, d := range periodics {
			damage = append(damage, d.Err)
		}
		return err
	}); err != nil {
		return err
	}
	if w.req.Deep {
		if err := w.emit(&Reply{Progress: &Progress{What: "SQLite's check of the whole file"}}); err != nil {
			return err
		}
		problems, err := w.Store.Integrity()
		if err != nil {
			return err
		}
		for _, p := range problems {
			damage = append(damage, errors.New("SQLite: "+p))
		}
	}
	for _, err := range damage {
		if err := w.damage(err); err != nil {
			return err
		}
	}
	return w.info()
}

// checkMemory reports a job that the file has and the queue has not.
func (w *work) checkMemory(j *found) error {
	if isEnded(j.State) || w.Queue.Live() == nil || w.Queue.Has(j.ID) {
		return nil
	}
	err := w.Store.View(func(tx *store.Tx) error {
		_, err := tx.Job(j.ID) // it may have ended since it was read
		return err
	})
	if err != nil {
		return nil
	}
	return w.damage(fmt.Errorf("job %d is in the file and not in the memory of the queue: it runs when the file is opened again", j.ID))
}
