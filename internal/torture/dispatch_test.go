package torture_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/twillgo/twill"
)

// A random sequence of all calls of a dispatch queue, compared with the model:
// after every step both list the same jobs in the same order and states and
// have the same numbers, and the same futures of jobs, pauses and stops have
// settled.
func TestDispatchMachine(t *testing.T) {
	steps := flag.Lookup("rapid.steps").Value
	defer steps.Set(steps.String())
	require.NoError(t, steps.Set("100")) // there are many kinds of steps
	rapid.Check(t, func(rt *rapid.T) {
		var thrown any
		synctest.Test(t, func(*testing.T) {
			defer func() { thrown = recover() }() // the panic would end the program, not only the bubble
			m := newDispatchMachine(rt)
			defer m.end()
			actions := rapid.StateMachineActions(m)
			for _, often := range []string{"Put", "PutWait", "Finish", "Sleep"} {
				actions[often+" again"], actions[often+" once more"] = actions[often], actions[often]
			}
			rt.Repeat(actions)
		})
		switch {
		case thrown == nil:
		case reflect.TypeOf(thrown).Name() == "invalidData":
			panic(thrown) // the panic of an invalid program; rapid identifies panics by their line
		default:
			panic(thrown)
		}
	})
}

type dispatchMachine struct {
	q       *rapidQueue
	began   time.Time
	model   dispatchModel
	jobs    []*realJob
	pauses  []*pause
	stops   []*twill.Future[[]*rapidJob]
	putters []*putter
	drains  []*drain
	limiter *gateLimiter
	mu      sync.Mutex // guards what the goroutines of these record, and results
	results int
	drawn   int // number of durations, which all differ
	cancel  context.CancelFunc
}

type (
	rapidQueue = twill.ResizableDispatchQueue[*realJob, int]
	rapidJob   = twill.Job[*realJob, int]
)

// realJob is a job and the argument of its call, which ends when the test sends
// to gate.
type realJob struct {
	modelJob
	job    *rapidJob
	gate   chan string
	snooze time.Duration // of the next call that snoozes
	values any           // what the latest call found in its context
}

type pause struct {
	f       *twill.Future[struct{}]
	resumed bool // before the queue was drained
	drained bool
}

// putter is a PutWait.
type putter struct {
	model  modelPut
	leave  context.CancelCauseFunc
	done   bool
	job    *rapidJob
	err    error
	waited *realJob
}

// drain is a Drain.
type drain struct {
	model modelDrain
	leave context.CancelCauseFunc
	done  bool
	left  []*rapidJob
	err   error
}

// gateLimiter lets one job start for each nil that it receives.
type gateLimiter struct{ gate chan error }

