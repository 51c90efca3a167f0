package twill_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

type message struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

func TestJobAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		send := func(ctx context.Context, m message) (int, error) { return 0, errBoom }
		q := twill.NewResizableDispatchQueue(send, &twill.DispatchOptions{Retry: rdqRetry(time.Hour)})
		j, err := q.Put(message{"+1", "hi"}, 3, twill.JobOptions{Key: "k"})
		require.NoError(t, err)
		plain := rdqPut(t, q, message{"+2", "ho"}, 0)
		time.Sleep(time.Second)
		text, err := json.Marshal(j)
		require.NoError(t, err)
		require.JSONEq(t, `{"arg": {"to": "+1", "text": "hi"}, "priority": 3, "state": "PENDING", "key": "k", "attempts": 1,
			"queued": "2000-01-01T00:00:00Z", "due": "2000-01-01T01:00:00Z", "started": "2000-01-01T00:00:00Z"}`, string(text))
		var r twill.JobRecord[message]
		require.NoError(t, json.Unmarshal(text, &r))
		want := j.Record()
		require.True(t, want.Queued.Equal(r.Queued) && want.Due.Equal(r.Due) && want.Started.Equal(r.Started))
		require.Equal(t, 1, plain.Attempts())
		q.Clear()

		var s twill.JobState
		require.ErrorContains(t, json.Unmarshal([]byte(`"LOST"`), &s), `"LOST"`)
	})
}

func TestRestoreKeepsTheOrderOfManyJobs(t *testing.T) {
	const n = 100_000
	rng := rand.New(rand.NewPCG(1, 2))
	old := twill.NewResizableDispatchQueue(rdqSame, nil)
	old.Pause()
	for i := range n {
		j := rdqPut(t, old, i, rng.IntN(10))
		if rng.IntN(10) == 0 {
			require.NoError(t, old.Reprioritize(j, rng.IntN(10)))
		}
	}
	left, err := old.Stop().Await(t.Context())
	require.NoError(t, err)
	require.Len(t, left, n)
	text, err := json.Marshal(left)
	require.NoError(t, err)
	var records []twill.JobRecord[int]
	require.NoError(t, json.Unmarshal(text, &records))

	q := twill.NewResizableDispatchQueue(rdqSame, &twill.DispatchOptions{Size: 10})
	q.Pause()
	equal := rdqPut(t, q, -1, 4)
	jobs, err := q.Restore(records)
	require.NoError(t, err, "Size does not count")
	require.Equal(t, rdqArgs(left), rdqArgs(jobs))
	pending := q.Pending()
	require.Len(t, pending, n+1)
	i := 0
	for _, j := range pending {
		if j == equal {
			require.Equal(t, 4, pending[i-1].Priority())
			require.Equal(t, 5, pending[i+1].Priority(), "behind all equals that were restored")
			continue
		}
		if left[i].Arg() != j.Arg() || left[i].Priority() != j.Priority() || left[i].Queued().UnixNano() != j.Queued().UnixNano() {
			t.Fatalf("job %d is %+v, and was %+v", i, j.Record(), left[i].Record())
		}
		i++
	}
	last, err := q.Restore([]twill.JobRecord[int]{{Arg: -2, Priority: 4}})
	require.NoError(t, err)
	for _, j := range q.Pending() {
		if j.Priority() == 4 {
			require.Same(t, last[0], j, "before those that were restored earlier")
			break
		}
	}
}

