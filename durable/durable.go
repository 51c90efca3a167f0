package durable

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/steer"
	"github.com/twillgo/twill/durable/internal/store"
)

// Queue is a [twill.ResizableDispatchQueue] whose jobs survive the process:
// each job is in a file before Put returns, and stays there until it has ended.
//
// A queue is made by [Open]; the zero value does not work. It must not be
// copied. Its methods may be called by several goroutines, and by the function
// itself. Those that change something return when the change is on disk. The
// lists that methods return belong to the caller.
//
// The queue in memory does all the scheduling, and what its documentation says
// holds here. The file is its journal. In memory is, for each job that has not
// ended, what decides when it starts, about 400 bytes; arguments are on disk
// until the job starts, and results when it has ended. Up to 1 MB of arguments
// that were put last are in memory as well, and are not read for the start.
type Queue[A, R any] struct {
	fn      func(context.Context, A) (R, error)
	hooked  atomic.Pointer[func(context.Context, *Job[A, R], A) (R, error)] // fn within the hooks, nil if there are none
	opts    Options
	args    coder[A]
	results coder[R]
	inner   *twill.ResizableDispatchQueue[*Job[A, R], R]
	store   *store.Store
	found   Report
	owner   *steer.Server // nil if nothing listens
	kept    *goroutines   // run jobs, and the handlers of their futures

	puts, starts, endings sync.Pool // of *put, *start and *ending

	begun portion[*start] // starts that are yet to be submitted
	over  settler[A, R]   // of the jobs whose ends are on disk

	// mu puts changes of the queue in memory and their way to the disk in one
	// order. Operations are submitted under it, and never waited for; no user
	// code runs under it.
	mu       sync.Mutex
	jobs     table[Job[A, R]]
	recent   recent
	keys     map[string][]*Job[A, R] // jobs with a key, until their ends are on their way to the disk
	stopping bool                    // by StopNow, Drain or Close: what is canceled with ErrStopped goes on in the next process
	closed   bool
	ends     int // since the ended jobs were pruned
	limiter  twill.Limiter
	hooks    []func(context.Context, *Job[A, R], func(context.Context) (R, error)) (R, error)
	every    periodics[A, R]

	idMu   sync.Mutex // may be locked while mu is held
	lastID int64
}

// Report is what Open has found in the file.
type Report struct {
	// Restored is how many jobs were there to be run, Interrupted how many of
	// them were underway when the process before ended, and Parked how many
	// were parked until now.
	Restored, Interrupted, Parked int

	// Dead are the ids of the jobs that have become dead now: their calls have
	// ended with the process too often.
	Dead []string

	// Damaged are the errors about rows whose checksum is wrong or that cannot
	// be read. They were left in the file as they are. Missing is how many jobs
	// are not there that should be, and Extra how many are that should not be.
	Damaged        []error
	Missing, Extra int

	// DroppedFrames is how many pages of the log SQLite has dropped, as they or
	// pages before them are damaged, and DroppedCommits how many transactions
	// they complete: what those wrote is lost. A page that was being written
	// when the power failed counts as well, and then nothing is lost that was
	// acknowledged.
	DroppedFrames, DroppedCommits int
}

// Open opens the file at path and makes it if it does not exist, and returns
// the queue that calls fn for each job. The jobs of the file that have not
// ended are put back in their order, those that were underway when the last
// process ended among them, and start before Open returns.
//
// A job may be called more than once: if the process ends during a call, or
// after it and before the end is on disk. fn should be able to tell by [JobID].
//
// The errors of Open are [ErrInUse], [ErrNotQueue], [ErrNewer], one that is
// [ErrDamaged] if the file as a whole cannot be read, and those of the file
// system. Damage of single jobs is not an error: see [Queue.Found]. It panics
// if fn is nil or a setting is not possible; opts may be nil.
func Open[A, R any](path string, fn func(context.Context, A) (R, error), opts *Options) (*Queue[A, R], error) {
	if fn == nil {
		panic("durable: Open with a nil function")
	}
	o := opts.withDefaults()
	if o.Dispatch.Size < 0 {
		panic("durable: Open: Size must not be negative")
	}
	q := &Queue[A, R]{fn: fn, opts: o, keys: make(map[string][]*Job[A, R]), limiter: o.Dispatch.Rate,
		args: newCoder[A](o.Codec), results: newCoder[R](o.Codec), every: newPeriodics[A, R](), kept: new(goroutines)}
	q.puts.New = func() any { return new(put[A, R]) }
	q.starts.New = func() any { return newStart() }
	q.begun.kept, q.begun.do = q.kept, q.submitStarts
	q.over.q = q
	q.endings.New = func() any { return newEnding[A, R]() }
	inMemory := o.Dispatch
	inMemory.Retry = nil // each job has its own, which tells the journal
	if inMemory.Go != nil {
		inMemory.Go = q.callGo
	} else {
		inMemory.Go = q.begin
	}
	q.inner = twill.NewResizableDispatchQueue(q.run, &inMemory)
	s, err := store.Open(path, store.Options{Wait: o.Wait, AnyFileSystem: o.AnyFileSystem, VFS: o.vfs})
	if err != nil {
		return nil, err
	}
	q.store = s
	if err := q.restore(); err != nil {
		q.inner.Stop()
		q.kept.close()
		return nil, errors.Join(err, s.Close())
	}
	q.listen()
	return q, nil
}

