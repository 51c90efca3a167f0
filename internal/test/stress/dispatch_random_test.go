//go:build suites

package stress_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Random programs of three goroutines that use all features of a dispatch queue
// in virtual time. No job is lost, starts too early, too late or beside another
// call of its key, and no group or queue runs more than may; what is left over
// runs in the next queue, and nothing goes on after a stop.
func TestDispatchFeaturesAtRandom(t *testing.T) {
	programs := 300
	if kit.Long() {
		programs = 5000
	}
	if testing.Short() {
		programs = 60
	}
	for seed := range uint64(programs) {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newAnyProgram(t, seed).run() })
		})
		if !ok {
			return
		}
	}
}

type (
	anyQueue = twill.ResizableDispatchQueue[int, int]
	anyJob   = twill.Job[int, int]
)

// anyPut is what was put.
type anyPut struct {
	opts     twill.JobOptions
	released bool
}

// anyProgram is a program, and what it knows of its queue.
type anyProgram struct {
	*testing.T
	seed    uint64
	q       *anyQueue
	limit   twill.GroupLimit
	changes bool // limits and widths change
	widest  int

	mu      sync.Mutex
	puts    []*anyPut // by argument
	jobs    map[*anyJob]*anyPut
	order   []*anyJob
	running map[*anyJob]bool // in a call
	starts  map[string][]time.Time
	calls   int
	faults  []string
}

func newAnyProgram(t *testing.T, seed uint64) *anyProgram {
	r := rand.New(rand.NewPCG(seed, 0))
	p := &anyProgram{
		T: t, seed: seed, changes: r.IntN(2) == 0, widest: 1 + r.IntN(4),
		jobs: map[*anyJob]*anyPut{}, running: map[*anyJob]bool{}, starts: map[string][]time.Time{},
	}
	p.limit = twill.GroupLimit{Width: r.IntN(3), Rate: []float64{0, 0, 0.5, 3}[r.IntN(4)], Burst: r.IntN(3)}
	o := &twill.DispatchOptions{
		Width: p.widest, Size: []int{0, 0, -1, 2, 10}[r.IntN(5)], GroupLimit: p.limit, TakeTurns: r.IntN(2) == 0,
		Ageing: time.Duration(r.IntN(2)) * time.Second,
	}
	if r.IntN(3) == 0 {
		o.Rate = p.limiter(r.Uint64())
	}
	p.q = twill.NewResizableDispatchQueue(p.call, o)
	p.q.Use(p.watch)
	return p
}

// limiter is one that takes its time, and fails now and then.
func (p *anyProgram) limiter(seed uint64) twill.Limiter {
	r := rand.New(rand.NewPCG(seed, 1))
	return kit.LimiterFunc(func(ctx context.Context) error {
		p.mu.Lock()
		d, fails := time.Duration(r.IntN(300))*time.Millisecond, r.IntN(5) == 0
		p.mu.Unlock()
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
		if fails {
			return kit.ErrBoom
		}
		return nil
	})
}

