package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/twillgo/twill"
)

// Queue is a dispatch queue that processes on any number of machines share:
// each may put jobs, and each that has a function runs them. It is a
// [twill.ResizableDispatchQueue] whose state is in three streams of a NATS
// JetStream cluster.
//
// A queue is made by [NewQueue]; the zero value does not work. It must not be
// copied. Its methods may be called by several goroutines, and by the function
// itself. Methods without a context wait for the cluster, at most for
// [Options.Wait].
//
// Priorities, groups, delays, keys, the width and the rate hold for the whole
// cluster: one of the processes, the scheduler, runs the root package's queue.
// If it is lost, another one goes on from the journal.
type Queue[A, R any] struct {
	n    *node
	name string
	ids  atomic.Uint64
	fn   func(context.Context, A) (R, error)                 // nil if this process runs no jobs
	run  atomic.Pointer[func(context.Context, A) (R, error)] // fn within the hooks

	mu       sync.Mutex // guards the fields below
	hooks    []hook[A, R]
	jobs     map[string]*Job[A, R] // that have not ended, as far as is known here
	draining bool
	stopped  bool
	closed   bool
	cut      bool // the connection was closed for good
}

// Options are the settings of a [Queue] in one process. The zero value of each
// field is its default.
type Options struct {
	// DispatchOptions are those of the root package's queue. The scheduler's
	// apply, so give each process the same. Width is how many jobs run at once in
	// the whole cluster; 0 means as many as the workers run. Timeout holds for
	// jobs that are put without one, Retry for those that run here, and Context is
	// the parent of the contexts of calls made here. Rate and the callbacks are
	// used while this process schedules. Go is not used.
	twill.DispatchOptions

	// WorkerWidth is how many calls run at once in this process; 0 means 1. If it
	// is more than 1 and this process schedules, a call that has returned may not
	// count while its outcome is stored: up to WorkerWidth-1 jobs more may be
	// underway. See SetWorkerWidth.
	WorkerWidth int

	// Name is the name of this process in lists; "" means that of the host and the
	// number of the process. Version is the version of the program.
	Name, Version string

	// Replicas is how many servers store each message, if the streams do not exist
	// yet; 0 means 1. A cluster of three servers loses nothing with 3 if one is
	// lost.
	Replicas int

	// Lease is for how long a silent process keeps what it has: a worker its jobs,
	// and the scheduler its place. Shorter leases mean that jobs of a lost worker
	// run again sooner, and that a process that stands still for that long loses
	// them. 0 means 5 seconds, and 15 with several Replicas, whose servers need up
	// to 8 seconds to agree on another leader. It is the same in all processes.
	Lease time.Duration

	// Keep is for how long the outcomes of jobs are stored, if the stream does not
	// exist yet; 0 means a day. It has to be longer than a process may be cut off
	// while it runs a job: a job without an outcome may run again.
	Keep time.Duration

	// MaxLost is how many workers may be lost with a job before the job fails with
	// [ErrLost]; 0 means 5, a negative value no limit.
	MaxLost int

	// Wait bounds the calls that have no context; 0 means 30 seconds.
	Wait time.Duration

	// NoSchedule keeps this process from being the scheduler. Of a thousand
	// processes five that may schedule are enough. A process without a function
	// never schedules.
	NoSchedule bool

	// Prefix is the first part of the subjects and, in capitals, of the names of
	// the streams; "" means "twill". API is the prefix of the server's API; ""
	// means "$JS.API".
	Prefix, API string

	// OnEvent is called when something happens that no call returns, on several
	// goroutines of the queue, which wait for it: a scheduler begins or ends, a
	// worker is lost, the cluster does not answer. A trouble that lasts is
	// reported once. It must not call Close. A panic of it is dropped.
	OnEvent func(Event)

	// Show returns the argument of a job as text for the admin page; nil means its
	// JSON, at most 200 bytes of it.
	Show func(arg json.RawMessage) string

	clock func() time.Time // the time of day, nil means time.Now: tests set it
	delay func(step)       // is called before each step of a scheduler, if tests set it
}

// step is a part of the work of a scheduler, which a test can make slow.
type step uint8

const (
	stepPut     step = iota // a message of the inbox is taken
	stepRequest             // a request is carried out
	stepAppend              // a batch is appended to the journal
	stepAfter               // what is to be done after an append is done
	stepOutcome             // an outcome is taken when a term begins
)