// Found returns what Open has found in the file.
func (q *Queue[A, R]) Found() Report { return q.found }

// put is one call of Put.
type put[A, R any] struct {
	job  *Job[A, R]
	data []byte
	arg  any // as in insert
	opts []twill.JobOptions
	key  string
	held bool

	last [1]twill.JobOptions // room for opts
	in   insert              // of a new job
}

// Put adds a job for arg and returns when it is on disk. Otherwise it is Put of
// [twill.ResizableDispatchQueue].
//
// Beside the errors of that, it returns one that is [ErrNotKept] for an
// argument or a JobOptions.Retry that cannot be kept, [ErrDiskFull],
// [ErrBroken] and [ErrClosed]. A put with an error that is not ErrBroken has no
// effect; after ErrBroken the job may be there when the file is opened again.
//
// JobOptions.Context is lost with the process.
func (q *Queue[A, R]) Put(arg A, priority int, opts ...twill.JobOptions) (*Job[A, R], error) {
	p, err := q.newPut(&arg, opts)
	if err != nil {
		return nil, err
	}
	job, err := q.put(p, priority, nil)
	if err == nil && p.key == "" { // nothing has p any longer
		p.clear()
		q.puts.Put(p)
	}
	return job, err
}

// put adds a job, with the row that in is or, if that is nil, a new one.
func (q *Queue[A, R]) put(p *put[A, R], priority int, in *insert) (*Job[A, R], error) {
	wait, job, err := q.beginPut(p, priority, in)
	return q.written(p, wait, job, err)
}

// beginPut is the part of put before the wait for the disk, for written.
func (q *Queue[A, R]) beginPut(p *put[A, R], priority int, in *insert) (wait waiter, job *Job[A, R], err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.endedLocked(); err != nil {
		return nil, nil, err
	}
	if in != nil && in.readyLocked != nil {
		if err := in.readyLocked(); err != nil {
			return nil, nil, err
		}
	}
	j, err := q.inner.Put(p.job, priority, p.opts...)
	return q.acceptLocked(p, j, q.reasonLocked(err), in)
}

// reasonLocked is err of a put or, if the queue in memory is stopped because
// nothing is written any longer, why that is so.
func (q *Queue[A, R]) reasonLocked(err error) error {
	if err == twill.ErrStopped {
		return cmp.Or(q.endedLocked(), err)
	}
	return err
}

// endedLocked returns why nothing is written any longer, nil if that is not so.
func (q *Queue[A, R]) endedLocked() error {
	if q.closed {
		return ErrClosed
	}
	return q.store.Broken()
}

