package jetstream_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// adminQueue is admin.Queue, with admin.Drainer and admin.Explainer: a copy, as
// the module does not need the admin page.
type adminQueue interface {
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
	WhyPending(id string) string
}

// The admin page shows and steers the queue of the cluster from any process.
func TestTheAdminPageSteersTheCluster(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	fail := errors.New("no route")
	join(t, servers.URL(), name, "worker", func(_ context.Context, arg string) (string, error) { return "", fail }, nil)
	putter := join(t, servers.URL(), name, "page", nil, nil)
	var page adminQueue = putter.Queue
	_, err := page.Pause().Await(withPatience(t))
	require.NoError(t, err)
	require.True(t, page.Paused())
	a, b := put(t, putter, "a", 1, twill.JobOptions{Key: "k", Group: "g"}), put(t, putter, "b", 2)
	ids := func(jobs iter.Seq2[string, twill.JobRecord[string]]) (all []string) {
		for id := range jobs {
			all = append(all, id)
		}
		return all
	}
	require.Equal(t, []string{a.ID(), b.ID()}, ids(page.PendingJobs(0)))
	require.NoError(t, page.ReprioritizeJob(b.ID(), 0))
	require.Equal(t, []string{a.ID()}, ids(page.PendingJobs(1)))
	require.Equal(t, "pause", page.WhyPending(a.ID()))
	id, rec, ok := page.FindJob("k")
	require.True(t, ok)
	require.Equal(t, []any{a.ID(), `"a"`, "g", twill.JobPending}, []any{id, rec.Arg, rec.Group, rec.State})
	require.NoError(t, page.CancelJob(b.ID(), errors.New("by an operator")))
	require.ErrorContains(t, page.JobError(b.ID()), "by an operator")
	require.ErrorIs(t, page.CancelJob(b.ID(), nil), twill.ErrNotPending)
	require.ErrorIs(t, page.ReprioritizeJob("none", 0), twill.ErrNotPending)
	require.NoError(t, page.Resume())
	_, err = await(t, a)
	require.ErrorContains(t, err, "no route")
	until(t, "it is among the ended jobs", func() bool { all := ids(page.EndedJobs()); return len(all) == 2 && all[0] == a.ID() })
	again, err := page.RunJobAgain(a.ID())
	require.NoError(t, err)
	require.NotEqual(t, a.ID(), again)
	until(t, "it has run again", func() bool { return page.Stats().Failed == 2 })
	_, _, ok = page.FindJob("none")
	require.False(t, ok)
	left, err := page.DrainJobs(withPatience(t))
	require.NoError(t, err)
	require.Zero(t, left)
	require.Equal(t, "EventKind(99)", jetstream.EventKind(99).String())
}