func (o *Options) delayed(s step) {
	if o.delay != nil {
		o.delay(s)
	}
}

// Event is something that has happened in the cluster; see Options.OnEvent.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Process string // the process that it is about, by its id
	Job     string // the id of the job that it is about
	Term    uint64 // of the scheduler
	Err     error
}

// EventKind is what an [Event] is about.
type EventKind uint8

// What can happen.
const (
	Trouble          EventKind = iota // the cluster or a message is in the way: see Err
	SchedulerStarted                  // this process schedules
	SchedulerEnded                    // it does not any longer: see Err
	JobLost                           // a worker is lost with a job, which is handed out again; reported by the scheduler
	OutcomeExists                     // a call has ended here, and the job had another outcome: it ran twice, or was canceled
)

var eventKinds = [...]string{"trouble", "scheduler started", "scheduler ended", "job lost", "outcome exists"}

// String returns the name, as in "job lost".
func (k EventKind) String() string {
	if int(k) < len(eventKinds) {
		return eventKinds[k]
	}
	return "EventKind(" + strconv.Itoa(int(k)) + ")"
}

// filled returns the options with the defaults in place.
func (o *Options) filled() (*Options, error) {
	var f Options
	if o != nil {
		f = *o
	}
	if f.WorkerWidth == 0 {
		f.WorkerWidth = 1
	}
	if f.Replicas == 0 {
		f.Replicas = 1
	}
	if f.Lease == 0 {
		f.Lease = 5 * time.Second
		if f.Replicas > 1 {
			f.Lease = 15 * time.Second
		}
	}
	if f.Keep == 0 {
		f.Keep = 24 * time.Hour
	}
	if f.MaxLost == 0 {
		f.MaxLost = 5
	}
	if f.Wait == 0 {
		f.Wait = 30 * time.Second
	}
	if f.Prefix == "" {
		f.Prefix = "twill"
	}
	if f.API == "" {
		f.API = "$JS.API"
	}
	if f.Name == "" {
		host, _ := os.Hostname()
		f.Name = host + "/" + strconv.Itoa(os.Getpid())
	}
	switch {
	case f.Width < 0 || f.WorkerWidth < 0 || f.Replicas < 0 || f.Lease < 0 || f.Keep < 0 || f.Wait < 0:
		return nil, errors.New("jetstream: negative option")
	case !isName(f.Prefix):
		return nil, fmt.Errorf("jetstream: prefix %q is not a name of letters, digits, - and _", f.Prefix)
	}
	return &f, nil
}

// isName reports whether s can be a part of a subject and of the name of a
// stream.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// NewQueue joins the queue of that name, and makes its streams if they do not
// exist. This process runs jobs by calling fn, and may schedule; with a nil fn
// it only puts jobs and looks after them. The names of queues consist of
// letters, digits, - and _. opts may be nil.
//
// A job runs at least once. The context of a call ends when the job is
// canceled, when its time is over, and when it belongs to this process no
// longer, with the cause [ErrLost]. Arguments and results are converted to JSON
// and back.
//
// ctx bounds the call only. The connection stays the caller's: it should
// reconnect without an end ([nats.MaxReconnects] of -1) and notice in a few
// seconds that a server is gone ([nats.PingInterval]); Close the queue first.
// If the connection is closed for good, the futures of jobs that have not ended
// fail with a [*twill.CanceledError] for [nats.ErrConnectionClosed]. Put then
// returns that error. The jobs themselves go on elsewhere.
//
// If streams of the queue are missing for the time of a lease, the futures of
// jobs that have not ended fail with [ErrNoStream], and Put and other calls
// return that error, until the streams are made anew. No process schedules
// until then. A job whose record is in the journal runs after that, and a
// deleted journal or inbox takes its jobs with it.
func NewQueue[A, R any](ctx context.Context, conn *nats.Conn, name string, fn func(context.Context, A) (R, error), opts *Options) (*Queue[A, R], error) {
	if ctx == nil || conn == nil {
		panic("jetstream: NewQueue with a nil context or connection")
	}
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	if !isName(name) {
		return nil, fmt.Errorf("jetstream: queue name %q is not one of letters, digits, - and _", name)
	}
	st, err := newStreams(conn, o, name)
	if err != nil {
		return nil, err
	}
	if err := st.ensure(ctx, o); err != nil {
		return nil, err
	}
	q := &Queue[A, R]{n: newNode(conn, st, o), name: name, fn: fn, jobs: map[string]*Job[A, R]{}}
	q.run.Store(&q.fn)
	q.n.receive, q.n.lost = q.receive, q.lose
	gone := conn.StatusChanged(nats.CLOSED)
	if fn != nil {
		q.n.worker = newWorker(q.n, o.WorkerWidth, func(ctx context.Context, arg json.RawMessage) (json.RawMessage, error) {
			var a A
			if err := json.Unmarshal(arg, &a); err != nil {
				return nil, twill.Permanent(fmt.Errorf("jetstream: argument: %w", err))
			}
			r, err := (*q.run.Load())(ctx, a)
			if err != nil {
				return nil, err
			}
			data, err := json.Marshal(r)
			if err == nil {
				err = checkNesting(data)
			}
			if err != nil {
				return nil, twill.Permanent(fmt.Errorf("jetstream: result: %w", err))
			}
			return data, nil
		})
		q.n.candidate = !o.NoSchedule
	}
	if err := q.n.start(ctx); err != nil {
		conn.RemoveStatusListener(gone)
		q.n.close(err)
		return nil, err
	}
	// Close does not wait for these, as a handler that they call may call Close.
	go q.watch()
	go q.watchConnection(gone)
	return q, nil
}

