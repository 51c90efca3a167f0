//go:build suites

package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Each cell of the tables in docs/dispatch.md has a test here that fails if the
// cell is false, and each test has a cell. A cell is named by its row and its
// column.
func TestDispatchTable(t *testing.T) {
	text, err := os.ReadFile("../../../docs/dispatch.md")
	require.NoError(t, err)
	cells := map[string]bool{}
	var columns []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			columns = nil
			continue
		}
		fields := strings.Split(strings.Trim(line, "|"), "|")
		for i := range fields {
			fields[i] = strings.Trim(strings.TrimSpace(fields[i]), "*`")
		}
		switch {
		case columns == nil:
			columns = fields
		case !strings.HasPrefix(fields[0], "-"):
			require.Len(t, fields, len(columns), "the row of %s", fields[0])
			for i, cell := range fields[1:] {
				if cell != "-" {
					cells[fields[0]+"/"+columns[i+1]] = true
				}
			}
		}
	}
	require.Greater(t, len(cells), 100)
	for cell := range cells {
		require.Contains(t, dispatchCells, cell, "a cell without a test")
	}
	for cell, test := range dispatchCells {
		require.Contains(t, cells, cell, "a test without a cell")
		t.Run(cell, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// comboQueue is a queue whose jobs are named by their arguments.
type (
	comboQueue = twill.ResizableDispatchQueue[string, string]
	comboJob   = twill.Job[string, string]
)

// comboKey finds a value in the contexts of calls.
type comboKey struct{}

// combo is a queue, and what it did. A call takes a second, heeds its context,
// and returns its argument, unless does says otherwise: the calls for an
// argument take the errors there one after another, at once.
type combo struct {
	*testing.T
	q     *comboQueue
	start time.Time

	mu     sync.Mutex
	does   map[string][]error
	calls  []string // each with its time since the start, as in "a@2s"
	values []any    // of comboKey in their contexts
}

func newCombo(t *testing.T, o twill.DispatchOptions) *combo {
	c := &combo{T: t, start: time.Now(), does: map[string][]error{}}
	c.q = twill.NewResizableDispatchQueue(c.call, &o)
	t.Cleanup(func() { c.q.StopNow() }) // of a test that fails
	return c
}

func (c *combo) call(ctx context.Context, arg string) (string, error) {
	c.mu.Lock()
	c.calls = append(c.calls, fmt.Sprintf("%s@%v", arg, time.Since(c.start)))
	c.values = append(c.values, ctx.Value(comboKey{}))
	todo := c.does[arg]
	if len(todo) > 0 {
		c.does[arg] = todo[1:]
	}
	c.mu.Unlock()
	if len(todo) > 0 {
		return "", todo[0]
	}
	select {
	case <-time.After(time.Second):
		return arg, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (c *combo) put(arg string, o ...twill.JobOptions) *comboJob {
	c.Helper()
	j, err := c.q.Put(arg, 0, o...)
	require.NoError(c, err)
	return j
}

// after lets time pass until d after the start, and all that happens then.
func (c *combo) after(d time.Duration) {
	time.Sleep(time.Until(c.start.Add(d)))
	synctest.Wait()
}

// called checks the calls so far. The order of those of one moment is that of
// their goroutines.
func (c *combo) called(want ...string) {
	c.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := slices.Sorted(slices.Values(c.calls))
	slices.Sort(want)
	require.Equal(c, strings.Join(want, " "), strings.Join(got, " "))
}

// ends waits until the queue is empty.
func (c *combo) ends() {
	c.Helper()
	_, err := c.q.Empty().Await(c.Context())
	require.NoError(c, err)
}

// succeeds checks that j ends with its argument.
func (c *combo) succeeds(j *comboJob) {
	c.Helper()
	v, err := j.Await(c.Context())
	require.NoError(c, err)
	require.Equal(c, j.Arg(), v)
}

// fails checks that j ends with an error.
func (c *combo) fails(j *comboJob, want error) {
	c.Helper()
	_, err := j.Await(c.Context())
	require.ErrorIs(c, err, want)
}

// why checks what j waits for.
func (c *combo) why(j *comboJob, want twill.WaitReason) {
	c.Helper()
	reason, _ := c.q.Why(j)
	require.Equal(c, want.String(), reason.String())
}

// leaves checks what a stop leaves over, by the names of the jobs.
func (c *combo) leaves(stop func() *twill.Future[[]*comboJob], want ...string) []*comboJob {
	c.Helper()
	left, err := stop().Await(c.Context())
	require.NoError(c, err)
	require.Equal(c, strings.Join(want, " "), strings.Join(kit.Args(left), " "))
	return left
}

// restored returns a queue with options o into which jobs are restored that
// went through JSON.
func (c *combo) restored(o twill.DispatchOptions, left []*comboJob) (*combo, []*comboJob) {
	c.Helper()
	text, err := json.Marshal(left)
	require.NoError(c, err)
	var records []twill.JobRecord[string]
	require.NoError(c, json.Unmarshal(text, &records))
	next := newCombo(c.T, o)
	jobs, err := next.q.Restore(records)
	require.NoError(c, err)
	return next, jobs
}

// holds runs a test for a queue that is paused, and for one of width 0. The
// first function ends that.
func holds(t *testing.T, o twill.DispatchOptions, test func(c *combo, resume func())) {
	for _, pause := range []bool{true, false} {
		c := newCombo(t, o)
		width := max(o.Width, 1)
		if pause {
			c.q.Pause()
		} else {
			require.NoError(t, c.q.SetWidth(0))
		}
		test(c, func() { require.NoError(t, c.q.ResumeWidth(width)) })
	}
}

var (
	oneEach = twill.DispatchOptions{Width: 5, GroupLimit: twill.GroupLimit{Width: 1}}
	wide    = twill.DispatchOptions{Width: 5}
	again   = twill.JobOptions{Key: "k", Again: true}
	quiet   = twill.JobOptions{Key: "k", Debounce: true, After: time.Minute}
	held    = twill.JobOptions{Held: true}
	inG     = twill.JobOptions{Group: "g"}
)

func expires(d time.Duration) twill.JobOptions { return twill.JobOptions{Expires: time.Now().Add(d)} }

func retries(pauses ...time.Duration) twill.JobOptions {
	return twill.JobOptions{Retry: &twill.RetryOptions{Backoff: slices.Values(pauses)}}
}

// failing is a limiter that fails until it is mended, and counts.
type failing struct {
	mu     sync.Mutex
	asked  int
	mended bool
}

func (l *failing) Wait(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if l.mended {
		return nil
	}
	return kit.ErrBoom
}

func (l *failing) waits() int {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

func (l *failing) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mended = true
}

// stops runs a test with Stop and with StopNow of a queue.
func stops(t *testing.T, now bool, c *combo) func() *twill.Future[[]*comboJob] {
	if now {
		return c.q.StopNow
	}
	return c.q.Stop
}

// The cells of Stop and StopNow that are the same.

func stopGroups(now bool) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, oneEach)
		c.put("r", inG)
		for i, arg := range []string{"c", "a", "b"} {
			_, err := c.q.Put(arg, []int{2, 0, 1}[i], twill.JobOptions{Group: []string{"g", "g", ""}[i]})
			require.NoError(t, err)
		}
		synctest.Wait()
		c.called("r@0s", "b@0s")
		want := []string{"a", "c"}
		if now {
			want = []string{"r", "b", "a", "c"}
		}
		c.leaves(stops(t, now, c), want...)
	}
}

func stopSnooze(now bool) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, wide)
		c.does["a"] = []error{twill.Snooze(time.Minute)}
		c.put("a")
		synctest.Wait()
		left := c.leaves(stops(t, now, c), "a")
		require.Equal(t, c.start.Add(time.Minute), left[0].DueAt())
		require.Zero(t, left[0].Attempts())
		c.after(time.Hour)
		c.called("a@0s")
		require.Equal(t, twill.JobPending, left[0].State())
	}
}