func (l *gateLimiter) Wait(ctx context.Context) error {
	select {
	case err := <-l.gate:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	errJob    = errors.New("job failed")
	errDenied = errors.New("limiter failed")
)

func newDispatchMachine(rt *rapid.T) *dispatchMachine {
	m := &dispatchMachine{began: time.Now()}
	m.model.width = rapid.IntRange(1, 3).Draw(rt, "width")
	m.model.size = rapid.SampledFrom([]int{0, 0, 3, 1, -1}).Draw(rt, "size")
	m.model.ageing = rapid.SampledFrom([]time.Duration{0, 0, 3 * time.Second}).Draw(rt, "ageing")
	m.model.groupLimit = drawLimit(rt)
	m.model.ownLimits, m.model.groupNext, m.model.groupTurn = map[string]twill.GroupLimit{}, map[string]time.Duration{}, map[string]int{}
	m.model.turns = rapid.Bool().Draw(rt, "turns")
	m.model.failing, m.model.heldSince = -1, -1
	m.q = twill.NewResizableDispatchQueue(m.call, &twill.DispatchOptions{
		Width: m.model.width, Size: m.model.size, Ageing: m.model.ageing,
		GroupLimit: m.model.groupLimit, TakeTurns: m.model.turns,
	})
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	ended := m.q.Results(ctx)
	go func() {
		for range ended {
			m.mu.Lock()
			m.results++
			m.mu.Unlock()
		}
	}()
	return m
}

func drawLimit(rt *rapid.T) twill.GroupLimit {
	return twill.GroupLimit{
		Width: rapid.IntRange(0, 2).Draw(rt, "group width"),
		Rate:  rapid.SampledFrom([]float64{0, 0, 0.4, 0.7}).Draw(rt, "group rate"),
		Burst: rapid.IntRange(0, 2).Draw(rt, "group burst"),
	}
}

// valuesKey finds in the context of a call whether its job has a context.
type valuesKey struct{}

func (m *dispatchMachine) call(ctx context.Context, j *realJob) (int, error) {
	m.mu.Lock()
	j.values = ctx.Value(valuesKey{})
	m.mu.Unlock()
	switch <-j.gate {
	case "error":
		return 0, errJob
	case "panic":
		panic(errJob)
	case "exit":
		runtime.Goexit()
	case "snooze":
		return 0, twill.Snooze(j.snooze)
	}
	return j.n, nil
}

// duration returns a duration of some seconds, a different one each time, so
// that no two events coincide.
func (m *dispatchMachine) duration(rt *rapid.T, least int) time.Duration {
	m.drawn++
	seconds := rapid.IntRange(least, 4).Draw(rt, "seconds")
	if seconds == 0 {
		return 0
	}
	return time.Duration(seconds)*time.Second + time.Duration(m.drawn*m.drawn)*time.Microsecond
}

// draw makes a job with random options of all kinds.
func (m *dispatchMachine) draw(rt *rapid.T) (*realJob, twill.JobOptions) {
	j := &realJob{modelJob: modelJob{n: len(m.jobs), arg: len(m.jobs), priority: rapid.IntRange(0, 2).Draw(rt, "priority")}, gate: make(chan string, 1)}
	m.jobs = append(m.jobs, j)
	var o twill.JobOptions
	for _, what := range rapid.SliceOfN(rapid.SampledFrom([]string{"after", "at", "timeout", "retry", "key", "key", "refuse", "group", "expires", "held", "again", "debounce", "context"}), 0, 3).Draw(rt, "options") {
		switch what {
		case "after", "at":
			d := m.duration(rt, 0)
			if o.After != 0 || !o.At.IsZero() || d == 0 {
				continue
			}
			if j.due = m.model.now + d; what == "after" {
				o.After = d
			} else {
				o.At = time.Now().Add(d)
			}
		case "timeout":
			o.Timeout = m.duration(rt, 1)
			j.timeout = o.Timeout
		case "retry":
			j.pauses = []time.Duration{m.duration(rt, 0), m.duration(rt, 0)}
			o.Retry = &twill.RetryOptions{Backoff: slices.Values(j.pauses)}
		case "key":
			j.key = rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key")
			o.Key = j.key
		case "refuse":
			j.refuse, o.Refuse = true, true
		case "again":
			j.again, o.Again = true, true
		case "debounce":
			j.debounce, o.Debounce = true, true
		case "held":
			j.held, o.Held = true, true
		case "context":
			ended, end := context.WithCancel(context.WithValue(context.Background(), valuesKey{}, true))
			end()
			j.modelJob.values, o.Context = true, ended
		case "group":
			j.group = rapid.SampledFrom([]string{"g", "h"}).Draw(rt, "group")
			o.Group = j.group
		case "expires":
			d := m.duration(rt, 1)
			j.expires, o.Expires = m.model.now+d, time.Now().Add(d)
		}
	}
	return j, o
}

// is fails the test unless got is the job of want.
func (m *dispatchMachine) is(rt *rapid.T, got *rapidJob, want *modelJob) {
	if want == nil {
		if got != nil {
			rt.Fatalf("job %d was put, and should not", got.Arg().n)
		}
		return
	}
	if got == nil || got.Arg().n != want.arg {
		rt.Fatalf("job %d was put, and the answer is %v", want.n, got)
	}
	m.jobs[want.n].job = got
}

// Put puts a job.
func (m *dispatchMachine) Put(rt *rapid.T) {
	j, o := m.draw(rt)
	want, wantErr := m.model.put(&j.modelJob)
	m.model.refused(wantErr)
	m.model.settle()
	got, err := m.q.Put(j, j.priority, o)
	if err != wantErr {
		rt.Fatalf("Put: %v, not %v", err, wantErr)
	}
	m.is(rt, got, want)
}

// PutAll puts several jobs, or none.
func (m *dispatchMachine) PutAll(rt *rapid.T) {
	n := rapid.IntRange(0, 3).Draw(rt, "n")
	var args []*realJob
	for i := range n {
		args = append(args, &realJob{modelJob: modelJob{n: len(m.jobs) + i, arg: len(m.jobs) + i, priority: 1}, gate: make(chan string, 1)})
	}
	var want error
	switch room := m.model.room(&modelJob{}, n); {
	case m.model.stopped || m.model.closing:
		want = twill.ErrStopped
	case m.model.size != 0 && n > max(room, 0):
		want = twill.ErrQueueFull
	}
	jobs, err := m.q.PutAll(args, 1)
	if err != want || err == nil && len(jobs) != n {
		rt.Fatalf("PutAll of %d: %d, %v, not %v", n, len(jobs), err, want)
	}
	if err != nil {
		m.model.stats.Refused += uint64(n)
		return
	}
	for i, arg := range args {
		m.jobs = append(m.jobs, arg)
		m.model.seq++
		m.model.accept(&arg.modelJob, m.model.seq)
		m.is(rt, jobs[i], &arg.modelJob)
	}
	m.model.settle()
}

// PutWait puts a job, on a goroutine that may have to wait.
func (m *dispatchMachine) PutWait(rt *rapid.T) {
	j, o := m.draw(rt)
	ctx, leave := context.WithCancelCause(context.Background())
	w := &putter{model: modelPut{job: &j.modelJob}, leave: leave, waited: j}
	m.putters = append(m.putters, w)
	priority := j.priority
	m.model.putWait(&w.model)
	m.model.settle()
	go func() {
		job, err := m.q.PutWait(ctx, j, priority, o)
		m.mu.Lock()
		defer m.mu.Unlock()
		w.job, w.err, w.done = job, err, true
	}()
	synctest.Wait()
}

// Leave makes a PutWait give up.
func (m *dispatchMachine) Leave(rt *rapid.T) {
	if len(m.model.putters) == 0 {
		rt.Skip("nobody waits")
	}
	w := rapid.SampledFrom(m.model.putters).Draw(rt, "putter")
	m.model.putters = slices.DeleteFunc(m.model.putters, func(x *modelPut) bool { return x == w })
	w.done, w.err = true, errGone
	m.model.refused(errGone)
	for _, p := range m.putters {
		if &p.model == w {
			p.leave(errGone)
		}
	}
}

// Restore puts random records in front.
func (m *dispatchMachine) Restore(rt *rapid.T) {
	var records []twill.JobRecord[*realJob]
	var jobs []*realJob
	fails := false
	for range rapid.IntRange(0, 3).Draw(rt, "n") {
		j := &realJob{modelJob: modelJob{n: len(m.jobs) + len(jobs), arg: len(m.jobs) + len(jobs), priority: rapid.IntRange(0, 2).Draw(rt, "priority")}, gate: make(chan string, 1)}
		r := twill.JobRecord[*realJob]{Arg: j, Priority: j.priority, State: twill.JobState(rapid.IntRange(0, 4).Draw(rt, "state"))}
		r.Key = rapid.SampledFrom([]string{"", "", "a"}).Draw(rt, "key")
		if d := m.duration(rt, 0); d > 0 {
			j.due, r.Due = m.model.now+d, time.Now().Add(d)
		}
		fails = fails || m.model.keyed(r.Key) != nil
		for i, first := range jobs {
			if first.key == "" || first.key != r.Key {
				continue
			}
			// A job that was put to run after a job that was not pending is saved with
			// that job.
			fails = fails || first.follows || first.next != nil || records[i].State == twill.JobPending
			j.follows, first.next = true, &j.modelJob
			break
		}
		j.key = r.Key
		j.group = rapid.SampledFrom([]string{"", "", "g"}).Draw(rt, "group")
		r.Group = j.group
		if rapid.Bool().Draw(rt, "expires") {
			d := m.duration(rt, 1)
			r.Expires = time.Now().Add(d)
			switch rapid.IntRange(0, 2).Draw(rt, "called") { // if it was called, it does not expire
			case 0:
				j.expires = m.model.now + d
			case 1:
				r.Attempts, j.attempts = 2, 2
			case 2:
				r.Started = time.Now()
			}
		}
		records, jobs = append(records, r), append(jobs, j)
	}
	got, err := m.q.Restore(records)
	if stopped := m.model.stopped || m.model.closing; (err != nil) != (fails || stopped) {
		rt.Fatalf("Restore of %v: %v", records, err)
	}
	if err != nil {
		return
	}
	m.model.restored -= len(jobs)
	for i, j := range jobs {
		m.jobs = append(m.jobs, j)
		m.model.accept(&j.modelJob, m.model.restored+i)
	}
	m.model.settle()
	for i, j := range jobs {
		m.is(rt, got[i], &j.modelJob)
	}
}

// Finish ends a call that is underway.
func (m *dispatchMachine) Finish(rt *rapid.T) {
	if len(m.model.underway) == 0 {
		rt.Skip("nothing is underway")
	}
	j := m.jobs[rapid.SampledFrom(m.model.underway).Draw(rt, "job").n]
	how := rapid.SampledFrom([]string{"value", "value", "error", "error", "panic", "exit", "snooze"}).Draw(rt, "end")
	if how == "snooze" {
		j.snooze = m.duration(rt, 0)
	}
	m.mu.Lock()
	if values := m.jobs[j.arg].values; (values != nil) != j.modelJob.values {
		rt.Fatalf("job %d has %v in its context, not %t", j.n, values, j.modelJob.values)
	}
	m.mu.Unlock()
	called := m.jobs[j.arg] // what it was called with has the gate; the model may change its argument
	m.model.finish(&j.modelJob, how, j.snooze)
	called.snooze = j.snooze
	called.gate <- how
}

// Sleep advances the time.
func (m *dispatchMachine) Sleep(rt *rapid.T) {
	d := m.duration(rt, 1)
	m.model.sleep(d)
	time.Sleep(d)
}

func (m *dispatchMachine) pick(rt *rapid.T) *realJob {
	var put []*realJob
	for _, j := range m.jobs {
		if j.job != nil {
			put = append(put, j)
		}
	}
	if len(put) == 0 {
		rt.Skip("there are no jobs")
	}
	return rapid.SampledFrom(put).Draw(rt, "job")
}

// Cancel cancels a job.
func (m *dispatchMachine) Cancel(rt *rapid.T) {
	j := m.pick(rt)
	if got, want := j.job.Cancel(nil), m.model.cancel(&j.modelJob); got != want {
		rt.Fatalf("Cancel of job %d: %t, not %t", j.n, got, want)
	}
}

// Release releases a job, held or not.
func (m *dispatchMachine) Release(rt *rapid.T) {
	j := m.pick(rt)
	if got, want := j.job.Release(), m.model.release(&j.modelJob); got != want {
		rt.Fatalf("Release of job %d: %t, not %t", j.n, got, want)
	}
}

// SetGroupLimits sets the limit of one group, or of all that have none.
func (m *dispatchMachine) SetGroupLimits(rt *rapid.T) {
	l := drawLimit(rt)
	group := rapid.SampledFrom([]string{"", "g", "h"}).Draw(rt, "group")
	var err error
	if group == "" {
		err = m.q.SetGroupLimits(l)
	} else {
		err = m.q.SetGroupLimit(group, l)
	}
	if (err != nil) != m.model.stopped {
		rt.Fatalf("SetGroupLimits: %v", err)
	}
	if !m.model.stopped {
		m.model.setLimits(group, &l)
	}
}

// ResetGroupLimit makes the limit of a group that of all.
func (m *dispatchMachine) ResetGroupLimit(rt *rapid.T) {
	group := rapid.SampledFrom([]string{"", "g", "h"}).Draw(rt, "group")
	if err := m.q.ResetGroupLimit(group); (err != nil) != m.model.stopped {
		rt.Fatalf("ResetGroupLimit: %v", err)
	}
	if _, own := m.model.ownLimits[group]; own && !m.model.stopped {
		m.model.setLimits(group, nil)
	}
}

// Reprioritize moves a job.
func (m *dispatchMachine) Reprioritize(rt *rapid.T) {
	j, priority := m.pick(rt), rapid.IntRange(-1, 3).Draw(rt, "priority")
	if got, want := m.q.Reprioritize(j.job, priority), m.model.reprioritize(&j.modelJob, priority); got != want {
		rt.Fatalf("Reprioritize of job %d: %v, not %v", j.n, got, want)
	}
}

// SetWidth sets the width, even to a negative one.
func (m *dispatchMachine) SetWidth(rt *rapid.T) {
	n := rapid.IntRange(-1, 4).Draw(rt, "width")
	err := m.q.SetWidth(n)
	if n < 0 {
		if err != twill.ErrNegativeWidth {
			rt.Fatalf("SetWidth: %v", err)
		}
		return
	}
	want := error(nil)
	if m.model.stopped {
		want = twill.ErrStopped
	}
	if err != want {
		rt.Fatalf("SetWidth: %v, not %v", err, want)
	}
	if err == nil {
		m.model.setWidth(n)
	}
}

// SetRate sets a limit, or removes it.
func (m *dispatchMachine) SetRate(rt *rapid.T) {
	m.model.failing, m.model.retryAt, m.model.pause, m.model.heldSince = -1, 0, 0, -1
	if m.model.limited = rapid.Bool().Draw(rt, "limited"); m.model.limited {
		m.limiter = &gateLimiter{make(chan error)}
		m.q.SetRate(m.limiter)
	} else {
		m.q.SetRate(nil)
	}
	m.model.settle()
}

// Permit makes a waiting limiter let a job start.
func (m *dispatchMachine) Permit(rt *rapid.T) {
	if m.answer(rt, nil) {
		m.model.permit()
	}
}

// Deny makes a waiting limiter fail.
func (m *dispatchMachine) Deny(rt *rapid.T) {
	if m.answer(rt, errDenied) {
		m.model.deny()
	}
}

// answer makes a waiting limiter return, and reports whether it was waiting.
func (m *dispatchMachine) answer(rt *rapid.T, err error) (asked bool) {
	if !m.model.limited {
		rt.Skip("there is no limit")
	}
	select {
	case m.limiter.gate <- err:
		asked = true
	default:
	}
	if asked != m.model.asks() {
		rt.Fatalf("the limiter is asked: %t, it should be: %t", asked, m.model.asks())
	}
	return asked
}

// Pause pauses the queue.
func (m *dispatchMachine) Pause(*rapid.T) {
	m.model.paused = true
	m.model.settle()
	m.pauses = append(m.pauses, &pause{f: m.q.Pause()})
}

// Resume resumes the queue, perhaps with another width.
func (m *dispatchMachine) Resume(rt *rapid.T) {
	var err error
	if n := rapid.IntRange(-1, 3).Draw(rt, "width"); n >= 0 {
		err = m.q.ResumeWidth(n)
		if !m.model.stopped {
			m.model.width = n
		}
	} else {
		err = m.q.Resume()
	}
	for _, p := range m.pauses {
		p.resumed = p.resumed || !p.drained && !m.model.stopped
	}
	if want := m.model.resume(); err != want {
		rt.Fatalf("Resume: %v, not %v", err, want)
	}
}

// Clear cancels the pending jobs.
func (m *dispatchMachine) Clear(rt *rapid.T) {
	if got, want := m.q.Clear(), m.model.clear(); got != want {
		rt.Fatalf("Clear: %d, not %d", got, want)
	}
}

// Stop rarely stops the queue, as little happens after that.
func (m *dispatchMachine) Stop(rt *rapid.T) {
	switch rapid.IntRange(0, 40).Draw(rt, "stop") { // small numbers are drawn more often
	case 20:
		m.model.stop(false)
		m.stops = append(m.stops, m.q.Stop())
	case 30:
		m.model.stop(true)
		m.stops = append(m.stops, m.q.StopNow())
	case 40:
		m.drain()
	}
}

func (m *dispatchMachine) drain() {
	ctx, leave := context.WithCancelCause(context.Background())
	d := &drain{leave: leave}
	m.drains = append(m.drains, d)
	m.model.closing = true
	m.model.drains = append(m.model.drains, &d.model)
	m.model.settle()
	go func() {
		left, err := m.q.Drain(ctx)
		m.mu.Lock()
		defer m.mu.Unlock()
		d.left, d.err, d.done = left, err, true
	}()
	synctest.Wait()
}

// EndDrain makes a drain give up.
func (m *dispatchMachine) EndDrain(rt *rapid.T) {
	i := slices.IndexFunc(m.drains, func(d *drain) bool { return !d.model.done })
	if i < 0 {
		rt.Skip("nobody drains")
	}
	d := m.drains[i]
	d.model.done, d.model.err = true, errGone
	killed := m.model.stop(true) // what has followed them is due
	d.model.left = slices.Concat(killed, m.model.waiting())
	d.leave(errGone)
}

// Check compares the queue with the model, after everything that can happen has
// happened.
func (m *dispatchMachine) Check(rt *rapid.T) {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pauses {
		p.drained = p.drained || !p.resumed && len(m.model.underway) == 0
	}
	for _, difference := range []string{m.queueDiffers(), m.jobsDiffer(), m.futuresDiffer(), m.waitsDiffer()} {
		if difference != "" {
			rt.Fatal(difference)
		}
	}
}

func argsOf(jobs []*rapidJob) []int {
	ns := make([]int, 0, len(jobs))
	for _, j := range jobs {
		ns = append(ns, j.Arg().n)
	}
	return ns
}

func (m *dispatchMachine) queueDiffers() string {
	got := fmt.Sprint(argsOf(m.q.Pending()), argsOf(m.q.Underway()), m.q.Width(), m.q.Paused(), m.q.Stopped())
	want := fmt.Sprint(numbers(m.model.waiting()), numbers(m.model.underway), m.model.width, m.model.paused, m.model.stopped)
	if got != want {
		return fmt.Sprintf("pending, underway, width, paused, stopped: %s, not %s", got, want)
	}
	if page := argsOf(m.q.PendingPage(1, 2)); !slices.Equal(page, clip(argsOf(m.q.Pending()), 1, 2)) {
		return fmt.Sprintf("PendingPage(1, 2): %v of %v", page, argsOf(m.q.Pending()))
	}
	counts := func(s twill.DispatchStats) string {
		return fmt.Sprint(s.Width, s.Underway, s.Pending, s.Delayed, s.Put, s.Joined, s.Refused, s.Retries, s.Snoozed, s.Finished, s.Failed, s.Canceled)
	}
	s := m.model.stats
	s.Width, s.Underway, s.Delayed = m.model.width, len(m.model.underway), len(m.model.delayed)
	s.Pending = len(m.model.pending) + s.Delayed
	if got, want := counts(m.q.Stats()), counts(s); got != want {
		return fmt.Sprintf("stats: %s, not %s", got, want)
	}
	for _, times := range [][2]any{
		{m.q.Stats().RateHeldSince, m.timeOf(m.model.heldSince)},
		{m.q.Stats().RateFailingSince, m.timeOf(m.model.failing)},
		{m.q.Stats().RateError != "", m.model.failing >= 0},
	} {
		if times[0] != times[1] {
			return fmt.Sprintf("the rate limit: %v, not %v", times[0], times[1])
		}
	}
	if m.results != m.model.results {
		return fmt.Sprintf("%d results, not %d", m.results, m.model.results)
	}
	return ""
}

// timeOf is the zero time for none.
func (m *dispatchMachine) timeOf(d time.Duration) (t time.Time) {
	if d >= 0 {
		t = m.began.Add(d)
	}
	return t
}

func clip(ns []int, from, n int) []int {
	from = min(from, len(ns))
	return ns[from:min(from+n, len(ns))]
}

func (m *dispatchMachine) jobsDiffer() string {
	for _, j := range m.jobs {
		if j.job == nil {
			continue
		}
		if j.job.State() != j.state || j.job.Priority() != j.priority || j.job.Attempts() != j.attempts {
			return fmt.Sprintf("job %d is %v with priority %d after %d attempts, not %v with %d after %d",
				j.n, j.job.State(), j.job.Priority(), j.job.Attempts(), j.state, j.priority, j.attempts)
		}
		if due := j.job.DueAt(); j.due > 0 && due.Sub(m.began) != j.due {
			return fmt.Sprintf("job %d is due after %v, not %v", j.n, due.Sub(m.began), j.due)
		}
		r, ok := j.job.Poll()
		right := !ok
		switch j.state {
		case twill.JobFinished:
			right = ok && r.Value == j.arg && r.Err == nil
		case twill.JobFailed:
			var timeout *twill.TimeoutError
			right = ok && (errors.Is(r.Err, errJob) || errors.Is(r.Err, twill.ErrGoexit) || errors.Is(r.Err, twill.ErrExpired) || errors.As(r.Err, &timeout))
		case twill.JobCanceled:
			right = ok && errors.Is(r.Err, twill.ErrCanceled)
		}
		if !right {
			return fmt.Sprintf("job %d is %v, and its future has %v, %t", j.n, j.state, r, ok)
		}
	}
	return ""
}

func (m *dispatchMachine) futuresDiffer() string {
	for i, p := range m.pauses {
		r, ok := p.f.Poll()
		if ok != (p.drained || p.resumed) || p.drained && r.Err != nil || p.resumed && !errors.Is(r.Err, twill.ErrResumed) {
			return fmt.Sprintf("pause %d (resumed %t, drained %t) has %v, %t", i, p.resumed, p.drained, r, ok)
		}
	}
	for i, f := range m.stops {
		r, ok := f.Poll()
		if ok != m.model.closed || ok && !slices.Equal(argsOf(r.Value), numbers(m.model.leftovers)) {
			return fmt.Sprintf("stop %d has %v, %t, not %v", i, argsOf(r.Value), ok, numbers(m.model.leftovers))
		}
	}
	return ""
}

func (m *dispatchMachine) waitsDiffer() string {
	for i, w := range m.putters {
		if w.done != w.model.done || w.done && w.err != w.model.err {
			return fmt.Sprintf("PutWait %d has %v, %t, not %v, %t", i, w.err, w.done, w.model.err, w.model.done)
		}
		if w.done && (w.job == nil) != (w.model.got == nil) || w.job != nil && w.job.Arg().n != w.model.got.arg {
			return fmt.Sprintf("PutWait %d has %v, not %v", i, w.job, w.model.got)
		}
		if w.job != nil && w.model.got == &w.waited.modelJob {
			w.waited.job = w.job
		}
	}
	for i, d := range m.drains {
		if d.done != d.model.done || d.done && (d.err != d.model.err || !slices.Equal(argsOf(d.left), numbers(d.model.left))) {
			return fmt.Sprintf("drain %d has %v, %v, %t, not %v, %v, %t", i, argsOf(d.left), d.err, d.done, numbers(d.model.left), d.model.err, d.model.done)
		}
	}
	return ""
}

// end lets all goroutines of the bubble end.
func (m *dispatchMachine) end() {
	m.q.StopNow()
	m.cancel()
	for _, j := range m.jobs {
		close(j.gate)
	}
	for _, w := range m.putters {
		w.leave(nil)
	}
	for _, d := range m.drains {
		d.leave(nil)
	}
}
