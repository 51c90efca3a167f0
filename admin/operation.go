package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

// The bounds of operations.
const (
	maxOperations = 100     // operations that are kept
	maxRunning    = 4       // operations that run at the same time
	maxKept       = 100_000 // ids that a dry run keeps
	maxListed     = 100     // failures, and jobs of a dry run, that are shown
	maxDirect     = 50      // ids that are looked up one by one, without a scan
)

// command is an action on several jobs: the jobs with the given ids, the jobs
// that match the filter, or the jobs that a dry run has kept.
type command struct {
	Action   string   `json:"action"`
	Filter   string   `json:"filter"`
	IDs      []string `json:"ids"`
	From     string   `json:"from"` // the id of a dry run
	DryRun   bool     `json:"dry_run"`
	Priority int      `json:"priority"` // for reprioritize
	Reason   string   `json:"reason"`
}

// covers are the states of the jobs to which an action applies.
var covers = map[string][]twill.JobState{
	"cancel":       {twill.JobPending, twill.JobUnderway},
	"reprioritize": {twill.JobPending},
	"run":          {twill.JobFinished, twill.JobFailed, twill.JobCanceled, stateDead},
	"discard":      {twill.JobFinished, twill.JobFailed, twill.JobCanceled, stateDead},
	"count":        {twill.JobPending, twill.JobUnderway, twill.JobFinished, twill.JobFailed, twill.JobCanceled, stateDead},
}

// operation is an action on several jobs, underway or over. It runs on the
// server: the browser that has started it may disconnect.
type operation struct {
	id      string
	entry   *entry
	cmd     command
	filter  *jobFilter      // nil if there are ids
	ids     map[string]bool // nil if there is a filter
	who     string
	started time.Time
	cancel  context.CancelFunc
	over    chan struct{} // closed at the end

	mu        sync.Mutex // guards the fields below
	state     string     // running, done, aborted or failed
	ended     time.Time
	scanned   int
	total     int // approximate number of jobs to scan
	matched   int
	done      int
	skipped   map[string]int // by reason
	failed    int
	failures  []failure
	kept      []string // the ids that a dry run has found
	truncated bool     // there were more jobs
	listed    []jobView
	ages      ages // of the pending jobs that a count has found
	err       string
}

// failure is a job for which the action has failed.
type failure struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// operations has the latest operations.
type operations struct {
	mu   sync.Mutex
	list []*operation // the oldest first
	seq  int
}

// find returns the operation with the given id, or nil.
func (o *operations) find(id string) *operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, op := range o.list {
		if op.id == id {
			return op
		}
	}
	return nil
}

// latest returns the operations, the latest first.
func (o *operations) latest() []*operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := slices.Clone(o.list)
	slices.Reverse(all)
	return all
}

// errBusy is returned if the maximum number of operations is running.
var errBusy = fmt.Errorf("admin: %d operations are running; wait for one or abort it", maxRunning)

// add gives op an id, and makes room for it: as a dry run that is kept holds
// ids, the oldest operation that is over is removed.
func (o *operations) add(op *operation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	running := 0
	for _, other := range o.list {
		if other.running() {
			running++
		}
	}
	if running >= maxRunning {
		return errBusy
	}
	if len(o.list) >= maxOperations {
		if i := slices.IndexFunc(o.list, func(op *operation) bool { return !op.running() }); i >= 0 {
			o.list = slices.Delete(o.list, i, i+1)
		}
	}
	o.seq++
	op.id = strconv.Itoa(o.seq)
	o.list = append(o.list, op)
	return nil
}

func (op *operation) running() bool {
	op.mu.Lock()
	defer op.mu.Unlock()
	return op.state == "running"
}

// badCommand is a command that is refused.
type badCommand struct{ text string }

func (e badCommand) Error() string { return "admin: " + e.text }