func stopDebounce(now bool) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, wide)
		c.put("a", quiet)
		time.Sleep(time.Second)
		c.put("b", quiet)
		left := c.leaves(stops(t, now, c), "b")
		require.Equal(t, c.start.Add(time.Minute+time.Second), left[0].DueAt())
	}
}

func stopExpires(now bool) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, wide)
		c.q.Pause()
		c.put("a", expires(time.Minute))
		left := c.leaves(stops(t, now, c), "a")
		c.after(time.Hour)
		require.Equal(t, twill.JobPending, left[0].State())
	}
}

func stopHeld(now bool) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, wide)
		left := c.leaves(stops(t, now, c))
		require.Empty(t, left)
		c = newCombo(t, wide)
		c.put("a", held)
		left = c.leaves(stops(t, now, c), "a")
		left[0].Release()
		c.after(time.Hour)
		c.called()
	}
}

func stopContext(now bool) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, wide)
		c.put("a", withValue("v"))
		synctest.Wait()
		if now {
			c.leaves(c.q.StopNow, "a")
		} else {
			c.leaves(c.q.Stop)
		}
		require.Equal(t, []any{"v"}, c.values)
	}
}

func stopLimiter(now bool) func(t *testing.T) {
	return func(t *testing.T) {
		l := &failing{}
		c := newCombo(t, twill.DispatchOptions{Rate: l})
		c.put("a")
		time.Sleep(time.Second)
		asked := l.waits()
		require.Positive(t, asked)
		c.leaves(stops(t, now, c), "a")
		c.after(time.Hour)
		require.Equal(t, asked, l.waits(), "Wait is not called any longer")
	}
}

func withValue(v string) twill.JobOptions {
	return twill.JobOptions{Context: context.WithValue(context.Background(), comboKey{}, v)}
}

// dispatchCells are the tests.
var dispatchCells = map[string]func(t *testing.T){
	"Stop/groups":                       stopGroups(false),
	"StopNow/groups":                    stopGroups(true),
	"Stop/Snooze":                       stopSnooze(false),
	"StopNow/Snooze":                    stopSnooze(true),
	"Stop/Debounce":                     stopDebounce(false),
	"StopNow/Debounce":                  stopDebounce(true),
	"Stop/Expires":                      stopExpires(false),
	"StopNow/Expires":                   stopExpires(true),
	"Stop/Held":                         stopHeld(false),
	"StopNow/Held":                      stopHeld(true),
	"Stop/Context":                      stopContext(false),
	"StopNow/Context":                   stopContext(true),
	"Stop/limiter that fails":           stopLimiter(false),
	"StopNow/limiter that fails":        stopLimiter(true),
	"Stop/Again":                        stopAgain,
	"StopNow/Again":                     stopNowAgain,
	"Restore/groups":                    restoreGroups,
	"Restore/Snooze":                    restoreSnooze,
	"Restore/Again":                     restoreAgain,
	"Restore/Debounce":                  restoreDebounce,
	"Restore/Expires":                   restoreExpires,
	"Restore/Held":                      restoreHeld,
	"Restore/Context":                   restoreContext,
	"Restore/limiter that fails":        restoreLimiter,
	"Drain/groups":                      drainGroups,
	"Drain/Snooze":                      drainSnooze,
	"Drain/Again":                       drainAgain,
	"Drain/Debounce":                    drainDebounce,
	"Drain/Expires":                     drainExpires,
	"Drain/Held":                        drainHeld,
	"Drain/limiter that fails":          drainLimiter,
	"Clear/groups":                      clearAll(twill.DispatchOptions{Width: 1, GroupLimit: twill.GroupLimit{Width: 1}}, inG),
	"Clear/Snooze":                      clearSnooze,
	"Clear/Again":                       clearAgain,
	"Clear/Debounce":                    clearAll(wide, quiet),
	"Clear/Expires":                     clearAll(twill.DispatchOptions{}, twill.JobOptions{Expires: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}),
	"Clear/Held":                        clearAll(wide, held),
	"Cancel while pending/groups":       cancelPendingGroups,
	"Cancel while pending/Snooze":       cancelPendingSnooze,
	"Cancel while pending/Again":        cancelPendingAgain,
	"Cancel underway/groups":            cancelUnderwayGroups,
	"Cancel underway/Snooze":            cancelUnderwaySnooze,
	"Cancel underway/Again":             cancelUnderwayAgain,
	"Cancel after the end/Again":        cancelEndedAgain,
	"A duplicate key/groups":            duplicateGroups,
	"A duplicate key/Snooze":            duplicateSnooze,
	"A duplicate key/Again":             duplicateAgain,
	"A duplicate key/Debounce":          duplicateDebounce,
	"A duplicate key/Expires":           duplicateExpires,
	"A duplicate key/Held":              duplicateHeld,
	"Order among equals/Snooze":         equalsSnooze,
	"Order among equals/Again":          equalsAgain,
	"Order among equals/Debounce":       equalsDebounce,
	"Order among equals/Held":           equalsHeld,
	"Ageing/groups":                     ageingGroups,
	"Ageing/Snooze":                     ageingSnooze,
	"Ageing/Again":                      ageingAgain,
	"Ageing/Debounce":                   ageingDebounce,
	"Ageing/Expires":                    ageingExpires,
	"Ageing/Held":                       ageingHeld,
	"Retries/groups":                    retriesGroups,
	"Retries/Snooze":                    retriesSnooze,
	"Retries/Again":                     retriesAgain,
	"Retries/Debounce":                  retriesDebounce,
	"Retries/Expires":                   retriesExpires,
	"Retries/Held":                      retriesHeld,
	"Timeout/groups":                    timeoutGroups,
	"Timeout/Snooze":                    timeoutSnooze,
	"Timeout/Again":                     timeoutAgain,
	"Rate limit/groups":                 rateGroups,
	"Rate limit/Snooze":                 rateSnooze,
	"Rate limit/Again":                  rateAgain,
	"Rate limit/Held":                   rateHeld,
	"Rate limit/Debounce":               rateDelayed(quiet),
	"Rate limit/Expires":                rateExpires,
	"Size/groups":                       sizeGroups,
	"Size/Snooze":                       sizeSnooze,
	"Size/Again":                        sizeAgain,
	"Size/Debounce":                     sizeOf(quiet),
	"Size/Expires":                      sizeExpires,
	"Size/Held":                         sizeOf(held),
	"PutWait/groups":                    putWaitGroups,
	"PutWait/Again":                     putWaitAgain,
	"PutWait/Debounce":                  putWaitDebounce,
	"PutWait/Expires":                   putWaitExpires,
	"PutWait/Held":                      putWaitHeld,
	"TakeTurns/groups":                  turnsGroups,
	"TakeTurns/Snooze":                  turnsSnooze,
	"Reprioritize/groups":               reprioritizeGroups,
	"Reprioritize/Snooze":               reprioritizeDelayed(twill.JobOptions{}, true),
	"Reprioritize/Again":                reprioritizeAgain,
	"Reprioritize/Debounce":             reprioritizeDelayed(quiet, false),
	"Reprioritize/Held":                 reprioritizeHeld,
	"Why/groups":                        whyGroups,
	"Why/Snooze":                        whySnooze,
	"Why/Again":                         whyAgain,
	"Why/Debounce":                      whyDebounce,
	"Why/Expires":                       whyExpires,
	"Why/Held":                          whyHeld,
	"Refuse/groups":                     refuse(twill.DispatchOptions{}, inG, inG),
	"Refuse/Snooze":                     refuseSnooze,
	"Refuse/Again":                      refuse(twill.DispatchOptions{}, twill.JobOptions{}, again),
	"Refuse/Debounce":                   refuse(twill.DispatchOptions{}, quiet, quiet),
	"Refuse/Expires":                    refuse(twill.DispatchOptions{}, twill.JobOptions{Expires: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}, twill.JobOptions{}),
	"Refuse/Held":                       refuse(twill.DispatchOptions{}, held, twill.JobOptions{}),
	"Pause, width 0/groups":             heldBackGroups,
	"Pause, width 0/Snooze":             heldBackSnooze,
	"Pause, width 0/Again":              heldBackAgain,
	"Pause, width 0/Debounce":           heldBackDebounce,
	"Pause, width 0/Expires":            heldBackExpires,
	"Pause, width 0/Held":               heldBackHeld,
	"Pause, width 0/Context":            heldBackContext,
	"Pause, width 0/limiter that fails": heldBackLimiter,
	"Cancel while pending/Debounce":     cancelPendingKey(quiet),
	"Cancel while pending/Expires":      cancelPendingKey(twill.JobOptions{Expires: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), After: time.Hour}),
	"Cancel while pending/Held":         cancelPendingKey(held),
}