// watchConnection fails the futures when the connection is closed for good, as
// no end of a job will arrive here any longer.
func (q *Queue[A, R]) watchConnection(gone chan nats.Status) {
	select {
	case <-q.n.ctx.Done():
		q.n.conn.RemoveStatusListener(gone)
	case <-gone:
		q.mu.Lock()
		q.cut = true
		jobs := q.jobs
		q.jobs = map[string]*Job[A, R]{}
		q.mu.Unlock()
		for _, j := range jobs {
			q.later(func() { j.fail(nats.ErrConnectionClosed) })
		}
	}
}

// lose fails the futures when streams are missing, as nothing is known any
// longer about the ends of the jobs.
func (q *Queue[A, R]) lose(err error) {
	q.mu.Lock()
	jobs := q.jobs
	q.jobs = map[string]*Job[A, R]{}
	q.mu.Unlock()
	for _, j := range jobs {
		j.decided.Store(true)
		q.later(func() { j.p.Reject(err) })
	}
}

func newStreams(conn *nats.Conn, o *Options, name string) (*streams, error) {
	api, err := js.NewWithAPIPrefix(conn, o.API)
	if err != nil {
		return nil, err
	}
	return &streams{
		conn: conn, js: api, api: o.API,
		subject: o.Prefix + "." + name, name: strings.ToUpper(o.Prefix) + "-" + name,
		try: min(max(o.Lease/6, 250*time.Millisecond), 3*time.Second), calls: newGoroutines(), slots: make(chan struct{}, maxOutcomes),
	}, nil
}

// bounded is the context of a call that has none.
func (q *Queue[A, R]) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(q.n.ctx, q.n.opts.Wait)
}

// Put adds a job for arg, as in the root package. It returns when the stream
// has it: from then on the job runs, even if this process is lost. With a Key
// or a Size, it also waits for the scheduler.
//
// It returns [twill.ErrStopped] after a stop of q, [twill.ErrQueueFull] if Size
// jobs are pending, [twill.ErrDuplicateJob], with the job that has the key, for
// one that is refused, a [*TooLargeError] for an argument that has, with the
// key and the group, more than half of the server's max_payload less 10 KiB,
// [ErrFull] if the stream has no room, [ErrNoStream] if it does not exist, and
// [ErrOption] for options with a Retry, which is a setting of the process that
// runs the job, or a Key that is not UTF-8. The Context of the options is not
// sent. With any other error the job was not added, except for
// [ErrUnconfirmed].
func (q *Queue[A, R]) Put(arg A, priority int, opts ...twill.JobOptions) (*Job[A, R], error) {
	ctx, cancel := q.bounded()
	defer cancel()
	jobs, err := q.put(ctx, []A{arg}, priority, opts)
	if len(jobs) == 0 {
		return nil, err
	}
	return jobs[0], err
}

// PutWait is Put, but waits while Size jobs are pending. Calls of one process
// and of several are admitted in no order.
func (q *Queue[A, R]) PutWait(ctx context.Context, arg A, priority int, opts ...twill.JobOptions) (*Job[A, R], error) {
	if ctx == nil {
		panic("jetstream: PutWait with a nil context")
	}
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		job, err := q.Put(arg, priority, opts...)
		if !errors.Is(err, twill.ErrQueueFull) {
			return job, err
		}
		room := q.PendingBelow(q.n.opts.Size)
		_, err = room.Await(ctx)
		room.Cancel(nil)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
}