// PutWait is Put, but waits while Size jobs are pending; see
// [twill.ResizableDispatchQueue.PutWait]. The end of ctx does not end the wait
// for the disk.
func (q *Queue[A, R]) PutWait(ctx context.Context, arg A, priority int, opts ...twill.JobOptions) (*Job[A, R], error) {
	if ctx == nil {
		panic("durable: PutWait with a nil context")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p, err := q.newPut(&arg, opts)
	if err != nil {
		return nil, err
	}
	if p.key == "" {
		j, err := q.inner.PutWait(ctx, p.job, priority, p.opts...)
		q.mu.Lock()
		wait, job, err := q.acceptLocked(p, j, q.reasonLocked(err), nil)
		q.mu.Unlock()
		return q.written(p, wait, job, err)
	}
	// A put that may be merged into another is made under the lock, which no
	// call may hold while it waits.
	for {
		job, err := q.put(p, priority, nil)
		if err != twill.ErrQueueFull {
			return job, err
		}
		if _, err := q.inner.PendingBelow(q.opts.Dispatch.Size).Await(ctx); err != nil && ctx.Err() != nil {
			return nil, cmp.Or(context.Cause(ctx), context.Canceled)
		}
	}
}

// PutAll adds a job for each of args, in one transaction; see
// [twill.ResizableDispatchQueue.PutAll].
func (q *Queue[A, R]) PutAll(args []A, priority int, opts ...twill.JobOptions) ([]*Job[A, R], error) {
	puts := make([]*put[A, R], len(args))
	jobs := make([]*Job[A, R], len(args))
	for i := range args {
		data, err := q.args.encode(&args[i])
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i, err)
		}
		p, err := q.newPutData(data, opts)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i, err)
		}
		puts[i], jobs[i] = p, p.job
	}
	if len(puts) == 0 {
		_, err := q.inner.PutAll(nil, priority, opts...)
		return nil, err
	}
	if puts[0].key != "" {
		return q.putAllOfKey(puts, jobs, priority)
	}
	q.mu.Lock()
	if err := q.endedLocked(); err != nil {
		q.mu.Unlock()
		return nil, err
	}
	inner, err := q.inner.PutAll(jobs, priority, puts[0].opts...)
	if err != nil {
		defer q.mu.Unlock()
		return nil, q.reasonLocked(err)
	}
	size := 0
	for i, j := range inner {
		q.adoptLocked(puts[i], j)
		puts[i].in.row = jobs[i].rowLocked()
		size += len(puts[i].data) + 100
	}
	done := make(chan error, 1)
	q.store.Submit(store.Op{Size: size, Do: func(tx *store.Tx) error {
		for _, p := range puts {
			if err := tx.Insert(p.in.row, p.data); err != nil {
				return err
			}
		}
		return nil
	}, Done: func(err error) { done <- err }})
	q.mu.Unlock()
	if err := <-done; err != nil {
		for _, j := range inner {
			j.Cancel(err)
		}
		return nil, err
	}
	for i, j := range inner {
		if !puts[i].held {
			j.Release()
		}
	}
	return jobs, nil
}

// putAllOfKey is PutAll for jobs that are one.
func (q *Queue[A, R]) putAllOfKey(puts []*put[A, R], jobs []*Job[A, R], priority int) ([]*Job[A, R], error) {
	first := puts[0]
	wait, job, err := func() (waiter, *Job[A, R], error) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if err := q.endedLocked(); err != nil {
			return nil, nil, err
		}
		inner, err := q.inner.PutAll(jobs, priority, first.opts...)
		if err != nil {
			return nil, nil, q.reasonLocked(err)
		}
		// The job has the argument of one of the puts, and that put counts.
		var alias *Job[A, R]
		for _, p := range puts[1:] {
			if inner[0].Arg() == p.job {
				first.data = p.data
				if q.ofKeyLocked(first.key, inner[0]) != nil {
					first.job = p.job
				} else {
					alias = p.job
				}
			}
		}
		wait, job, err := q.acceptLocked(first, inner[0], nil, nil)
		if alias != nil {
			alias.aliasOf(job)
		}
		return wait, job, err
	}()
	job, err = q.written(first, wait, job, err)
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		jobs[i] = job
	}
	return jobs, nil
}

// newPut makes what Put needs, and refuses what cannot be kept.
func (q *Queue[A, R]) newPut(arg *A, opts []twill.JobOptions) (*put[A, R], error) {
	data, err := q.args.encode(arg)
	if err != nil {
		return nil, err
	}
	p, err := q.newPutData(data, opts)
	if err == nil && q.args.flat && p.key == "" {
		p.arg = q.args.copyOf(arg)
	}
	return p, err
}