func stopAgain(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{kit.ErrBoom}
	c.put("a", again, retries(time.Minute))
	synctest.Wait()
	c.put("b", again) // a waits for its retry: it gets the argument
	require.Equal(t, []string{"b"}, kit.Args(c.q.Pending()))
	c = newCombo(t, wide)
	c.put("a", again)
	b := c.put("b", again)
	left := c.leaves(c.q.Stop, "b")
	require.Same(t, b, left[0])
	c.called("a@0s")

	c = newCombo(t, wide)
	gate := make(chan struct{})
	c.q.Use(func(ctx context.Context, j *comboJob, next func(context.Context) (string, error)) (string, error) {
		<-gate
		return next(ctx)
	})
	c.does["a"] = []error{kit.ErrBoom}
	c.put("a", again, retries(time.Minute))
	c.put("b", again)
	stopped := c.q.Stop()
	close(gate)
	c.leaves(func() *twill.Future[[]*comboJob] { return stopped }, "a", "b")
}

func stopNowAgain(t *testing.T) {
	c := newCombo(t, wide)
	a, b := c.put("a", again), c.put("b", again)
	c.leaves(c.q.StopNow, "a", "b")
	require.Equal(t, twill.JobCanceled, a.State())
	require.Equal(t, twill.JobPending, b.State())
}

func restoreGroups(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{GroupLimit: twill.GroupLimit{Width: 3}})
	c.q.Pause()
	for _, arg := range []string{"a", "b", "c"} {
		c.put(arg, inG)
	}
	next, jobs := c.restored(oneEach, c.leaves(c.q.Stop, "a", "b", "c"))
	require.Equal(t, "g", jobs[0].Group())
	next.ends()
	next.called("a@0s", "b@1s", "c@2s")
}

func restoreSnooze(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{kit.ErrBoom, twill.Snooze(time.Minute)}
	c.put("a", retries(0))
	synctest.Wait()
	next, jobs := c.restored(wide, c.leaves(c.q.Stop, "a"))
	require.Equal(t, 1, jobs[0].Attempts())
	next.ends()
	next.called("a@1m0s")
}

func restoreAgain(t *testing.T) {
	c := newCombo(t, wide)
	c.put("a", again)
	c.put("b", again)
	next, jobs := c.restored(wide, c.leaves(c.q.StopNow, "a", "b"))
	next.why(jobs[1], twill.WaitKey)
	next.ends()
	next.called("a@0s", "b@1s")

	c = newCombo(t, wide) // alone
	c.put("a", again)
	c.put("b", again)
	next, _ = c.restored(wide, c.leaves(c.q.Stop, "b"))
	next.ends()
	next.called("b@0s")
}

func restoreDebounce(t *testing.T) {
	c := newCombo(t, wide)
	c.put("a", quiet)
	next, jobs := c.restored(wide, c.leaves(c.q.Stop, "a"))
	next.after(30 * time.Second)
	require.Same(t, jobs[0], next.put("b", quiet))
	next.ends()
	next.called("b@1m30s")
}

func restoreExpires(t *testing.T) {
	c := newCombo(t, wide)
	c.q.Pause()
	c.put("a", expires(time.Minute))
	left := c.leaves(c.q.Stop, "a")
	early, jobs := c.restored(wide, left)
	early.succeeds(jobs[0])
	c.after(time.Minute)
	late, jobs := c.restored(wide, left)
	late.fails(jobs[0], twill.ErrExpired)
	late.called()

	// One that was called in time does not expire, even if its calls have snoozed.
	c = newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Hour)}
	c.does["b"] = []error{kit.ErrBoom}
	c.put("a", expires(time.Minute))
	c.put("b", expires(time.Minute), retries(time.Hour))
	synctest.Wait()
	left = c.leaves(c.q.Stop, "a", "b")
	c.after(2 * time.Hour)
	late, jobs = c.restored(wide, left)
	late.succeeds(jobs[0])
	late.succeeds(jobs[1])
}

func restoreHeld(t *testing.T) {
	c := newCombo(t, wide)
	c.put("a", held)
	next, jobs := c.restored(wide, c.leaves(c.q.Stop, "a"))
	require.False(t, jobs[0].Release())
	next.succeeds(jobs[0])
}

func restoreContext(t *testing.T) {
	c := newCombo(t, wide)
	c.q.Pause()
	c.put("a", withValue("v"))
	next, jobs := c.restored(wide, c.leaves(c.q.Stop, "a"))
	next.succeeds(jobs[0])
	require.Equal(t, []any{nil}, next.values)
}

func restoreLimiter(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Rate: &failing{}})
	c.put("a")
	time.Sleep(time.Second)
	next, jobs := c.restored(wide, c.leaves(c.q.Stop, "a"))
	next.succeeds(jobs[0])
}