// PutAll adds a job for each of args, all or none, with the same priority and
// options. Together they have to fit into one message.
func (q *Queue[A, R]) PutAll(args []A, priority int, opts ...twill.JobOptions) ([]*Job[A, R], error) {
	if len(args) == 0 {
		return nil, nil
	}
	ctx, cancel := q.bounded()
	defer cancel()
	return q.put(ctx, args, priority, opts)
}

// flagsOf returns the options of a put on the wire. Times of day become
// durations from now.
func flagsOf(priority int, opts []twill.JobOptions, now time.Time) (putFlags, error) {
	f := putFlags{Priority: priority}
	for _, o := range opts {
		if !o.At.IsZero() && o.After != 0 {
			panic("jetstream: JobOptions with both At and After")
		}
		if o.Retry != nil {
			return f, fmt.Errorf("%w: Retry", ErrOption)
		}
		switch {
		case !o.At.IsZero():
			f.After = max(o.At.Sub(now), 0)
		case o.After != 0:
			f.After = max(o.After, 0)
		}
		if !o.Expires.IsZero() {
			f.Expires = o.Expires.Sub(now)
			if f.Expires == 0 {
				f.Expires = -1
			}
		}
		if o.Timeout != 0 {
			f.Timeout = o.Timeout
		}
		if o.Key != "" {
			f.Key = o.Key
		}
		if o.Group != "" {
			f.Group = o.Group
		}
		f.Refuse = f.Refuse || o.Refuse
		f.Again = f.Again || o.Again
		f.Debounce = f.Debounce || o.Debounce
		f.Held = f.Held || o.Held
	}
	if !utf8.ValidString(f.Key) || !utf8.ValidString(f.Group) {
		return f, fmt.Errorf("%w: Key or Group that is not UTF-8", ErrOption)
	}
	return f, nil
}

