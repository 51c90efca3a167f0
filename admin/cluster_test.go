package admin_test

import (
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"net/http"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

// clusterQueue is a queue of several processes, with dead jobs.
type clusterQueue struct {
	*admin.DispatchQueue[string, string]
	mu      sync.Mutex
	dead    []string
	again   []string
	trouble error
	workers int
}

func (q *clusterQueue) DeadJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		for _, id := range q.list(&q.dead) {
			if !yield(id, record(id)) {
				return
			}
		}
	}
}

func record(id string) twill.JobRecord[string] {
	return twill.JobRecord[string]{ID: id, Arg: "poison " + id, State: twill.JobFailed, Attempts: 3}
}

func (q *clusterQueue) list(of *[]string) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(*of)
}

func (q *clusterQueue) FindJob(id string) (string, twill.JobRecord[string], bool) {
	if slices.Contains(q.list(&q.dead), id) {
		return id, record(id), true
	}
	return q.DispatchQueue.FindJob(id)
}

func (q *clusterQueue) JobError(id string) error {
	if slices.Contains(q.list(&q.dead), id) {
		return errors.New("it has ended its process 3 times")
	}
	return q.DispatchQueue.JobError(id)
}

func (q *clusterQueue) RunJobAgain(id string) (string, error) {
	if err := q.DiscardJob(id); err != nil {
		return q.DispatchQueue.RunJobAgain(id)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.again = append(q.again, id)
	return id, nil
}

func (q *clusterQueue) DiscardJob(id string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.dead, id); i >= 0 {
		q.dead = slices.Delete(q.dead, i, i+1)
		return nil
	}
	return errors.New("there is no such job")
}

func (q *clusterQueue) EachWorker(yield func(name, version string, heartbeat time.Time, underway int, schedules bool) bool) {
	for i := range q.workers {
		if !yield("worker-"+string(rune('a'+i%26)), "v1.2.3", time.Now().Add(-time.Minute), i, i == 1) {
			return
		}
	}
}

func (q *clusterQueue) Trouble() error { return q.trouble }

func newCluster(k *pageKit) *clusterQueue {
	q := &clusterQueue{DispatchQueue: admin.Dispatch(k.queue, admin.DispatchOptions[string]{Show: func(s string) string { return s }}), dead: []string{"d1", "d2", "d3"}, workers: 3}
	k.t.Cleanup(q.Close)
	require.NoError(k.t, k.page.Add("cluster", q))
	return q
}

func TestDeadJobs(t *testing.T) {
	k := newKit(t, admin.Options{})
	q := newCluster(k)
	k.put("fail")
	var l jobList
	eventually(t, func() bool { k.getJSON("/api/queues/cluster/jobs?state=ended", &l); return len(l.Jobs) == 1 })
	k.getJSON("/api/queues/cluster/jobs?state=dead", &l)
	require.Len(t, l.Jobs, 3)
	require.Equal(t, "dead", l.Jobs[0].State)
	require.Contains(t, l.Jobs[0].Error, "ended its process")
	k.getJSON("/api/queues/cluster/jobs?filter=state:dead+arg:poison", &l)
	require.Len(t, l.Jobs, 3)
	k.getJSON("/api/queues/cluster/jobs?state=any", &l)
	require.Len(t, l.Jobs, 4)
	page := k.get("/q/cluster").Body.String()
	require.Contains(t, page, "poison d1")
	require.Contains(t, page, `href="../q/cluster/job/d1"`)
	require.Contains(t, k.get("/q/cluster/jobs?state=dead").Body.String(), `<option value="dead" selected>`)
	require.Contains(t, k.get("/q/cluster/job/d1").Body.String(), "Discard")

	// One by one, and all that match.
	k.postJSON("/api/queues/cluster/jobs/d2/discard", `{}`)
	require.Equal(t, []string{"d1", "d3"}, q.list(&q.dead))
	require.Equal(t, http.StatusNotFound, k.post("/api/queues/cluster/jobs/d2/discard", `{}`).Code)
	op := k.finished(k.postJSON("/api/queues/cluster/bulk/run", `{"filter":"state:dead arg:d1"}`))
	require.EqualValues(t, 1, op["done"])
	require.Equal(t, []string{"d1"}, q.list(&q.again))
	op = k.finished(k.postJSON("/api/queues/cluster/bulk/discard", `{"filter":"state:dead"}`))
	require.EqualValues(t, 1, op["done"], "%v", op)
	require.Empty(t, q.list(&q.dead))
	require.NotContains(t, k.get("/q/cluster").Body.String(), "Dead")
	require.Equal(t, "discard", k.audit("")[0].Action)
}

func TestWorkersAndTrouble(t *testing.T) {
	k := newKit(t, admin.Options{})
	q := newCluster(k)
	var v struct {
		Workers []struct {
			Name, Version string
			Underway      int
			Schedules     bool
			Heartbeat     time.Time
		}
	}
	k.getJSON("/api/queues/cluster/workers", &v)
	require.Len(t, v.Workers, 3)
	require.True(t, v.Workers[1].Schedules)
	require.False(t, v.Workers[0].Schedules)
	require.WithinDuration(t, time.Now(), v.Workers[0].Heartbeat, time.Hour)
	page := k.get("/q/cluster").Body.String()
	require.Contains(t, page, "worker-b")
	require.Contains(t, page, "v1.2.3")
	require.Contains(t, page, "schedules")
	q.workers = 10_000
	k.getJSON("/api/queues/cluster/workers", &v)
	require.Len(t, v.Workers, 500)
	q.workers = 0

	q.trouble = errors.New("disk https://user:secret@nas is full")
	var view queueView
	k.getJSON("/api/queues/cluster", &view)
	require.Equal(t, "disk https://[redacted]@nas is full", view.Error)
	require.Contains(t, k.get("/q/cluster").Body.String(), "is full")
}

// A key may look like the id of another job: the id counts.
func TestAnIDComesBeforeAKey(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.queue.Pause()
	first := k.put("first")[0]
	second, err := k.queue.Put("second", 0, twill.JobOptions{Key: first.ID()})
	require.NoError(t, err)
	var j struct{ ID, Arg string }
	k.getJSON("/api/queues/sms/jobs/"+first.ID(), &j)
	require.Equal(t, "first", j.Arg)
	k.postJSON("/api/queues/sms/jobs/"+first.ID()+"/cancel", `{}`)
	require.Equal(t, twill.JobCanceled, first.State())
	require.Equal(t, twill.JobPending, second.State())
	op := k.finished(k.postJSON("/api/queues/sms/bulk/cancel", `{"ids":["`+first.ID()+`"]}`))
	require.EqualValues(t, 0, op["done"])
	require.Equal(t, twill.JobPending, second.State())
}