func heldBackGroups(t *testing.T) {
	holds(t, oneEach, func(c *combo, resume func()) {
		for _, arg := range []string{"a", "b", "c"} {
			c.put(arg, inG)
		}
		require.NoError(t, c.q.SetGroupLimit("g", twill.GroupLimit{Width: 2}))
		c.after(time.Minute)
		c.called()
		resume()
		c.ends()
		c.called("a@1m0s", "b@1m0s", "c@1m1s")
	})
}

func heldBackSnooze(t *testing.T) {
	for _, pause := range []bool{true, false} {
		c := newCombo(t, twill.DispatchOptions{})
		c.does["a"] = []error{twill.Snooze(time.Second)}
		c.put("a")
		synctest.Wait()
		if pause {
			c.q.Pause()
		} else {
			require.NoError(t, c.q.SetWidth(0))
		}
		c.after(time.Minute)
		c.called("a@0s")
		require.NoError(t, c.q.ResumeWidth(1))
		c.ends()
		c.called("a@0s", "a@1m0s")
	}
}

func heldBackAgain(t *testing.T) {
	for _, pause := range []bool{true, false} {
		c := newCombo(t, wide)
		c.put("a", again)
		b := c.put("b", again)
		want := twill.WaitPause
		if pause {
			c.q.Pause()
		} else {
			require.NoError(t, c.q.SetWidth(0))
			want = twill.WaitWidth
		}
		c.why(b, twill.WaitKey)
		c.after(time.Minute)
		c.why(b, want)
		require.NoError(t, c.q.ResumeWidth(1))
		c.ends()
		c.called("a@0s", "b@1m0s")
	}
}

func heldBackDebounce(t *testing.T) {
	holds(t, wide, func(c *combo, resume func()) {
		j := c.put("a", quiet)
		c.after(time.Hour)
		c.called()
		require.Same(t, j, c.put("b", quiet), "and it may be moved again")
		resume()
		c.ends()
		c.called("b@1h1m0s")
	})
}

func heldBackExpires(t *testing.T) {
	holds(t, wide, func(c *combo, resume func()) {
		j := c.put("a", expires(time.Minute))
		c.fails(j, twill.ErrExpired)
		require.Equal(t, time.Minute, time.Since(c.start))
		resume()
		c.called()
	})
}

func heldBackHeld(t *testing.T) {
	holds(t, wide, func(c *combo, resume func()) {
		a, b := c.put("a", held), c.put("b", held)
		require.True(t, a.Release())
		c.after(time.Minute)
		c.called()
		resume()
		c.succeeds(a)
		c.why(b, twill.WaitHeld)
		c.called("a@1m0s")
		b.Cancel(nil)
	})
}

func heldBackContext(t *testing.T) {
	holds(t, wide, func(c *combo, resume func()) {
		ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), comboKey{}, "v"))
		j := c.put("a", twill.JobOptions{Context: ctx})
		cancel(kit.ErrBoom)
		c.after(time.Minute)
		resume()
		c.succeeds(j)
		require.Equal(t, []any{"v"}, c.values)
	})
}

func heldBackLimiter(t *testing.T) {
	l := &failing{}
	holds(t, twill.DispatchOptions{Rate: l}, func(c *combo, resume func()) {
		asked := l.waits()
		j := c.put("a")
		c.after(time.Minute)
		require.Equal(t, asked, l.waits())
		resume()
		require.Greater(t, l.waits(), asked)
		j.Cancel(nil)
	})
}

// drained checks that a Drain runs all jobs, and what was called.
func (c *combo) drained(want ...string) {
	c.Helper()
	left, err := c.q.Drain(c.Context())
	require.NoError(c, err)
	require.Empty(c, left)
	c.called(want...)
}

func drainGroups(t *testing.T) {
	c := newCombo(t, oneEach)
	for _, arg := range []string{"a", "b"} {
		c.put(arg, inG)
	}
	c.drained("a@0s", "b@1s")
}

func drainSnooze(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Minute)}
	c.put("a")
	c.drained("a@0s", "a@1m0s")
}

func drainAgain(t *testing.T) {
	c := newCombo(t, wide)
	c.put("a", again)
	c.put("b", again)
	c.drained("a@0s", "b@1s")
}

func drainDebounce(t *testing.T) {
	c := newCombo(t, wide)
	c.put("a", quiet)
	c.drained("a@1m0s")
}

func drainExpires(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.put("a")
	j := c.put("b", expires(500*time.Millisecond), inG)
	c.drained("a@0s")
	c.fails(j, twill.ErrExpired)
}

func drainHeld(t *testing.T) {
	c := newCombo(t, wide)
	a := c.put("a", held)
	drained := twill.Go(t.Context(), c.q.Drain)
	c.after(time.Hour)
	require.False(t, c.q.Stopped())
	require.True(t, a.Release())
	left, err := drained.Await(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
	c.called("a@1h0m0s")

	c = newCombo(t, wide)
	a = c.put("a", held)
	drained = twill.Go(t.Context(), c.q.Drain)
	synctest.Wait()
	require.True(t, a.Cancel(nil))
	_, err = drained.Await(t.Context())
	require.NoError(t, err)
}

func drainLimiter(t *testing.T) {
	l := &failing{}
	c := newCombo(t, twill.DispatchOptions{Rate: l})
	c.put("a")
	time.AfterFunc(time.Minute, l.mend)
	left, err := c.q.Drain(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
	require.Greater(t, time.Since(c.start), time.Minute)
}

// clearAll checks that Clear cancels all jobs with some options. One job
// without is underway.
func clearAll(dispatch twill.DispatchOptions, o twill.JobOptions) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, dispatch)
		running := c.put("r", twill.JobOptions{Group: o.Group})
		jobs := []*comboJob{c.put("a", o)}
		o.Key = ""
		jobs = append(jobs, c.put("b", o))
		require.Equal(t, 2, c.q.Clear())
		for _, j := range jobs {
			c.fails(j, twill.ErrCanceled)
		}
		c.succeeds(running)
		_, ok := c.q.Find("k")
		require.False(t, ok)
		c.ends()
		c.succeeds(c.put("c", twill.JobOptions{Group: o.Group}))
	}
}

func clearSnooze(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Minute)}
	j := c.put("a")
	synctest.Wait()
	require.Equal(t, 1, c.q.Clear())
	c.fails(j, twill.ErrCanceled)
	c.ends()
}

func clearAgain(t *testing.T) {
	c := newCombo(t, wide)
	a, b := c.put("a", again), c.put("b", again)
	require.Equal(t, 1, c.q.Clear())
	c.fails(b, twill.ErrCanceled)
	c.succeeds(a)
	c.ends()
	c.called("a@0s")
}

func cancelPendingGroups(t *testing.T) {
	c := newCombo(t, oneEach)
	c.put("a", inG)
	b, d := c.put("b", inG), c.put("c", inG)
	require.True(t, b.Cancel(nil))
	c.succeeds(d)
	c.called("a@0s", "c@1s")
}

func cancelPendingSnooze(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Minute)}
	j := c.put("a", twill.JobOptions{Key: "k"})
	synctest.Wait()
	require.True(t, j.Cancel(nil))
	kit.RequireSize(t, c.q, 0, 0)
	require.NotSame(t, j, c.put("b", twill.JobOptions{Key: "k"}))
	c.ends()
	c.called("a@0s", "b@0s")
}