// start starts cmd for e.
func (p *Page) start(e *entry, cmd command, who string) (*operation, error) {
	op := &operation{entry: e, cmd: cmd, who: who, started: time.Now(), over: make(chan struct{}), state: "running", skipped: make(map[string]int)}
	if covers[cmd.Action] == nil {
		return nil, badCommand{"unknown action"}
	}
	if _, ok := e.q.(DeadKeeper); !ok && cmd.Action == "discard" {
		return nil, errNotOffered
	}
	if len(cmd.Reason) > maxReason {
		return nil, badCommand{fmt.Sprintf("reason longer than %d bytes", maxReason)}
	}
	given := 0
	for _, is := range []bool{cmd.Filter != "", len(cmd.IDs) > 0, cmd.From != ""} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, badCommand{"only one of filter, ids and from may be given"}
	case len(cmd.IDs) > maxIDs:
		return nil, badCommand{fmt.Sprintf("more than %d ids; use a filter", maxIDs)}
	case len(cmd.IDs) > 0:
		op.ids = make(map[string]bool, len(cmd.IDs))
		for _, id := range cmd.IDs {
			if id == "" || len(id) > maxID {
				return nil, badCommand{fmt.Sprintf("job id of %d bytes", len(id))}
			}
			op.ids[id] = true
		}
	case cmd.From != "":
		dry := p.ops.find(cmd.From)
		if dry == nil || dry.entry != e || !dry.cmd.DryRun || dry.cmd.Action != cmd.Action {
			return nil, badCommand{"there is no such dry run of that action"}
		}
		ids, err := dry.keptIDs()
		if err != nil {
			return nil, err
		}
		op.ids = ids
		op.cmd.Priority = dry.cmd.Priority
		op.cmd.Filter = dry.cmd.Filter
	default:
		f, err := parseFilter(cmd.Filter)
		if err != nil {
			return nil, err
		}
		op.filter = f
	}
	ctx, cancel := context.WithCancel(p.ctx)
	op.cancel = cancel
	if err := p.ops.add(op); err != nil {
		cancel()
		return nil, err
	}
	p.mu.RLock() // so that Close waits for it
	closed := p.ctx.Err() != nil
	if !closed {
		p.wg.Go(func() { p.run(ctx, op) })
	}
	p.mu.RUnlock()
	if closed {
		op.end("aborted", nil)
	}
	return op, nil
}

// keptIDs returns the ids of the jobs that a dry run has found.
func (op *operation) keptIDs() (map[string]bool, error) {
	op.mu.Lock()
	defer op.mu.Unlock()
	switch {
	case op.state != "done":
		return nil, badCommand{"the dry run is not done"}
	case op.truncated:
		return nil, badCommand{fmt.Sprintf("the dry run has found more than the %d jobs it keeps; use its filter", maxKept)}
	}
	ids := make(map[string]bool, len(op.kept))
	for _, id := range op.kept {
		ids[id] = true
	}
	return ids, nil
}

// run runs op to its end.
func (p *Page) run(ctx context.Context, op *operation) {
	defer op.cancel()
	err := p.runScan(ctx, op)
	switch {
	case err != nil:
		op.end("failed", err)
	case ctx.Err() != nil:
		op.end("aborted", nil)
	default:
		op.end("done", nil)
	}
	if op.cmd.Action == "count" || op.cmd.DryRun {
		return
	}
	v := op.view()
	result := v.State
	if v.Failed > 0 {
		result = fmt.Sprintf("%s, %d failed", result, v.Failed)
	}
	if v.SkippedTotal > 0 {
		result = fmt.Sprintf("%s, %d skipped", result, v.SkippedTotal)
	}
	p.note(AuditEntry{Who: op.who, Action: op.cmd.Action, Queue: op.entry.name, Filter: op.what(), Detail: op.detail(),
		Reason: op.cmd.Reason, Count: v.Done, Result: result})
}

// what describes the jobs of op.
func (op *operation) what() string {
	switch {
	case op.cmd.From != "":
		return fmt.Sprintf("%s (%d jobs of dry run %s)", op.cmd.Filter, len(op.ids), op.cmd.From)
	case op.filter != nil:
		return op.filter.String()
	case len(op.ids) == 1:
		return "id:" + op.cmd.IDs[0]
	}
	return fmt.Sprintf("%d selected jobs", len(op.ids))
}

func (op *operation) detail() string {
	if op.cmd.Action == "reprioritize" {
		return fmt.Sprintf("to priority %d", op.cmd.Priority)
	}
	return ""
}

func (op *operation) end(state string, err error) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.state, op.ended = state, time.Now()
	if err != nil {
		op.err = err.Error()
	}
	close(op.over)
}

