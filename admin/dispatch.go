package admin

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/twillgo/twill"
)

// DispatchOptions are the settings of [Dispatch]. The zero value of each field
// is its default.
type DispatchOptions[A any] struct {
	// Show returns the argument of a job as text for the page, the API and
	// searches. If it is nil, only the type and the size are shown. It is called
	// concurrently on the goroutines of requests, once for each job that a search
	// scans; it must leave secrets out. Its result is only shown: a job that is
	// run again gets the original argument.
	Show func(arg A) string

	// Keep is the number of ended jobs that are kept, with their arguments and
	// errors, to be shown and to be run again; 0 means 200, and a negative number
	// none. More than 10,000 count as 10,000.
	Keep int

	// Stacks runs every call under a pprof label, by which the page finds the
	// goroutines of a job that is underway. Goroutines that the call starts
	// inherit the label. It costs about three allocations for each call. After the
	// call has returned, the labels are those of the job's context again.
	Stacks bool

	// Rate is the limiter of the queue. The page shows it, if it is a
	// *rate.Limiter of golang.org/x/time/rate, and sets it again when a temporary
	// change ends.
	Rate twill.Limiter
}

// maxKeep is the maximum number of ended jobs of one queue that are kept.
const maxKeep = 10_000

// DispatchQueue makes a [twill.ResizableDispatchQueue] a [Queue].
type DispatchQueue[A, R any] struct {
	*twill.ResizableDispatchQueue[A, R]
	opts DispatchOptions[A]
	stop context.CancelFunc

	number uint64 // of the queue, in labels

	mu      sync.Mutex // guards the fields below
	rate    twill.Limiter
	ended   []endedJob[A]               // a ring
	next    int                         // where the next ended job goes, if the ring is full
	byID    map[string]int              // index in the ring
	yielded map[string]*twill.Job[A, R] // the jobs that lists are yielding, by id

	recent     [16]recentJob[A, R] // a ring
	nextRecent int
}

// endedJob is a job that has ended. The job itself is not kept: otherwise an
// unhandled failure would not be reported.
type endedJob[A any] struct {
	id     string
	record twill.JobRecord[A]
	err    error
}

// Dispatch returns q as a [Queue]. opts is at most one DispatchOptions;
// Dispatch panics if there are more, or if q is nil.
//
// It starts a goroutine that reads [twill.ResizableDispatchQueue.Results], to
// keep the latest ended jobs. It adds nothing to the cost of a Put. If jobs end
// faster than they can be recorded, some are left out, so that at most the jobs
// of about a second wait. The goroutine ends with [DispatchQueue.Close], and
// when q is stopped and has no job underway.
func Dispatch[A, R any](q *twill.ResizableDispatchQueue[A, R], opts ...DispatchOptions[A]) *DispatchQueue[A, R] {
	if q == nil {
		panic("admin: Dispatch of a nil queue")
	}
	var o DispatchOptions[A]
	switch len(opts) {
	case 0:
	case 1:
		o = opts[0]
	default:
		panic("admin: Dispatch with more than one DispatchOptions")
	}
	if o.Keep == 0 {
		o.Keep = 200
	}
	o.Keep = min(max(o.Keep, 0), maxKeep)
	ctx, stop := context.WithCancel(context.Background())
	d := &DispatchQueue[A, R]{ResizableDispatchQueue: q, opts: o, stop: stop, rate: o.Rate,
		byID: make(map[string]int), yielded: make(map[string]*twill.Job[A, R])}
	if o.Stacks {
		d.number = queueNumber.Add(1)
		q.Use(d.withLabel)
	}
	if o.Keep > 0 {
		go d.keepEnded(ctx, q.Results(ctx))
	}
	return d
}

// Close ends the goroutine that Dispatch has started. The queue is not
// affected.
func (d *DispatchQueue[A, R]) Close() { d.stop() }

// keepEnded records the jobs that end, until ctx ends or the queue is stopped.
func (d *DispatchQueue[A, R]) keepEnded(ctx context.Context, results iter.Seq[*twill.Job[A, R]]) {
	for results != nil {
		var again iter.Seq[*twill.Job[A, R]]
		for j := range results {
			d.keep(j)
			// The buffer of Results has no limit. If this reader is too slow, it drops
			// the buffer and subscribes again.
			if r := j.EndedAt(); time.Since(r) > time.Second && ctx.Err() == nil {
				again = d.Results(ctx)
				break
			}
		}
		results = again
	}
}