func cancelPendingAgain(t *testing.T) {
	c := newCombo(t, wide)
	a, b := c.put("a", again), c.put("b", again)
	require.True(t, b.Cancel(nil))
	found, _ := c.q.Find("k")
	require.Same(t, a, found)
	d := c.put("c", again)
	require.NotSame(t, a, d)
	c.succeeds(d)
	c.called("a@0s", "c@1s")
}

func cancelPendingKey(o twill.JobOptions) func(t *testing.T) {
	return func(t *testing.T) {
		o.Key = "k"
		c := newCombo(t, wide)
		a := c.put("a", o)
		require.True(t, a.Cancel(nil))
		kit.RequireSize(t, c.q, 0, 0)
		require.False(t, a.Release())
		b := c.put("b", twill.JobOptions{Key: "k"})
		require.NotSame(t, a, b)
		c.succeeds(b)
		c.after(24 * time.Hour)
		c.called("b@0s")
	}
}

func cancelUnderwayGroups(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Width: 5, GroupLimit: twill.GroupLimit{Width: 1}})
	gate := make(chan struct{})
	c.q.Use(func(ctx context.Context, j *comboJob, next func(context.Context) (string, error)) (string, error) {
		if j.Arg() == "a" { // it does not heed its context
			<-gate
		}
		return next(ctx)
	})
	a, b := c.put("a", inG), c.put("b", inG)
	synctest.Wait()
	require.True(t, a.Cancel(nil))
	c.after(time.Minute)
	require.Equal(t, twill.JobPending, b.State())
	c.why(b, twill.WaitGroup)
	close(gate)
	c.succeeds(b)
}

func cancelUnderwaySnooze(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Minute)}
	c.q.Use(func(ctx context.Context, j *comboJob, next func(context.Context) (string, error)) (string, error) {
		<-ctx.Done()
		return next(ctx)
	})
	a := c.put("a")
	require.True(t, a.Cancel(nil))
	c.ends()
	kit.RequireSize(t, c.q, 0, 0)
	require.Zero(t, c.q.Stats().Snoozed)
	c.fails(a, twill.ErrCanceled)
}

func cancelUnderwayAgain(t *testing.T) {
	c := newCombo(t, wide)
	gate := make(chan struct{})
	c.q.Use(func(ctx context.Context, j *comboJob, next func(context.Context) (string, error)) (string, error) {
		if j.Arg() == "a" {
			<-gate
		}
		return next(ctx)
	})
	a, b := c.put("a", again), c.put("b", again)
	synctest.Wait()
	require.True(t, a.Cancel(nil))
	require.Equal(t, twill.JobUnderway, b.State(), "beside the call that was canceled")
	c.succeeds(b)
	close(gate)
	c.ends()
}

func cancelEndedAgain(t *testing.T) {
	c := newCombo(t, wide)
	a, b := c.put("a", again), c.put("b", again)
	c.succeeds(a)
	require.False(t, a.Cancel(nil))
	c.succeeds(b)
	require.False(t, b.Cancel(nil))
	c.called("a@0s", "b@1s")
}

func duplicateGroups(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.q.Pause()
	j := c.put("a", twill.JobOptions{Key: "k", Group: "g"})
	require.Same(t, j, c.put("b", twill.JobOptions{Key: "k", Group: "h"}))
	require.Equal(t, "g", j.Group())
	require.Equal(t, "a", j.Arg())
	require.NoError(t, c.q.Resume())
	c.ends()
}

func duplicateSnooze(t *testing.T) {
	for _, attempts := range []int{0, 1} {
		c := newCombo(t, wide)
		c.does["a"] = []error{twill.Snooze(time.Minute)}
		if attempts > 0 {
			c.does["a"] = []error{kit.ErrBoom, twill.Snooze(time.Minute)}
		}
		j := c.put("a", twill.JobOptions{Key: "k"}, retries(0))
		synctest.Wait()
		require.Equal(t, attempts, j.Attempts())
		require.Same(t, j, c.put("b", twill.JobOptions{Key: "k"}))
		c.ends()
		want := []string{"a@0s", "a@0s"}
		if attempts > 0 {
			want = []string{"a@0s", "a@0s", "a@1m0s"}
		}
		c.called(want...)
	}
}

func duplicateAgain(t *testing.T) {
	c := newCombo(t, wide)
	a := c.put("a", again, twill.JobOptions{After: time.Second})
	require.Same(t, a, c.put("b", again, twill.JobOptions{After: time.Second}), "it gets the new argument")
	c.after(time.Second)
	d := c.put("c", again)
	require.NotSame(t, a, d, "a new run")
	require.Same(t, d, c.put("d", again))
	c.ends()
	c.called("b@1s", "d@2s")
}

func duplicateDebounce(t *testing.T) {
	c := newCombo(t, wide)
	j := c.put("a", quiet)
	c.after(30 * time.Second)
	require.Same(t, j, c.put("b", quiet), "later")
	require.Same(t, j, c.put("c", twill.JobOptions{Key: "k", Debounce: true, After: time.Second}), "earlier")
	c.ends()
	c.called("c@31s")
}

func duplicateExpires(t *testing.T) {
	c := newCombo(t, wide)
	c.q.Pause()
	j := c.put("a", twill.JobOptions{Key: "k"}, expires(time.Minute))
	require.Same(t, j, c.put("b", twill.JobOptions{Key: "k"}, expires(time.Hour)))
	c.fails(j, twill.ErrExpired)
	require.Equal(t, time.Minute, time.Since(c.start))
}

func duplicateHeld(t *testing.T) {
	c := newCombo(t, wide)
	j := c.put("a", twill.JobOptions{Key: "k"}, held)
	for _, o := range []twill.JobOptions{{Key: "k"}, again, {Key: "k", Debounce: true}} {
		require.Same(t, j, c.put("b", o))
	}
	c.after(time.Minute)
	c.why(j, twill.WaitHeld)
	require.True(t, j.Release())
	c.succeeds(j)
	c.called("b@1m0s")
}

// refuse checks that a Put with Refuse of a key that is pending is refused, and
// changes nothing.
func refuse(dispatch twill.DispatchOptions, first, second twill.JobOptions) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, dispatch)
		c.put("r")
		first.Key, second.Key, second.Refuse = "k", "k", true
		j := c.put("a", first)
		due := j.DueAt()
		got, err := c.q.Put("b", -1, second)
		require.ErrorIs(t, err, twill.ErrDuplicateJob)
		require.Same(t, j, got)
		require.Equal(t, "a", j.Arg())
		require.Zero(t, j.Priority())
		require.Equal(t, due, j.DueAt())
		if !first.Held && first.After == 0 {
			c.after(time.Second)
			require.Equal(t, twill.JobUnderway, j.State())
			got, err = c.q.Put("b", 0, second) // underway
			require.ErrorIs(t, err, twill.ErrDuplicateJob)
			require.Same(t, j, got)
		}
		j.Cancel(nil)
		c.ends()
	}
}

func refuseSnooze(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Minute)}
	j := c.put("a", twill.JobOptions{Key: "k"})
	synctest.Wait()
	got, err := c.q.Put("b", 0, twill.JobOptions{Key: "k", Refuse: true})
	require.ErrorIs(t, err, twill.ErrDuplicateJob)
	require.Same(t, j, got)
	c.ends()
	c.called("a@0s", "a@1m0s")
}