// runScan scans the jobs and acts on those that op selects.
func (p *Page) runScan(ctx context.Context, op *operation) (err error) {
	defer containPanic(&err)
	e := op.entry
	states := covers[op.cmd.Action]
	s, err := e.read()
	if err != nil {
		return err
	}
	op.mu.Lock()
	op.total = s.Pending + s.Underway
	op.mu.Unlock()
	seen := make(map[string]bool) // of op.ids
	now := time.Now()
	jobs := p.jobs(e, op.filter, states, 0)
	if op.filter == nil && len(op.ids) <= maxDirect {
		jobs = p.jobsByID(e, op.ids, states)
	}
	for j := range jobs {
		if ctx.Err() != nil {
			return nil
		}
		match := op.ids[j.ID]
		if op.filter != nil {
			match = op.filter.matches(j, now)
		} else if match {
			seen[j.ID] = true
		}
		p.step(ctx, op, j, match)
		if op.filter == nil && len(seen) == len(op.ids) {
			break
		}
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	if missing := len(op.ids) - len(seen); op.filter == nil && missing > 0 {
		op.skipped["not in a state that the action covers, or not kept"] += missing
		op.matched += missing
	}
	op.total = op.scanned
	return nil
}

// step records that j was scanned, and acts on it if it matches.
func (p *Page) step(ctx context.Context, op *operation, j *job, match bool) {
	var err error
	acts := match && op.cmd.Action != "count" && !op.cmd.DryRun
	if acts {
		err = p.act(op.entry, op.cmd.Action, j.ID, op.cmd.Priority, op.who, op.cmd.Reason)
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	op.scanned++
	if !match {
		return
	}
	op.matched++
	switch {
	case op.cmd.Action == "count":
		if j.State == twill.JobPending {
			op.ages.add(j.JobRecord, op.started)
		}
	case op.cmd.DryRun:
		if len(op.kept) < maxKept {
			op.kept = append(op.kept, j.ID)
		} else {
			op.truncated = true
		}
		if len(op.listed) < maxListed {
			op.listed = append(op.listed, p.viewJob(j, false))
		}
	case err == nil:
		op.done++
	case errors.Is(err, twill.ErrNotPending):
		op.skipped["it has started or ended meanwhile"]++
	case errors.Is(err, twill.ErrDuplicateJob):
		op.skipped["a job with its key is there"]++
	default:
		op.failed++
		if len(op.failures) < maxListed {
			op.failures = append(op.failures, failure{j.ID, p.resultOf(err)})
		}
	}
}

// act does one of the actions on one job.
func (p *Page) act(e *entry, action, id string, priority int, who, reason string) (err error) {
	defer containPanic(&err)
	switch action {
	case "cancel":
		cause := fmt.Errorf("%w: %s", ErrCanceledByOperator, who)
		if reason != "" {
			cause = fmt.Errorf("%w: %s: %s", ErrCanceledByOperator, who, reason)
		}
		return e.q.CancelJob(id, cause)
	case "reprioritize":
		return e.q.ReprioritizeJob(id, priority)
	case "run":
		_, err := e.q.RunJobAgain(id)
		return err
	case "discard":
		d, ok := e.q.(DeadKeeper)
		if !ok {
			return errNotOffered
		}
		return d.DiscardJob(id)
	}
	return badCommand{"unknown action"}
}

// jobs yields the jobs of e that are in one of states and not excluded by the
// states of f, if there is a filter: the pending jobs, without the first from,
// the jobs underway, the ended jobs, and the dead jobs.
func (p *Page) jobs(e *entry, f *jobFilter, states []twill.JobState, from int) iter.Seq[*job] {
	wanted := func(s twill.JobState) bool {
		return slices.Contains(states, s) && (f == nil || f.inStates(s))
	}
	return func(yield func(*job) bool) {
		all := func(seq iter.Seq2[string, twill.JobRecord[string]], ended bool) bool {
			for id, r := range seq {
				if !wanted(r.State) {
					continue
				}
				if !yield(p.job(e, id, r, ended)) {
					return false
				}
			}
			return true
		}
		if wanted(twill.JobPending) && !all(e.q.PendingJobs(from), false) {
			return
		}
		// A job underway that was canceled is listed until its call returns.
		if wanted(twill.JobUnderway) && !all(e.q.UnderwayJobs(), false) {
			return
		}
		if (wanted(twill.JobFinished) || wanted(twill.JobFailed) || wanted(twill.JobCanceled)) && !all(e.q.EndedJobs(), true) {
			return
		}
		if d, ok := e.q.(DeadKeeper); ok && wanted(stateDead) {
			for id, r := range d.DeadJobs() {
				r.State = stateDead
				if !yield(p.job(e, id, r, true)) {
					return
				}
			}
		}
	}
}

// jobsByID yields the jobs with the given ids that are in one of states.
func (p *Page) jobsByID(e *entry, ids map[string]bool, states []twill.JobState) iter.Seq[*job] {
	return func(yield func(*job) bool) {
		for _, id := range slices.Sorted(maps.Keys(ids)) {
			found, r, ok := e.q.FindJob(id)
			if !ok || found != id || !slices.Contains(states, r.State) { // found by its key, it is another one
				continue
			}
			if !yield(p.job(e, id, r, isEnded(r.State))) {
				return
			}
		}
	}
}

func isEnded(s twill.JobState) bool { return s != twill.JobPending && s != twill.JobUnderway }

// job is a job of e with its texts redacted.
func (p *Page) job(e *entry, id string, r twill.JobRecord[string], ended bool) *job {
	r.Arg = p.redact(r.Arg)
	j := &job{ID: id, JobRecord: r}
	if ended {
		j.Err = func() string { text, _ := p.failureOf(e, id); return text }
	}
	return j
}