func (q *Queue[A, R]) newPutData(data []byte, opts []twill.JobOptions) (*put[A, R], error) {
	p := q.puts.Get().(*put[A, R])
	p.job, p.data = &Job[A, R]{q: q}, data
	last := twill.JobOptions{Held: true}
	retry := q.opts.Dispatch.Retry
	var m more
	for _, o := range opts {
		if o.Key != "" {
			p.key = o.Key
		}
		if o.Timeout != 0 {
			m.timeout = o.Timeout
		}
		if o.Retry != nil {
			if m.policy = q.policyOf(o.Retry); m.policy == "" && o.Retry != q.opts.Dispatch.Retry {
				return nil, fmt.Errorf("%w: JobOptions.Retry is not one of Options.Retries", ErrNotKept)
			}
			retry = o.Retry
		}
		p.held = p.held || o.Held
	}
	m.held, m.key = p.held, p.key
	if m.timeout != 0 || m.policy != "" || m.held || m.key != "" {
		p.job.more = &m
	}
	if retry != nil {
		last.Retry = p.job.retry(retry, 0)
	}
	if p.last[0] = last; len(opts) == 0 {
		p.opts = p.last[:]
	} else {
		p.opts = append(opts[:len(opts):len(opts)], last)
	}
	q.idMu.Lock()
	defer q.idMu.Unlock()
	id, err := store.NextID(q.lastID)
	if err != nil {
		return nil, err
	}
	q.lastID, p.job.id = id, id
	return p, nil
}

// clear makes p as good as new.
func (p *put[A, R]) clear() {
	in := p.in
	*p = put[A, R]{}
	p.in.reuse(&in)
}

// policyOf is the name of the settings of a retry, "" if they have none.
func (q *Queue[A, R]) policyOf(o *twill.RetryOptions) string {
	for name, p := range q.opts.Retries {
		if p == o {
			return name
		}
	}
	return ""
}

// waiter waits until something is on disk.
type waiter interface{ wait() error }

// waitFunc is a waiter.
type waitFunc func() error

func (f waitFunc) wait() error { return f() }

// acceptLocked takes the result of a put into the queue in memory: a new job,
// one that the put was merged into, or an error. What it returns waits until
// the put is on disk.
func (q *Queue[A, R]) acceptLocked(p *put[A, R], j *twill.Job[*Job[A, R], R], err error, in *insert) (waiter, *Job[A, R], error) {
	if err != nil {
		if j != nil {
			return nil, q.ofKeyLocked(p.key, j), err // a duplicate
		}
		return nil, nil, err
	}
	if p.key != "" {
		if h := q.ofKeyLocked(p.key, j); h != nil {
			return waitFunc(q.mergeLocked(p, h)), h, nil
		}
	}
	h := p.job
	q.adoptLocked(p, j)
	if in == nil {
		in = &p.in
		in.data, in.arg = p.data, p.arg
	}
	in.setUp()
	if earlier := q.endingLocked(h, p.key); earlier != nil {
		// The end of an earlier job of the key is not on its way to the disk
		// yet, where it must come first.
		h.more.insert = in
		return waitFunc(func() error {
			for _, e := range earlier {
				for !e.has(bitSubmitted) {
					time.Sleep(20 * time.Microsecond)
				}
			}
			q.mu.Lock()
			h.more.insert = nil
			q.insertLocked(h, in)
			q.mu.Unlock()
			return in.wait()
		}), h, nil
	}
	q.insertLocked(h, in)
	return in, h, nil
}

// errNotWritten is what a put fails with that was merged into one that has
// failed.
var errNotWritten = errors.New("durable: the job that the put was merged into was not written")

// adoptLocked makes j, which the queue in memory has accepted, the job of p.
func (q *Queue[A, R]) adoptLocked(p *put[A, R], j *twill.Job[*Job[A, R], R]) {
	h := p.job
	h.inner = j
	h.set(bitAdopting)
	h.Future = j.Via(h.deliver)
	h.clear(bitAdopting)
	q.jobs.set(h.id, h)
	if p.key != "" {
		q.keys[p.key] = append(q.keys[p.key], h)
		q.every.runBegunLocked(p.key)
	}
}

// insertLocked sends a new job to the disk.
func (q *Queue[A, R]) insertLocked(h *Job[A, R], in *insert) {
	in.row = h.rowLocked()
	in.bits = &h.bits
	if in.from == 0 && in.row.Key == "" && in.row.Due == 0 && !in.row.Held {
		q.recent.put(h.id, in.data, in.arg)
	}
	q.store.Submit(store.Op{Size: len(in.data) + 100, Do: in.do, Done: in.report})
}