func ageingGroups(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Ageing: time.Second, TakeTurns: true})
	c.q.Pause()
	c.put("a", inG)
	c.put("b", inG)
	c.put("c", twill.JobOptions{Group: "h"})
	c.after(3 * time.Second)
	_, err := c.q.Put("d", -2, twill.JobOptions{Group: "h"}) // as if put a second after the others
	require.NoError(t, err)
	require.NoError(t, c.q.Resume())
	c.ends()
	c.called("a@3s", "b@4s", "c@5s", "d@6s")
}

// ages checks the order of a job that began to wait at some time beside others:
// one put before that with the same priority, and one put after it.
func (c *combo) ages(want ...string) {
	c.Helper()
	require.Equal(c, want, kit.Args(c.q.Pending()))
	require.NoError(c, c.q.Resume())
	c.ends()
}

func ageingSnooze(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Ageing: time.Hour})
	c.does["a"] = []error{twill.Snooze(time.Minute)}
	c.put("a")
	synctest.Wait()
	c.q.Pause()
	c.after(time.Second)
	c.put("b")
	c.after(2 * time.Minute)
	c.ages("a", "b") // its age is that of its Put, not of its snooze

	c = newCombo(t, twill.DispatchOptions{Ageing: time.Hour})
	c.does["a"] = []error{twill.Snooze(0)}
	c.q.Pause()
	for i, arg := range []string{"a", "b", "c"} {
		c.after(time.Duration(i+1) * time.Second)
		c.put(arg)
	}
	require.NoError(t, c.q.Resume())
	c.ends()
	c.called("a@3s", "b@3s", "c@4s", "a@5s")
}

func equalsSnooze(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.does["a"] = []error{twill.Snooze(0)}
	c.does["s"] = []error{twill.Snooze(time.Second)}
	c.q.Pause()
	for _, arg := range []string{"a", "s", "b", "c"} {
		c.put(arg)
	}
	require.NoError(t, c.q.Resume())
	c.after(500 * time.Millisecond)
	require.Equal(t, []string{"c", "a", "s"}, kit.Args(c.q.Pending())) // s is not due
	c.ends()
	c.called("a@0s", "s@0s", "b@0s", "s@1s", "c@2s", "a@3s")
}

func equalsAgain(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.put("r", again)
	c.put("x")
	c.put("a", again)
	c.put("b")
	c.put("c", again) // in place of a
	c.ends()
	c.called("r@0s", "x@1s", "c@2s", "b@3s")
}

func equalsDebounce(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.q.Pause()
	c.put("a", quiet)
	c.put("b")
	c.put("c", quiet)
	c.after(2 * time.Minute)
	require.NoError(t, c.q.Resume())
	c.ends()
	c.called("c@2m0s", "b@2m1s")
}

func equalsHeld(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.q.Pause()
	a := c.put("a", held)
	c.put("b")
	require.True(t, a.Release())
	require.NoError(t, c.q.Resume())
	c.ends()
	c.called("a@0s", "b@1s")
}

func ageingAgain(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Ageing: time.Hour})
	c.put("r", again)
	c.put("a", again)
	c.q.Pause()
	c.after(500 * time.Millisecond)
	c.put("b")
	c.after(time.Minute)
	c.ages("a", "b")
}

func ageingDebounce(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Ageing: time.Hour})
	c.q.Pause()
	c.put("a", quiet)
	c.after(30 * time.Second)
	c.put("a", quiet) // due after 1m30s
	c.after(80 * time.Second)
	c.put("b")
	c.after(2 * time.Minute)
	c.ages("b", "a")
}

func ageingExpires(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Ageing: time.Hour})
	c.q.Pause()
	c.put("a")
	c.after(time.Second)
	c.put("b", expires(time.Hour))
	c.after(2 * time.Second)
	c.put("c")
	c.ages("a", "b", "c")
}

func ageingHeld(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Ageing: time.Hour})
	c.q.Pause()
	a := c.put("a", held)
	c.after(time.Second)
	c.put("b")
	c.after(2 * time.Second)
	require.True(t, a.Release())
	c.ages("a", "b")
}

func retriesGroups(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Width: 5, GroupLimit: twill.GroupLimit{Width: 1, Rate: 1}})
	c.does["a"] = []error{kit.ErrBoom, kit.ErrBoom}
	a := c.put("a", inG, retries(100*time.Millisecond, 10*time.Second))
	b := c.put("b", inG)
	c.succeeds(b) // in a's pause no place is taken
	c.succeeds(a)
	c.called("a@0s", "a@1s", "b@2s", "a@11s")
}

func retriesSnooze(t *testing.T) {
	var events []twill.RetryEvent
	o := retries(time.Second, time.Minute)
	o.Retry.MaxElapsed = 10 * time.Minute
	o.Retry.OnRetry = func(e twill.RetryEvent) { events = append(events, e) }
	tested := 0
	o.Retry.NewTester = func() func(error) error {
		return func(error) error { tested++; return nil }
	}
	c := newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Hour), kit.ErrBoom, twill.Snooze(time.Hour), kit.ErrBoom}
	a := c.put("a", o)
	c.succeeds(a)
	c.called("a@0s", "a@1h0m0s", "a@1h0m1s", "a@2h0m1s", "a@2h1m1s")
	require.Equal(t, 3, a.Attempts())
	require.Equal(t, 2, tested)
	require.Len(t, events, 2, "one before each retry")
	require.Equal(t, 1, events[0].Attempt)
	require.Equal(t, 2, events[1].Attempt)
}

func retriesAgain(t *testing.T) {
	c := newCombo(t, wide)
	gate := make(chan struct{}, 1)
	c.q.Use(func(ctx context.Context, j *comboJob, next func(context.Context) (string, error)) (string, error) {
		<-gate
		return next(ctx)
	})
	c.does["a"] = []error{kit.ErrBoom}
	c.put("a", again, retries(time.Minute))
	b := c.put("b", again)
	gate <- struct{}{}
	synctest.Wait()
	c.why(b, twill.WaitKey)
	require.Same(t, b, c.put("c", again), "the run that is the last gets the newest argument")
	close(gate)
	c.succeeds(b)
	c.ends()
	c.called("a@0s", "a@1m0s", "c@1m1s")
}

func retriesDebounce(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{kit.ErrBoom}
	j := c.put("a", quiet, retries(time.Hour))
	c.after(2 * time.Minute)
	due := j.DueAt()
	require.Same(t, j, c.put("b", quiet))
	require.Equal(t, due, j.DueAt(), "the pause stays")
	c.ends()
	c.called("a@1m0s", "b@1h1m0s")
}

func retriesExpires(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{kit.ErrBoom}
	a := c.put("a", expires(time.Minute), retries(time.Hour))
	c.succeeds(a)
	c.called("a@0s", "a@1h0m0s")
}

func retriesHeld(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{kit.ErrBoom}
	a := c.put("a", held, retries(time.Hour))
	require.True(t, a.Release())
	synctest.Wait()
	c.why(a, twill.WaitDue)
	require.False(t, a.Release())
	c.succeeds(a)
}