func (p *anyProgram) call(ctx context.Context, arg int) (int, error) {
	r := rand.New(rand.NewPCG(p.seed, uint64(arg)+uint64(time.Now().UnixNano())))
	d := time.Duration(1+r.IntN(2000)) * time.Millisecond
	switch r.IntN(10) {
	case 0: // it does not heed its context
		time.Sleep(d)
	case 1:
		return 0, twill.Snooze(d)
	case 2:
		panic(kit.ErrBoom)
	case 3:
		if _, err := p.put(r); err != nil {
			return 0, twill.Permanent(err)
		}
	case 4, 5:
		return 0, kit.ErrBoom
	default:
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return arg, nil
}

func (p *anyProgram) fault(format string, args ...any) {
	if len(p.faults) < 10 {
		p.faults = append(p.faults, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// watch is a hook that checks whether a call may begin.
func (p *anyProgram) watch(ctx context.Context, j *anyJob, next func(context.Context) (int, error)) (int, error) {
	now := time.Now()
	group, key, due, first := j.Group(), j.Key(), j.DueAt(), j.Attempts() == 1
	p.mu.Lock()
	if put := p.jobs[j]; put != nil && key == "" { // else it may be that of a put that has joined
		if put.opts.Held && !put.released {
			p.fault("job %s was started before its release", j.ID())
		}
		if e := put.opts.Expires; !e.IsZero() && first && len(p.starts["job "+j.ID()]) == 0 && !now.Before(e) {
			p.fault("job %s was started %v after it has expired", j.ID(), now.Sub(e))
		}
	}
	if now.Before(due) {
		p.fault("job %s was started %v before it is due", j.ID(), due.Sub(now))
	}
	inGroup := 0
	for other := range p.running {
		if group != "" && other.Group() == group {
			inGroup++
		}
		if key != "" && other.Key() == key && other.State() == twill.JobUnderway {
			p.fault("jobs %s and %s of one key are underway", j.ID(), other.ID())
		}
	}
	p.calls++
	p.running[j] = true
	if len(p.running) > p.widest {
		p.fault("%d calls run, and at most %d may", len(p.running), p.widest)
	}
	if group != "" && !p.changes {
		p.checkGroup(group, inGroup+1, now)
	}
	p.starts["job "+j.ID()] = append(p.starts["job "+j.ID()], now)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, j)
	}()
	return next(ctx)
}

// checkGroup checks a start in a group.
func (p *anyProgram) checkGroup(group string, running int, now time.Time) {
	if p.limit.Width > 0 && running > p.limit.Width {
		p.fault("%d calls of group %s run, and at most %d may", running, group, p.limit.Width)
	}
	starts := append(p.starts[group], now)
	p.starts[group] = starts
	if p.limit.Rate == 0 {
		return
	}
	interval := time.Duration(float64(time.Second) / p.limit.Rate)
	for n := range starts { // the last n+1 of them
		within := now.Sub(starts[len(starts)-1-n])
		if allowed := max(p.limit.Burst, 1) + int((within+time.Microsecond)/interval); n+1 > allowed {
			p.fault("%d calls of group %s were started within %v, and at most %d may", n+1, group, within, allowed)
			return
		}
	}
}

func (p *anyProgram) options(r *rand.Rand) (o twill.JobOptions) {
	for range r.IntN(4) {
		switch r.IntN(11) {
		case 0:
			o.After, o.At = time.Duration(r.IntN(3000))*time.Millisecond, time.Time{}
		case 1:
			o.Timeout = time.Duration(1+r.IntN(4000)) * time.Millisecond
		case 2:
			o.Retry = &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(time.Duration(r.IntN(1500))*time.Millisecond), r.IntN(3))}
		case 3, 4:
			o.Key = []string{"x", "y"}[r.IntN(2)]
		case 5:
			o.Again = true
		case 6:
			o.Debounce = true
		case 7, 8:
			o.Group = []string{"a", "b", "c"}[r.IntN(3)]
		case 9:
			o.Expires = time.Now().Add(time.Duration(r.IntN(4000)) * time.Millisecond)
		case 10:
			o.Held = true
		}
	}
	return o
}

// newPut returns a new argument and options for a job.
func (p *anyProgram) newPut(r *rand.Rand) (arg int, put *anyPut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	put = &anyPut{opts: p.options(r)}
	p.puts = append(p.puts, put)
	return len(p.puts) - 1, put
}

// note notes the job that a put has returned.
func (p *anyProgram) note(put *anyPut, j *anyJob, err error) {
	if err != nil || j == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jobs[j] == nil { // else it has joined
		p.jobs[j] = put
		p.order = append(p.order, j)
	}
}

func (p *anyProgram) put(r *rand.Rand) (*anyJob, error) {
	arg, put := p.newPut(r)
	j, err := p.q.Put(arg, r.IntN(3), put.opts)
	p.note(put, j, err)
	return j, err
}

func (p *anyProgram) any(r *rand.Rand) *anyJob {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		return nil
	}
	return p.order[r.IntN(len(p.order))]
}

func (p *anyProgram) act(r *rand.Rand) {
	switch r.IntN(20) {
	case 0:
		arg, put := p.newPut(r)
		ctx, cancel := context.WithTimeout(p.Context(), time.Duration(r.IntN(3000))*time.Millisecond)
		defer cancel()
		j, err := p.q.PutWait(ctx, arg, 1, put.opts)
		p.note(put, j, err)
	case 1:
		arg, put := p.newPut(r)
		put.opts.Key = ""
		jobs, err := p.q.PutAll([]int{arg, arg, arg}, 1, put.opts)
		for _, j := range jobs {
			p.note(&anyPut{opts: put.opts}, j, err)
		}
	case 2, 3:
		if j := p.any(r); j != nil {
			j.Cancel(nil)
		}
	case 4:
		if j := p.any(r); j != nil {
			_ = p.q.Reprioritize(j, r.IntN(3))
			p.q.Why(j)
		}
	case 5, 6:
		p.release(p.any(r))
	case 7:
		p.q.Pause()
	case 8, 9:
		_ = p.q.Resume()
	case 10:
		if p.changes {
			_ = p.q.SetWidth(r.IntN(p.widest + 1))
		}
	case 11:
		l := twill.GroupLimit{Width: r.IntN(3), Rate: []float64{0, 0.5, 3}[r.IntN(3)], Burst: r.IntN(3)}
		switch group := []string{"a", "b", "c"}[r.IntN(3)]; {
		case !p.changes:
		case r.IntN(3) == 0:
			_ = p.q.SetGroupLimits(l)
		case r.IntN(2) == 0:
			_ = p.q.ResetGroupLimit(group)
		default:
			_ = p.q.SetGroupLimit(group, l)
		}
	case 12:
		if r.IntN(2) == 0 {
			p.q.SetRate(p.limiter(r.Uint64()))
		} else {
			p.q.SetRate(nil)
		}
	case 13:
		if r.IntN(10) == 0 {
			p.q.Clear()
		}
	default:
		_, _ = p.put(r)
	}
	time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
}