// insert is a job on its way to the disk. It is used again when it is there.
type insert struct {
	data   []byte
	arg    any   // nil or a pointer to the argument, which need not be decoded
	from   int64 // the job whose argument it has, if there is no data
	forget bool  // that job, which is dead

	readyLocked func() error             // nil or whether it may be put
	also        func(tx *store.Tx) error // nil or what the transaction does besides

	row    store.Job
	bits   *atomic.Uint32 // of the job
	done   chan error     // has the outcome
	do     func(tx *store.Tx) error
	report func(err error)
}

// setUp makes what is used again.
func (in *insert) setUp() {
	if in.done == nil {
		in.done, in.do, in.report = make(chan error, 1), in.write, in.written
	}
}

// reuse takes that from old, whose waiters have returned.
func (in *insert) reuse(old *insert) {
	if in.done, in.do, in.report = old.done, old.do, old.report; in.done != nil {
		<-in.done
	}
}

func (in *insert) write(tx *store.Tx) error {
	data := in.data
	if in.from != 0 {
		var err error
		if data, err = tx.Arg(in.from); err != nil {
			return err
		}
		if in.forget {
			if err := tx.Forget(in.from); err != nil {
				return err
			}
		}
	}
	if in.also != nil {
		if err := in.also(tx); err != nil {
			return err
		}
	}
	return tx.Insert(in.row, data)
}

func (in *insert) written(err error) {
	if err != nil {
		in.bits.Or(bitRefused)
	}
	in.done <- err
}

// wait returns the outcome. It may be called more than once.
func (in *insert) wait() error {
	err := <-in.done
	in.done <- err
	return err
}

// mergeLocked writes what a put that was merged into h has changed.
func (q *Queue[A, R]) mergeLocked(p *put[A, R], h *Job[A, R]) func() error {
	var data []byte
	if h.inner.Arg() == p.job {
		data = p.data
	}
	p.job.aliasOf(h)
	if in := h.moreLocked().insert; in != nil { // not on its way yet
		if data != nil {
			in.data, in.from = data, 0
		}
		return in.wait
	}
	if h.inner.State() != twill.JobPending {
		return func() error { return q.store.Run(func(*store.Tx) error { return nil }) } // it is written before this returns
	}
	row := h.rowLocked()
	return q.submitLocked(false, len(data), func(tx *store.Tx) error {
		found, err := tx.Update(row)
		switch {
		case err == nil && !found && h.has(bitRefused):
			err = errNotWritten
		case err == nil && found && data != nil:
			err = tx.SetArg(row.ID, data)
		}
		return err
	})
}

// submitLocked sends an operation to the disk. The function that it returns
// waits for it.
func (q *Queue[A, R]) submitLocked(must bool, size int, do func(tx *store.Tx) error) func() error {
	done := make(chan error, 1)
	q.store.Submit(store.Op{Do: do, Must: must, Size: size, Done: func(err error) { done <- err }})
	return func() error { return <-done }
}

// updateLocked writes h as it is.
func (q *Queue[A, R]) updateLocked(h *Job[A, R]) func() error {
	row := h.rowLocked()
	return q.submitLocked(false, 0, func(tx *store.Tx) error {
		_, err := tx.Update(row)
		return err
	})
}

// ofKeyLocked is the job of a key whose job in memory is j, nil if that is new.
func (q *Queue[A, R]) ofKeyLocked(key string, j *twill.Job[*Job[A, R], R]) *Job[A, R] {
	for _, h := range q.keys[key] {
		if h.inner == j {
			return h
		}
	}
	return nil
}

// endingLocked are the jobs of a key that have ended, but whose ends are not on
// their way to the disk.
func (q *Queue[A, R]) endingLocked(h *Job[A, R], key string) (ending []*Job[A, R]) {
	if key == "" {
		return nil
	}
	for _, e := range q.keys[key] {
		if e != h && !e.has(bitSubmitted) && isFinal(e.inner.State()) {
			ending = append(ending, e)
		}
	}
	return ending
}

func isFinal(s twill.JobState) bool { return s >= twill.JobFinished }