func timeoutGroups(t *testing.T) {
	c := newCombo(t, oneEach)
	o := twill.JobOptions{Group: "g", Timeout: 1500 * time.Millisecond}
	c.put("a", o)
	b := c.put("b", o)
	c.succeeds(b) // it has waited for a second

	c = newCombo(t, oneEach)
	c.does["a"] = []error{kit.ErrBoom}
	a := c.put("a", o, retries(100*time.Millisecond))
	c.put("b", inG)
	c.put("c", inG)
	_, err := a.Await(t.Context()) // after its first start the wait counts
	require.ErrorAs(t, err, new(*twill.TimeoutError))
	require.Equal(t, 1500*time.Millisecond, time.Since(c.start))
	c.ends()
}

func timeoutSnooze(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Hour)}
	a := c.put("a", twill.JobOptions{Timeout: time.Minute})
	_, err := a.Await(t.Context())
	require.ErrorAs(t, err, new(*twill.TimeoutError))
	require.Equal(t, time.Minute, time.Since(c.start))
	kit.RequireSize(t, c.q, 0, 0)
}

func timeoutAgain(t *testing.T) {
	c := newCombo(t, wide)
	o := twill.JobOptions{Timeout: 1500 * time.Millisecond}
	c.put("a", again, o)
	b := c.put("b", again, o)
	c.succeeds(b)
	require.Equal(t, 2*time.Second, time.Since(c.start))
}

// ticks is a limiter that lets one start each second, and counts.
func ticks(n *int, mu *sync.Mutex) twill.Limiter {
	var next time.Time
	return kit.LimiterFunc(func(ctx context.Context) error {
		mu.Lock()
		wait := time.Until(next)
		mu.Unlock()
		select {
		case <-time.After(max(wait, 0)):
		case <-ctx.Done():
			return ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		*n++
		next = time.Now().Add(time.Second)
		return nil
	})
}

// rated runs jobs under a limit of one start a second, and returns how many
// permits were taken.
func rated(t *testing.T, o twill.DispatchOptions, fill func(c *combo), want ...string) {
	t.Helper()
	var n int
	var mu sync.Mutex
	o.Rate = ticks(&n, &mu)
	c := newCombo(t, o)
	fill(c)
	c.ends()
	c.called(want...)
	require.Equal(t, len(want), n, "one permit for each call")
}

func rateGroups(t *testing.T) {
	rated(t, twill.DispatchOptions{Width: 5, GroupLimit: twill.GroupLimit{Rate: 0.25}}, func(c *combo) {
		c.put("a", inG)
		c.put("b", inG)
		c.put("c")
		c.put("d")
	}, "a@0s", "c@1s", "d@2s", "b@4s")
}

func rateSnooze(t *testing.T) {
	rated(t, wide, func(c *combo) {
		c.does["a"] = []error{twill.Snooze(0)}
		c.put("a")
	}, "a@0s", "a@1s")
}

func rateAgain(t *testing.T) {
	rated(t, wide, func(c *combo) {
		c.put("a", again)
		synctest.Wait()
		c.put("b", again)
	}, "a@0s", "b@1s")
}

func rateHeld(t *testing.T) {
	rated(t, wide, func(c *combo) {
		a := c.put("a", held)
		c.after(10 * time.Second)
		a.Release()
	}, "a@10s")
}

func rateDelayed(o twill.JobOptions) func(t *testing.T) {
	return func(t *testing.T) {
		rated(t, wide, func(c *combo) { c.put("a", o) }, "a@1m0s")
	}
}

func rateExpires(t *testing.T) {
	rated(t, wide, func(c *combo) {
		c.put("a")
		b := c.put("b", expires(500*time.Millisecond))
		d := c.put("c")
		c.fails(b, twill.ErrExpired)
		c.succeeds(d)
	}, "a@0s", "c@1s")
}

// full checks that there is no room for another job.
func (c *combo) full() {
	c.Helper()
	_, err := c.q.Put("more", 0, held)
	require.ErrorIs(c, err, twill.ErrQueueFull)
}

func sizeGroups(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Width: 5, Size: 1, GroupLimit: twill.GroupLimit{Width: 1}})
	c.put("a", inG)
	c.put("b", inG)
	c.full()
	c.put("c", twill.JobOptions{Group: "h"}) // a slot is free for it
	c.ends()
}

func sizeSnooze(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Size: 1})
	c.does["a"] = []error{twill.Snooze(time.Minute)}
	c.put("a")
	synctest.Wait()
	c.full()
	c.ends()
}

func sizeAgain(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Width: 5, Size: 1})
	c.put("a", again)
	b := c.put("b", again)
	c.full()
	require.Same(t, b, c.put("c", again), "it joins")
	c.ends()
	c = newCombo(t, twill.DispatchOptions{Width: 5, Size: -1})
	c.put("a", again)
	_, err := c.q.Put("b", 0, again)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	c.ends()
}

func sizeOf(o twill.JobOptions) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, twill.DispatchOptions{Width: 5, Size: 1})
		c.put("a", o)
		c.full()
		c.q.Clear()
		c.put("b", o)
		c.q.Clear()
	}
}

func sizeExpires(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Size: 1})
	c.put("r")
	c.put("a", expires(500*time.Millisecond))
	c.full()
	c.after(500 * time.Millisecond)
	c.put("b")
	c.ends()
	c.called("r@0s", "b@1s")
}

// putWaits starts a PutWait, and returns a future of its job.
func (c *combo) putWaits(arg string, o ...twill.JobOptions) *twill.Future[*comboJob] {
	f := twill.Go(c.Context(), func(ctx context.Context) (*comboJob, error) { return c.q.PutWait(ctx, arg, 0, o...) })
	synctest.Wait()
	return f
}

func putWaitGroups(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Width: 2, Size: -1, GroupLimit: twill.GroupLimit{Width: 1}})
	c.put("a", inG)
	first := c.putWaits("b", inG)
	second := c.putWaits("c", twill.JobOptions{Group: "h"})
	_, ok := first.Poll()
	require.False(t, ok)
	_, ok = second.Poll()
	require.True(t, ok, "its group is open, and a slot is free")
	c.after(time.Minute)
	_, ok = first.Poll()
	require.True(t, ok)
	c.called("a@0s", "c@0s", "b@1s")
}