// TestRestoreKeepsTheOrderAlsoWithAgeing: a job that was tried before stands
// where it did, and one that has waited long before one that is more urgent.
func TestRestoreKeepsTheOrderAlsoWithAgeing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &twill.DispatchOptions{Ageing: time.Second, Retry: rdqRetry(time.Minute)}
		old := twill.NewResizableDispatchQueue(rdqFlaky(), o)
		rdqPut(t, old, 1, 3) // fails at once
		synctest.Wait()
		old.Pause()
		rdqPut(t, old, 2, 3)
		time.Sleep(10 * time.Second)
		rdqPut(t, old, 3, 0)
		rdqPutOpts(t, old, 4, 9, twill.JobOptions{After: time.Second})
		rdqPutOpts(t, old, 5, -9, twill.JobOptions{After: time.Hour})
		time.Sleep(2 * time.Minute)
		want := []int{1, 2, 3, 4, 5}
		require.Equal(t, want, rdqArgs(old.Pending()))
		left, err := old.Stop().Await(t.Context())
		require.NoError(t, err)
		text, err := json.Marshal(left)
		require.NoError(t, err)
		var records []twill.JobRecord[int]
		require.NoError(t, json.Unmarshal(text, &records))

		time.Sleep(time.Minute)
		q := twill.NewResizableDispatchQueue(rdqFlaky(), o)
		q.Pause()
		rdqPut(t, q, 6, 3)
		_, err = q.Restore(records)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3, 4, 6, 5}, rdqArgs(q.Pending()), "they keep their age")
		q.Clear()
	})
}

// TestRestoredJobIsJoinedWithItsAge: without its delay it has waited since it was
// queued, also if that was before there was this queue.
func TestRestoredJobIsJoinedWithItsAge(t *testing.T) {
	now := time.Now()
	q := twill.NewResizableDispatchQueue(rdqSame, &twill.DispatchOptions{Ageing: time.Second})
	q.Pause()
	_, err := q.Restore([]twill.JobRecord[int]{
		{Arg: 1, Queued: now.Add(-time.Minute)},
		{Arg: 2, Queued: now.Add(-time.Hour), Due: now.Add(time.Hour), Key: "key"},
	})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, rdqArgs(q.Pending()))
	rdqPutOpts(t, q, 3, 0, twill.JobOptions{Key: "key"})
	require.Equal(t, []int{2, 1}, rdqArgs(q.Pending()))
	q.Clear()
}

func TestRestoreGoesOnWhereItStood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		jobs, err := q.Restore([]twill.JobRecord[time.Duration]{
			{Arg: 1, Attempts: 4, Queued: start.Add(-time.Hour), Due: start.Add(time.Minute), Key: "k", State: twill.JobCanceled},
			{Arg: 2, Queued: start.Add(-time.Hour), Due: start.Add(-time.Minute)},
		})
		require.NoError(t, err)
		_, err = jobs[1].Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, start, jobs[1].Started().Truncate(time.Millisecond))
		require.Equal(t, 4, jobs[0].Attempts())
		require.Equal(t, twill.JobPending, jobs[0].State())
		there, err := q.Put(3, 0, twill.JobOptions{Key: "k"})
		require.NoError(t, err)
		require.Same(t, jobs[0], there)
		_, err = jobs[0].Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 5, jobs[0].Attempts())
		require.Equal(t, start.Add(-time.Hour), jobs[0].Queued())
	})
}

func TestRestoreOfBadRecords(t *testing.T) {
	q := twill.NewResizableDispatchQueue(rdqSame, nil)
	q.Pause()
	_, err := q.Put(1, 0, twill.JobOptions{Key: "used"})
	require.NoError(t, err)
	for want, records := range map[string][]twill.JobRecord[int]{
		"twill: restoring record 1: -1 attempts":                      {{}, {Attempts: -1}},
		`twill: restoring record 2: key "a" is that of record 0, too`: {{Key: "a"}, {}, {Key: "a"}},
		`twill: restoring record 1: ` + twill.ErrDuplicateJob.Error(): {{}, {Key: "used"}},
	} {
		_, err := q.Restore(records)
		require.ErrorContains(t, err, want)
		requireSize(t, q, 0, 1)
	}
	q.Stop()
	_, err = q.Restore([]twill.JobRecord[int]{{}})
	require.ErrorIs(t, err, twill.ErrStopped)
}