func (q *Queue[A, R]) put(ctx context.Context, args []A, priority int, opts []twill.JobOptions) ([]*Job[A, R], error) {
	flags, err := flagsOf(priority, opts, q.n.now())
	if err != nil {
		return nil, err
	}
	p := &wirePut{Options: flags}
	jobs := make([]*Job[A, R], len(args))
	size := textSize(flags.Key) + textSize(flags.Group)
	for i, arg := range args {
		data, err := json.Marshal(arg)
		if err == nil {
			err = checkNesting(data)
		}
		if err != nil {
			return nil, fmt.Errorf("jetstream: argument: %w", err)
		}
		size += len(data)
		id := q.n.id + "-" + strconv.FormatUint(q.ids.Add(1), 36)
		p.Jobs = append(p.Jobs, putJob{id, data})
		jobs[i] = newJob(q, id, arg)
		jobs[i].priority, jobs[i].key, jobs[i].group = priority, flags.Key, flags.Group
	}
	if size > q.n.maxArg {
		what := "argument"
		if len(args) > 1 {
			what = "list of arguments"
		}
		return nil, &TooLargeError{What: what, Size: size, Max: q.n.maxArg}
	}
	if err := q.n.streamsGone(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	switch {
	case q.stopped || q.draining:
		q.mu.Unlock()
		return nil, twill.ErrStopped
	case q.cut:
		q.mu.Unlock()
		return nil, nats.ErrConnectionClosed
	}
	for _, j := range jobs {
		j.put = p
		q.jobs[j.id] = j
	}
	q.mu.Unlock()
	seq, err := q.n.putter.put(ctx, p, false)
	if err != nil && !errors.Is(err, ErrUnconfirmed) {
		q.forget(jobs)
		return nil, err
	}
	q.mu.Lock()
	for _, j := range jobs {
		j.inbox = seq
	}
	q.mu.Unlock()
	if err != nil || flags.Key == "" && q.n.opts.Size == 0 {
		return jobs, err
	}
	return q.confirmed(ctx, jobs, &flags)
}

// confirmed waits until the scheduler has taken the jobs, and returns those
// that stand for the puts.
func (q *Queue[A, R]) confirmed(ctx context.Context, jobs []*Job[A, R], flags *putFlags) ([]*Job[A, R], error) {
	poll := time.NewTicker(q.n.opts.Lease / 4)
	defer poll.Stop()
	for i, j := range jobs {
		for waiting := true; waiting; {
			select {
			case <-j.known:
				waiting = false
			case <-j.Done():
				select {
				case <-j.known:
					continue
				default: // it was failed, and nothing is known of it
				}
				_, err := j.Await(ctx)
				return jobs, errors.Join(ErrUnconfirmed, err)
			case <-poll.C:
				q.look(ctx, []*Job[A, R]{j})
			case <-ctx.Done():
				return jobs, errors.Join(ErrUnconfirmed, context.Cause(ctx))
			}
		}
		q.mu.Lock()
		other, refused := j.other, j.refused
		q.mu.Unlock()
		if other != nil {
			jobs[i] = other
			if refused == nil && (flags.Again || flags.Debounce) {
				q.mu.Lock()
				other.arg = j.arg
				q.mu.Unlock()
			}
		}
		if refused == nil {
			continue
		}
		if errors.Is(refused, twill.ErrDuplicateJob) && other != nil {
			return []*Job[A, R]{other}, refused
		}
		return nil, refused
	}
	return jobs, nil
}

// forget drops jobs that were not put.
func (q *Queue[A, R]) forget(jobs []*Job[A, R]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range jobs {
		delete(q.jobs, j.id)
	}
}

// receive takes what this process is sent about jobs.
func (q *Queue[A, R]) receive(m *message) {
	q.mu.Lock()
	for _, id := range m.Taken {
		if j := q.jobs[id]; j != nil {
			j.takenLocked()
		}
	}
	var ended []*Job[A, R]
	for _, id := range m.Ended {
		if j := q.jobs[id]; j != nil {
			ended = append(ended, j)
		}
	}
	q.mu.Unlock()
	for _, o := range m.Outcomes {
		if o != nil {
			q.later(func() { q.settle(o) })
		}
	}
	for _, j := range ended {
		go q.fetch(j)
	}
}

// later calls fn, which settles a future, on another goroutine: handlers may
// block.
func (q *Queue[A, R]) later(fn func()) { q.n.st.calls.run(fn) }

// fetch reads the outcome of a job that has ended, and reports whether there is
// one.
func (q *Queue[A, R]) fetch(j *Job[A, R]) bool {
	o, err := q.n.st.outcome(q.n.ctx, j.id)
	if err != nil || o == nil {
		return err != nil
	}
	q.later(func() { q.settle(o) })
	return true
}

// settle settles the job of o, if this process waits for it.
func (q *Queue[A, R]) settle(o *outcome) {
	if o.Version > wireVersion {
		q.n.report(&WireError{Subject: q.n.st.outcomeSubject(o.ID), Version: o.Version})
		return
	}
	q.mu.Lock()
	j := q.jobs[o.ID]
	delete(q.jobs, o.ID)
	q.mu.Unlock()
	if j == nil {
		return
	}
	var other *Job[A, R]
	if o.To != "" {
		other = q.handle(o.To, nil)
	}
	q.mu.Lock()
	j.outcome = o
	if o.State == outJoined || o.State == outRefused {
		j.other = other
	}
	if o.State == outRefused {
		j.refused = decodeError(o.Error)
	}
	j.takenLocked()
	q.mu.Unlock()
	switch o.State {
	case outJoined:
		j.handled() // it is the other's
		j.p.Follow(other.Future)
	case outFinished:
		var r R
		if err := json.Unmarshal(o.Value, &r); err != nil {
			j.p.Reject(fmt.Errorf("jetstream: result: %w", err))
			return
		}
		j.p.Resolve(r)
	case outCanceled:
		err := decodeError(o.Error)
		var canceled *twill.CanceledError
		if errors.As(err, &canceled) {
			err = canceled.Cause
		}
		j.p.Future().Cancel(err) // its canceler sees the outcome
	default:
		if o.State == outRefused { // Put returns it
			j.handled()
		}
		err := decodeError(o.Error)
		if err == nil {
			err = &Error{fmt.Sprintf("jetstream: outcome with the state %q and no error", o.State)}
		}
		j.p.Reject(err)
	}
}

// handle returns the job with that id: a job that waits here, or else a new
// handle that begins to wait. view is what is known of it.
func (q *Queue[A, R]) handle(id string, view *jobView) *Job[A, R] {
	q.mu.Lock()
	j := q.jobs[id]
	q.mu.Unlock()
	if j != nil {
		return j
	}
	if view == nil {
		ctx, cancel := q.bounded()
		defer cancel()
		if rep, err := q.n.ask(ctx, &request{Op: opJob, ID: id}); err == nil {
			view = rep.Record
		}
	}
	var arg A
	if view != nil {
		_ = json.Unmarshal(view.Record.Arg, &arg)
	}
	j = newJob(q, id, arg)
	if view != nil {
		j.priority, j.key, j.group = view.Record.Priority, view.Record.Key, view.Record.Group
	}
	q.mu.Lock()
	if old := q.jobs[id]; old != nil {
		q.mu.Unlock()
		return old
	}
	q.jobs[id] = j
	j.takenLocked()
	q.mu.Unlock()
	if view == nil || view.State > twill.JobUnderway {
		go q.fetch(j)
	}
	return j
}

// watch looks after the jobs that this process waits for, as messages about
// their ends may be lost.
func (q *Queue[A, R]) watch() {
	for sleep(q.n.ctx, q.n.opts.Lease/2) {
		q.mu.Lock()
		jobs := make([]*Job[A, R], 0, len(q.jobs))
		for _, j := range q.jobs {
			jobs = append(jobs, j)
		}
		q.mu.Unlock()
		for some := range slices.Chunk(jobs, 500) {
			ctx, cancel := context.WithTimeout(q.n.ctx, q.n.opts.Lease)
			q.look(ctx, some)
			cancel()
		}
	}
}

// look asks the scheduler for the jobs, and settles those that have ended.
func (q *Queue[A, R]) look(ctx context.Context, jobs []*Job[A, R]) {
	r := &request{Op: opStatus}
	for _, j := range jobs {
		r.IDs = append(r.IDs, j.id)
	}
	rep, err := q.n.ask(ctx, r)
	if err != nil {
		return
	}
	made := q.n.made()
	q.n.mu.Lock()
	q.n.setInboxLocked(rep.Created)
	q.n.mu.Unlock()
	gone := map[string]bool{}
	for _, id := range rep.Gone {
		gone[id] = true
	}
	for _, j := range jobs {
		q.mu.Lock()
		waits := j.inbox > rep.Inbox && rep.Created == made
		if !gone[j.id] {
			j.takenLocked()
			j.missed = 0
		}
		q.mu.Unlock()
		if gone[j.id] && !waits && !q.fetch(j) {
			q.missing(j, rep.Created)
		}
	}
}

// missing is called if neither the scheduler nor the stream of outcomes knows
// j. One that the scheduler has taken is put again if it may never have become
// a job; else its outcome was not kept.
func (q *Queue[A, R]) missing(j *Job[A, R], made int64) {
	inbox := q.n.made()
	q.mu.Lock()
	j.missed++
	p := j.put
	again := p != nil && time.Since(j.made) < time.Minute && made == inbox
	missed := j.missed
	if missed == 2 && again {
		j.missed = 0
	}
	q.mu.Unlock()
	switch {
	case missed < 2:
	case again:
		ctx, cancel := context.WithTimeout(q.n.ctx, q.n.opts.Lease)
		defer cancel()
		one := *p
		one.Jobs = slices.DeleteFunc(slices.Clone(p.Jobs), func(p putJob) bool { return p.ID != j.id })
		if seq, err := q.n.putter.put(ctx, &one, true); err == nil {
			q.mu.Lock()
			j.inbox = seq
			q.mu.Unlock()
		}
	default:
		q.mu.Lock()
		delete(q.jobs, j.id)
		q.mu.Unlock()
		q.later(func() { j.p.Reject(ErrOutcomeGone) })
	}
}

// Close ends what this process does for the queue, at once: calls that run are
// canceled, and handed to other workers when the lease is over. Stop first. The
// futures of jobs that have not ended fail with a [*twill.CanceledError] for
// [twill.ErrStopped]; the jobs themselves go on. The connection stays open.
func (q *Queue[A, R]) Close() {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	q.closed, q.stopped = true, true
	jobs := q.jobs
	q.jobs = map[string]*Job[A, R]{}
	q.mu.Unlock()
	q.n.leave()
	if q.n.worker != nil {
		q.n.worker.stop(twill.ErrStopped)
	}
	q.n.close(twill.ErrStopped)
	for _, j := range jobs {
		j.fail(twill.ErrStopped)
	}
}