func putWaitAgain(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Width: 5, Size: -1})
	c.put("a", again)
	f := c.putWaits("b", again)
	_, ok := f.Poll()
	require.False(t, ok, "no room for the run that follows")
	c.after(time.Minute)
	c.called("a@0s", "b@1s")
	c = newCombo(t, twill.DispatchOptions{Width: 5, Size: 1})
	c.put("a", again)
	b, err := c.putWaits("b", again).Await(t.Context())
	require.NoError(t, err)
	require.Same(t, b, c.put("c", again))
	c.ends()
	c.called("a@0s", "c@1s")
	// When there is room, the first put in line has its run, and the second one
	// joins that.
	c = newCombo(t, twill.DispatchOptions{Width: 1, Size: 1})
	c.put("a", again)
	blocker := c.put("x", held)
	first, second := c.putWaits("b", again), c.putWaits("c", again)
	blocker.Cancel(nil)
	synctest.Wait()
	r1, ok1 := first.Poll()
	r2, ok2 := second.Poll()
	require.True(t, ok1 && ok2)
	require.Same(t, r1.Value, r2.Value)
	c.ends()
	c.called("a@0s", "c@1s")
	// A put that waits for room for its run joins the run before it when that is
	// pending again.
	for _, end := range []error{twill.Snooze(0), twill.Snooze(time.Minute), errors.New("try again")} {
		calls := []string{}
		c.q = twill.NewResizableDispatchQueue(func(_ context.Context, arg string) (string, error) {
			time.Sleep(time.Second)
			if calls = append(calls, arg); len(calls) == 1 {
				return "", end
			}
			return arg, nil
		}, &twill.DispatchOptions{Width: 1, Size: -1, Retry: &twill.RetryOptions{}})
		a := c.put("a", again)
		f := c.putWaits("b", again)
		_, ok := f.Poll()
		require.False(t, ok)
		b, err := f.Await(t.Context())
		require.NoError(t, err)
		require.Same(t, a, b)
		_, err = b.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, calls, end)
	}
}

func putWaitDebounce(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Size: 1})
	blocker := c.put("x", held)
	f := c.putWaits("a", quiet)
	c.after(30 * time.Second)
	_, ok := f.Poll()
	require.False(t, ok, "a slot is free, and is not for one that is not due")
	blocker.Cancel(nil)
	synctest.Wait()
	_, ok = f.Poll()
	require.True(t, ok)
	c.ends()
	c.called("a@1m0s") // its time has passed in line
}

func putWaitExpires(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Size: -1})
	c.put("r")
	f := c.putWaits("a", expires(500*time.Millisecond))
	j, err := f.Await(t.Context())
	require.NoError(t, err)
	c.fails(j, twill.ErrExpired)
	c.called("r@0s")
}

func putWaitHeld(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{Width: 5, Size: 1})
	blocker := c.put("x", held)
	f := c.putWaits("a", held)
	_, ok := f.Poll()
	require.False(t, ok)
	blocker.Cancel(nil)
	j, err := f.Await(t.Context())
	require.NoError(t, err)
	c.why(j, twill.WaitHeld)
	j.Release()
	c.succeeds(j)
}

func turnsGroups(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{TakeTurns: true})
	c.q.Pause()
	for _, arg := range []string{"a0", "a1", "b0", "b1", "0", "1"} {
		c.put(arg, twill.JobOptions{Group: strings.TrimRight(arg, "01")})
	}
	_, err := c.q.Put("urgent", -1, twill.JobOptions{Group: "c"})
	require.NoError(t, err)
	require.NoError(t, c.q.Resume())
	c.ends()
	c.called("urgent@0s", "a0@1s", "b0@2s", "0@3s", "a1@4s", "b1@5s", "1@6s")
}

func turnsSnooze(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{TakeTurns: true})
	c.does["a0"] = []error{twill.Snooze(0)}
	c.q.Pause()
	for _, arg := range []string{"a0", "b0", "b1"} {
		c.put(arg, twill.JobOptions{Group: arg[:1]})
	}
	require.NoError(t, c.q.Resume())
	c.ends()
	c.called("a0@0s", "b0@0s", "a0@1s", "b1@2s")
}

func reprioritizeGroups(t *testing.T) {
	c := newCombo(t, oneEach)
	c.put("r", inG)
	c.put("a", inG)
	b := c.put("b", inG)
	require.NoError(t, c.q.Reprioritize(b, -1))
	c.ends()
	c.called("r@0s", "b@1s", "a@2s")
}

// reprioritizeDelayed checks that a job that is not due gets another priority,
// and keeps its due time.
func reprioritizeDelayed(o twill.JobOptions, snoozes bool) func(t *testing.T) {
	return func(t *testing.T) {
		c := newCombo(t, twill.DispatchOptions{})
		if snoozes {
			c.does["a"] = []error{twill.Snooze(time.Minute)}
		}
		a := c.put("a", o)
		synctest.Wait()
		due := a.DueAt()
		require.NoError(t, c.q.Reprioritize(a, -1))
		require.Equal(t, due, a.DueAt())
		c.q.Pause()
		c.put("b")
		c.after(time.Hour)
		require.NoError(t, c.q.Resume())
		require.Equal(t, twill.JobUnderway, a.State())
		c.ends()
	}
}

func reprioritizeAgain(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.put("r", again)
	c.put("b")
	a := c.put("a", again)
	require.NoError(t, c.q.Reprioritize(a, -1))
	c.ends()
	c.called("r@0s", "a@1s", "b@2s")
}

func reprioritizeHeld(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.put("r")
	c.put("b")
	a := c.put("a", held)
	require.NoError(t, c.q.Reprioritize(a, -1))
	require.Error(t, c.q.Reprioritize(nil, 0))
	a.Release()
	c.ends()
	c.called("r@0s", "a@1s", "b@2s")
}

func whyGroups(t *testing.T) {
	c := newCombo(t, oneEach)
	c.put("a", inG)
	b := c.put("b", inG)
	c.why(b, twill.WaitGroup)
	c.q.Pause()
	c.why(b, twill.WaitPause)
	require.NoError(t, c.q.Resume())
	require.NoError(t, c.q.SetGroupLimit("g", twill.GroupLimit{Rate: 0.5}))
	d := c.put("c", inG)
	reason, until := c.q.Why(d)
	require.Equal(t, twill.WaitGroup, reason)
	require.Equal(t, time.Now().Add(2*time.Second), until)
	c.ends()
	c.why(d, twill.WaitNone)
}

func whySnooze(t *testing.T) {
	c := newCombo(t, wide)
	c.does["a"] = []error{twill.Snooze(time.Minute)}
	a := c.put("a")
	synctest.Wait()
	reason, until := c.q.Why(a)
	require.Equal(t, twill.WaitDue, reason)
	require.Equal(t, c.start.Add(time.Minute), until)
	c.ends()
}

func whyAgain(t *testing.T) {
	c := newCombo(t, wide)
	c.put("a", again)
	b := c.put("b", again, quiet)
	c.why(b, twill.WaitKey)
	c.after(time.Second)
	c.why(b, twill.WaitDue)
	c.ends()
}

func whyDebounce(t *testing.T) {
	c := newCombo(t, wide)
	a := c.put("a", quiet)
	c.after(time.Second)
	c.put("a", quiet)
	_, until := c.q.Why(a)
	require.Equal(t, c.start.Add(time.Minute+time.Second), until)
	c.why(a, twill.WaitDue)
	c.ends()
}

func whyExpires(t *testing.T) {
	c := newCombo(t, twill.DispatchOptions{})
	c.put("r")
	a := c.put("a", expires(500*time.Millisecond))
	c.why(a, twill.WaitWidth)
	c.after(time.Second)
	c.why(a, twill.WaitNone)
}

func whyHeld(t *testing.T) {
	c := newCombo(t, wide)
	a := c.put("a", held, quiet)
	c.q.Pause()
	c.why(a, twill.WaitHeld)
	a.Release()
	c.why(a, twill.WaitDue)
	c.after(time.Hour)
	c.why(a, twill.WaitPause)
	c.q.Stop()
	c.why(a, twill.WaitStopped)
}