// written ends a put: it waits for the disk and lets the job start.
func (q *Queue[A, R]) written(p *put[A, R], wait waiter, h *Job[A, R], err error) (*Job[A, R], error) {
	if err != nil {
		return h, err
	}
	if err := wait.wait(); err != nil {
		if h == p.job {
			h.inner.Cancel(err)
		}
		return nil, err
	}
	if h == p.job && !p.held {
		h.inner.Release()
	}
	return h, nil
}

// Find returns the job with that id, of this process or an earlier one: one
// that has not ended, or has and is kept. The error is ErrNoJob if there is
// none.
func (q *Queue[A, R]) Find(id string) (*Job[A, R], error) {
	n, err := parseID(id)
	if err != nil {
		return nil, err
	}
	for range 2 {
		q.mu.Lock()
		h := q.jobs.get(n)
		q.mu.Unlock()
		if h != nil {
			return h, nil
		}
		var p store.Job
		err = q.store.Run(func(tx *store.Tx) (err error) {
			p, err = tx.Ended(n)
			return err
		})
		if err == nil {
			return q.pastJob(p), nil
		}
		if !errors.Is(err, ErrNoJob) {
			break
		}
	}
	return nil, err
}

// pastJob is a job that has ended and is not in memory.
func (q *Queue[A, R]) pastJob(p store.Job) *Job[A, R] {
	h := &Job[A, R]{q: q, id: p.ID, more: &more{past: &p}}
	if p.State != store.Finished {
		h.Future = twill.Rejected[R](endError(&p))
	} else if v, err := q.results.decode(p.Result); err != nil {
		h.Future = twill.Rejected[R](fmt.Errorf("durable: reading the result of job %d: %w", p.ID, err))
	} else {
		h.Future = twill.Resolved(v)
	}
	_, _ = h.Await(context.Background()) // the failure is an old one
	return h
}

// arg reads the argument of a job.
func (q *Queue[A, R]) arg(id int64) (arg A, err error) {
	data, err := q.data(id)
	if err != nil {
		return arg, err
	}
	return q.args.decode(data)
}

func (q *Queue[A, R]) data(id int64) (data []byte, err error) {
	err = q.store.Run(func(tx *store.Tx) (err error) {
		if data, err = tx.Arg(id); errors.Is(err, ErrDamaged) && !tx.Has(id) {
			err = fmt.Errorf("%w: %d", ErrNoJob, id)
		}
		return err
	})
	return data, err
}

// Close ends the queue: no job starts any longer, and when those underway have
// ended, or ctx has, the file is closed. Jobs that are then underway are
// canceled with [twill.ErrStopped] and run again in the next process; this
// costs them no attempt, and Close does not wait for their calls. The futures
// of jobs that have not ended fail with a [*twill.CanceledError] with that
// cause.
//
// Close may be called again. It must not be called by a job.
func (q *Queue[A, R]) Close(ctx context.Context) error {
	if ctx == nil {
		panic("durable: Close with a nil context")
	}
	stopped := q.inner.Stop()
	if _, err := stopped.Await(ctx); err != nil {
		q.StopNow()
	}
	q.stopListening()
	q.mu.Lock()
	first := !q.closed
	q.closed = true
	q.mu.Unlock()
	if !first {
		return q.store.Close()
	}
	close(q.every.stop)
	err := q.store.Close() // when what was submitted is written
	q.mu.Lock()
	var left []*Job[A, R]
	for _, h := range q.jobs.all {
		left = append(left, h)
	}
	q.jobs = table[Job[A, R]]{}
	q.mu.Unlock()
	for _, h := range left {
		h.inner.Cancel(twill.ErrStopped)
	}
	q.kept.close()
	if err == nil {
		err = q.store.Broken()
	}
	return err
}

// setting is a value that was set while the queue ran, and what Options had
// then: if that is another one now, the program has changed.
type setting[T comparable] struct {
	Base  T `json:"base"`
	Value T `json:"value"`
}

// readSetting returns the value to begin with.
func readSetting[T comparable](text string, base T) (value T, kept bool) {
	var s setting[T]
	if text == "" || json.Unmarshal([]byte(text), &s) != nil || s.Base != base {
		return base, false
	}
	return s.Value, true
}

func writeSetting[T comparable](base, value T) []byte {
	text, _ := json.Marshal(setting[T]{base, value})
	return text
}
