package durable_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
)

// pageQueue is what the admin page needs of a queue with dead jobs, groups and
// trouble.
type pageQueue interface {
	Stats() twill.DispatchStats
	Paused() bool
	Stopped() bool
	SetWidth(n int) error
	Pause() *twill.Future[struct{}]
	Resume() error
	Clear() int
	PendingJobs(from int) iter.Seq2[string, twill.JobRecord[string]]
	UnderwayJobs() iter.Seq2[string, twill.JobRecord[string]]
	EndedJobs() iter.Seq2[string, twill.JobRecord[string]]
	FindJob(idOrKey string) (id string, job twill.JobRecord[string], found bool)
	JobError(id string) error
	CancelJob(id string, cause error) error
	ReprioritizeJob(id string, priority int) error
	RunJobAgain(id string) (newID string, err error)

	DrainJobs(ctx context.Context) (left int, err error)
	SetRate(limiter twill.Limiter)
	RateLimiter() twill.Limiter
	Groups() iter.Seq2[string, twill.GroupStats]
	GroupLimits() twill.GroupLimit
	SetGroupLimit(group string, limit twill.GroupLimit) error
	ResetGroupLimit(group string) error
	SetGroupLimits(limit twill.GroupLimit) error
	WhyPending(id string) string
	DeadJobs() iter.Seq2[string, twill.JobRecord[string]]
	DiscardJob(id string) error
	Trouble() error
}

func idsOf(jobs iter.Seq2[string, twill.JobRecord[string]]) []string {
	var ids []string
	for id := range jobs {
		ids = append(ids, id)
	}
	return ids
}

// The admin page lists dead and parked jobs, says why they are, runs dead ones
// again, and cancels parked ones.
func TestAdminPageOfDeadAndParkedJobs(t *testing.T) {
	file := tempFile(t)
	for range 3 { // each ends with the process, in the call of the only job
		_, err := child("exit", file).CombinedOutput()
		require.ErrorContains(t, err, "exit status 9")
	}
	q := open(t, file, func(_ context.Context, n int) (int, error) {
		if n > 1 {
			return 0, fmt.Errorf("kind %d: %w", n, durable.ErrUnknownKind)
		}
		return n, nil
	}, &durable.Options{Show: func(arg any) string { return fmt.Sprint("n = ", arg) }})
	var page pageQueue = q
	require.Equal(t, []string{"1"}, idsOf(page.DeadJobs()))
	require.Empty(t, idsOf(page.EndedJobs()))
	id, dead, found := page.FindJob("1")
	require.True(t, found)
	require.Equal(t, "1", id)
	require.Equal(t, twill.JobFailed, dead.State)
	require.Equal(t, "n = 1", dead.Arg)
	require.ErrorIs(t, page.JobError("1"), durable.ErrDead)

	parked, err := q.Put(2, 0)
	require.NoError(t, err)
	until(t, "the job is parked", parked.Parked)
	require.Equal(t, []string{"2"}, idsOf(page.PendingJobs(0)))
	_, record, found := page.FindJob("2")
	require.True(t, found)
	require.Equal(t, twill.JobPending, record.State)
	require.True(t, record.Due.IsZero(), "it waits for no time")
	require.Contains(t, page.WhyPending("2"), "next process")
	require.ErrorContains(t, page.JobError("2"), "kind 2")
	_, err = page.RunJobAgain("2")
	require.ErrorIs(t, err, durable.ErrNoJob, "it has not ended")
	require.NoError(t, page.CancelJob("2", errors.New("not wanted")))
	require.ErrorIs(t, page.CancelJob("2", nil), twill.ErrNotPending)
	require.ErrorIs(t, page.JobError("2"), twill.ErrCanceled)
	require.Equal(t, []string{"2"}, idsOf(page.EndedJobs()))

	again, err := page.RunJobAgain("1")
	require.NoError(t, err)
	j, err := q.Find(again)
	require.NoError(t, err)
	v, err := j.Await(within(t))
	require.NoError(t, err)
	require.Equal(t, 1, v)
	require.Empty(t, idsOf(page.DeadJobs()), "the new job has replaced it")
	require.ErrorIs(t, page.DiscardJob("1"), durable.ErrNoJob)

	require.NoError(t, page.DiscardJob("2"))
	require.Equal(t, []string{again}, idsOf(page.EndedJobs()))
	_, _, found = page.FindJob("2")
	require.False(t, found)
	require.NoError(t, page.Trouble())
}

// Groups are shown, and a limit that was removed stays removed.
func TestAdminPageOfGroups(t *testing.T) {
	file := tempFile(t)
	q := open(t, file, double, nil)
	q.Pause()
	_, err := q.Put(1, 0, twill.JobOptions{Group: "a"})
	require.NoError(t, err)
	require.NoError(t, q.SetGroupLimit("a", twill.GroupLimit{Width: 2}))
	require.NoError(t, q.SetGroupLimit("b", twill.GroupLimit{Width: 3}))
	require.NoError(t, q.ResetGroupLimit("b"))
	require.NoError(t, q.SetGroupLimits(twill.GroupLimit{Width: 7}))
	shut(t, q)
	q = open(t, file, double, nil)
	groups := maps.Collect(q.Groups())
	require.Equal(t, []string{"a"}, slices.Collect(maps.Keys(groups)))
	require.Equal(t, 2, groups["a"].Limit.Width)
	require.Equal(t, 1, groups["a"].Jobs)
	require.Equal(t, 7, q.GroupLimits().Width)
}

// A queue with nothing in it has a page, too.
func TestAdminPageOfAnEmptyQueue(t *testing.T) {
	var page pageQueue = open(t, tempFile(t), double, nil)
	require.Empty(t, slices.Concat(idsOf(page.PendingJobs(0)), idsOf(page.UnderwayJobs()), idsOf(page.EndedJobs()), idsOf(page.DeadJobs())))
	_, _, found := page.FindJob("1")
	require.False(t, found)
	require.NoError(t, page.JobError("1"))
	require.ErrorIs(t, page.CancelJob("1", nil), twill.ErrNotPending)
	require.ErrorIs(t, page.DiscardJob("x"), durable.ErrNoJob)
}