func (p *anyProgram) release(j *anyJob) {
	if j == nil {
		return
	}
	p.mu.Lock()
	if put := p.jobs[j]; put != nil {
		put.released = true
	}
	p.mu.Unlock()
	j.Release()
}

// run runs the program, ends the queue in one way or another, and counts.
func (p *anyProgram) run() {
	var users sync.WaitGroup
	for user := range 3 {
		r := rand.New(rand.NewPCG(p.seed, uint64(user)+1))
		users.Go(func() {
			for range 40 {
				p.act(r)
			}
		})
	}
	r := rand.New(rand.NewPCG(p.seed, math.MaxUint64))
	time.Sleep(time.Duration(r.IntN(20)) * time.Second)
	var left []*anyJob
	switch r.IntN(4) {
	case 0:
		left, _ = p.q.Stop().Await(p.Context())
	case 1:
		left, _ = p.q.StopNow().Await(p.Context())
	case 2:
		ctx, cancel := context.WithTimeout(p.Context(), time.Second)
		_, _ = p.q.Drain(ctx)
		cancel()
		left, _ = p.q.Stop().Await(p.Context())
	case 3:
		users.Wait()
		p.q.SetRate(nil)
		require.NoError(p, p.q.ResumeWidth(p.widest))
		for _, j := range slices.Clone(p.order) {
			p.release(j)
		}
		empty := twill.Go(p.Context(), func(ctx context.Context) (struct{}, error) {
			for { // of jobs that calls have put held, too
				for j := range slices.Values(p.q.Pending()) {
					p.release(j)
				}
				if _, err := p.q.Empty().Timeout(time.Minute).Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
					return struct{}{}, err
				}
			}
		})
		_, err := empty.Timeout(24 * time.Hour).Await(p.Context())
		require.NoError(p, err, "%v: %v", p.q, p.q.Pending())
		left, _ = p.q.Stop().Await(p.Context())
		require.Empty(p, left)
	}
	users.Wait()
	synctest.Wait()
	p.mu.Lock()
	require.Empty(p, p.running, "calls after a stop")
	calls := p.calls
	require.Empty(p, p.faults)
	p.mu.Unlock()
	time.Sleep(time.Hour)
	p.mu.Lock()
	require.Equal(p, calls, p.calls, "starts after a stop")
	p.mu.Unlock()
	p.count(left)
	p.restore(left)
}

// count finds each job once: ended, or left over.
func (p *anyProgram) count(left []*anyJob) {
	over := map[*anyJob]bool{}
	for _, j := range left {
		require.False(p, over[j], "left over twice")
		over[j] = true
	}
	pending := 0
	for _, j := range p.order {
		_, settled := j.Poll()
		switch state := j.State(); {
		case state == twill.JobPending:
			require.True(p, over[j] && !settled, "job %s was lost", j.ID())
			pending++
		default:
			require.True(p, settled && state > twill.JobUnderway, "job %s is %v", j.ID(), state)
		}
	}
	s := p.q.Stats()
	require.Equal(p, pending, s.Pending)
	require.Zero(p, s.Underway)
	require.Equal(p, s.Put, s.Ended()+uint64(s.Pending), "%v", s)
	require.Len(p, p.order, int(s.Put))
}

// restore runs what is left over in another queue.
func (p *anyProgram) restore(left []*anyJob) {
	text, err := json.Marshal(left)
	require.NoError(p, err)
	var records []twill.JobRecord[int]
	require.NoError(p, json.Unmarshal(text, &records))
	next := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 3, GroupLimit: p.limit})
	jobs, err := next.Restore(records)
	require.NoError(p, err)
	require.Len(p, jobs, len(left))
	over, err := next.Drain(p.Context())
	require.NoError(p, err)
	require.Empty(p, over)
	for i, j := range jobs {
		r, ok := j.Poll()
		require.True(p, ok)
		require.True(p, r.Err == nil && r.Value == left[i].Arg() || errors.Is(r.Err, twill.ErrExpired), "%v", r.Err)
	}
	p.q.Clear()
	for _, j := range p.order {
		_, settled := j.Poll()
		require.True(p, settled)
	}
}