// keep records j, which has ended. Its context has its error, and reading that
// handles nothing: a failure that the program does not handle is still
// reported.
func (d *DispatchQueue[A, R]) keep(j *twill.Job[A, R]) {
	e := endedJob[A]{id: j.ID(), record: j.Record()}
	if e.record.State != twill.JobFinished {
		e.err = context.Cause(j.Future.Context())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ended) < d.opts.Keep {
		d.byID[e.id] = len(d.ended)
		d.ended = append(d.ended, e)
		return
	}
	delete(d.byID, d.ended[d.next].id)
	d.byID[e.id] = d.next
	d.ended[d.next] = e
	d.next = (d.next + 1) % len(d.ended)
}

// PendingJobs implements [Queue]. The queue's lock is held only while the
// places of the jobs are copied, which is one word for 2048 jobs, and then for
// each job separately.
func (d *DispatchQueue[A, R]) PendingJobs(from int) iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		for j := range d.PendingSeq() {
			if from > 0 {
				from--
				continue
			}
			r := j.Record()
			if r.State != twill.JobPending {
				continue // it was started, or has ended, since the list was made
			}
			if !d.yield(j, r, yield) {
				return
			}
		}
	}
}

// UnderwayJobs implements [Queue].
func (d *DispatchQueue[A, R]) UnderwayJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		for _, j := range d.Underway() {
			if !d.yield(j, j.Record(), yield) {
				return
			}
		}
	}
}

// yield yields j. Until it returns, j is found without a search, as an
// operation acts on the job that it is at.
func (d *DispatchQueue[A, R]) yield(j *twill.Job[A, R], r twill.JobRecord[A], yield func(string, twill.JobRecord[string]) bool) bool {
	d.mu.Lock()
	d.yielded[r.ID] = j
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.yielded, r.ID)
	}()
	return yield(r.ID, d.show(r))
}

// EndedJobs implements [Queue].
func (d *DispatchQueue[A, R]) EndedJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		d.mu.Lock()
		ended := slices.Concat(d.ended[d.next:], d.ended[:d.next])
		d.mu.Unlock()
		for _, e := range slices.Backward(ended) {
			if !yield(e.id, d.show(e.record)) {
				return
			}
		}
	}
}

// FindJob implements [Queue].
func (d *DispatchQueue[A, R]) FindJob(idOrKey string) (string, twill.JobRecord[string], bool) {
	if e, ok := d.findEnded(idOrKey); ok {
		return e.id, d.show(e.record), true
	}
	j := d.find(idOrKey)
	if j == nil {
		var ok bool
		if j, ok = d.Find(idOrKey); !ok {
			return "", twill.JobRecord[string]{}, false
		}
	}
	id := j.ID()
	d.mu.Lock()
	d.recent[d.nextRecent] = recentJob[A, R]{id, weak.Make(j)}
	d.nextRecent = (d.nextRecent + 1) % len(d.recent)
	d.mu.Unlock()
	return id, d.show(j.Record()), true
}

// recentJob is a job that FindJob has found. A request that acts on a job finds
// it first. It does not keep the job in memory.
type recentJob[A, R any] struct {
	id  string
	job weak.Pointer[twill.Job[A, R]]
}

func (d *DispatchQueue[A, R]) findEnded(id string) (endedJob[A], bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i, ok := d.byID[id]; ok {
		return d.ended[i], true
	}
	return endedJob[A]{}, false
}

// find returns the job with that id that is pending or underway, nil if there
// is none.
func (d *DispatchQueue[A, R]) find(id string) *twill.Job[A, R] {
	d.mu.Lock()
	j := d.yielded[id]
	for i := 0; j == nil && i < len(d.recent); i++ {
		if d.recent[i].id == id {
			j = d.recent[i].job.Value()
		}
	}
	d.mu.Unlock()
	if j == nil || isEnded(j.State()) {
		j, _ = d.FindID(id)
	}
	return j
}

// JobError implements [Queue].
func (d *DispatchQueue[A, R]) JobError(id string) error {
	e, _ := d.findEnded(id)
	return e.err
}

// CancelJob implements [Queue].
func (d *DispatchQueue[A, R]) CancelJob(id string, cause error) error {
	j := d.find(id)
	if j == nil || !j.Cancel(cause) {
		return fmt.Errorf("admin: job has ended: %w", twill.ErrNotPending)
	}
	return nil
}

// ReprioritizeJob implements [Queue].
func (d *DispatchQueue[A, R]) ReprioritizeJob(id string, priority int) error {
	j := d.find(id)
	if j == nil {
		return twill.ErrNotPending
	}
	return d.Reprioritize(j, priority)
}

// RunJobAgain implements [Queue]. The new job has the priority and the key of
// the old one.
func (d *DispatchQueue[A, R]) RunJobAgain(id string) (string, error) {
	e, ok := d.findEnded(id)
	if !ok {
		return "", fmt.Errorf("admin: job is not kept")
	}
	j, err := d.Put(e.record.Arg, e.record.Priority, twill.JobOptions{Key: e.record.Key, Group: e.record.Group, Refuse: true})
	if err != nil {
		return "", err
	}
	return j.ID(), nil
}

// DrainJobs implements [Drainer].
func (d *DispatchQueue[A, R]) DrainJobs(ctx context.Context) (int, error) {
	left, err := d.Drain(ctx)
	return len(left), err
}

// SetRate implements [Limited].
func (d *DispatchQueue[A, R]) SetRate(limiter twill.Limiter) {
	d.mu.Lock()
	d.rate = limiter
	d.mu.Unlock()
	d.ResizableDispatchQueue.SetRate(limiter)
}

// RateLimiter implements [Limited]. It returns the limiter of DispatchOptions
// or of the latest SetRate of d, but not that of a SetRate of the queue itself.
func (d *DispatchQueue[A, R]) RateLimiter() twill.Limiter {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rate
}

// WhyPending implements [Explainer].
func (d *DispatchQueue[A, R]) WhyPending(id string) string {
	j := d.find(id)
	if j == nil || j.State() != twill.JobPending {
		return ""
	}
	reason, until := d.Why(j)
	text := waits[reason]
	switch {
	case reason == twill.WaitGroup:
		text = fmt.Sprintf("its group, %q, is at its limit", j.Group())
	case reason == twill.WaitWidth:
		text = fmt.Sprintf("all %d slots are used, or jobs come before it", d.Width())
	}
	if text != "" && !until.IsZero() {
		text += ", until " + until.Format(time.RFC3339)
	}
	return text
}

// waits describes what a job waits for.
var waits = map[twill.WaitReason]string{
	twill.WaitStopped: "the queue is stopped",
	twill.WaitHeld:    "it is held back until the program releases it",
	twill.WaitKey:     "an earlier run of its key has not ended",
	twill.WaitDue:     "it is not due",
	twill.WaitPause:   "the queue is paused",
	twill.WaitGroup:   "its group is at its limit",
	twill.WaitWidth:   "all slots are used",
	twill.WaitRate:    "the rate limit",
}

// show returns r with the argument as text.
func (d *DispatchQueue[A, R]) show(r twill.JobRecord[A]) twill.JobRecord[string] {
	return twill.JobRecord[string]{
		ID: r.ID, Arg: showArg(d.opts.Show, r.Arg), Priority: r.Priority, State: r.State, Key: r.Key, Group: r.Group, Attempts: r.Attempts,
		Queued: r.Queued, Due: r.Due, Started: r.Started, Stopped: r.Stopped,
	}
}

// showArg returns the text for arg. A panic of show is contained: one argument
// that it cannot show must not hide the others.
func showArg[A any](show func(A) string, arg A) (text string) {
	if show == nil {
		return typeAndSize(arg)
	}
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprintf("(Show panicked with a %T)", v)
		}
	}()
	return show(arg)
}

// typeAndSize describes arg without its content.
func typeAndSize[A any](arg A) string {
	v := reflect.ValueOf(&arg).Elem()
	name := v.Type().String()
	if v.Kind() == reflect.Interface {
		if v.IsNil() {
			return name + ", nil"
		}
		v = v.Elem()
		name = v.Type().String()
	}
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		unit := "elements"
		if v.Kind() == reflect.String || v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
			unit = "bytes"
		}
		return fmt.Sprintf("%s, %d %s", name, v.Len(), unit)
	}
	return fmt.Sprintf("%s, %d bytes", name, v.Type().Size())
}

// jobLabel is the pprof label of the calls of jobs. Its value is the number of
// the queue and the id.
const jobLabel = "twill_job"

// queueNumber is the number of the latest queue whose calls have labels.
var queueNumber atomic.Uint64

// withLabel is the hook that runs a call under its label.
func (d *DispatchQueue[A, R]) withLabel(ctx context.Context, j *twill.Job[A, R], next func(context.Context) (R, error)) (v R, err error) {
	pprof.Do(ctx, pprof.Labels(jobLabel, d.label(j.ID())), func(ctx context.Context) {
		v, err = next(ctx)
	})
	return v, err
}

// label returns the value of the label of a job.
func (d *DispatchQueue[A, R]) label(id string) string { return fmt.Sprintf("%d/%s", d.number, id) }

// JobStacks implements [Stacker].
func (d *DispatchQueue[A, R]) JobStacks(ctx context.Context, id string) (string, error) {
	if !d.opts.Stacks {
		return "", fmt.Errorf("admin: DispatchOptions.Stacks is not set for this queue")
	}
	return stacksOf(ctx, d.label(id))
}
