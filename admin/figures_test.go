package admin_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

var figures = flag.Bool("figures", false, "measure a page with a million jobs")

// With a million jobs pending, pages and actions on one job take a tenth of a
// second at most, in the median, on a machine that does nothing else. Here they
// have ten times that, as other tests may run.
func TestMillionPending(t *testing.T) {
	if !*figures {
		t.Skip("puts a million jobs with -figures, on a machine that does nothing else")
	}
	const n = 1_000_000
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, arg int) (int, error) {
		<-ctx.Done()
		return 0, nil
	}, &twill.DispatchOptions{Width: 4})
	defer q.StopNow()
	d := admin.Dispatch(q, admin.DispatchOptions[int]{Show: func(n int) string { return fmt.Sprint("number ", n) }})
	defer d.Close()
	k := newKit(t, admin.Options{})
	require.NoError(t, k.page.Add("million", d))
	for i := range n {
		opts := twill.JobOptions{}
		if i%1000 == 0 {
			opts.Key = fmt.Sprint("key-", i)
		}
		_, err := q.Put(i, i%7, opts)
		require.NoError(t, err)
	}
	median := func(name string, do func(i int)) {
		t.Helper()
		var took []time.Duration
		for i := range 9 {
			began := time.Now()
			do(i)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		t.Logf("%-28s %v", name, took[len(took)/2].Round(10*time.Microsecond))
		require.Less(t, took[len(took)/2], time.Second, name)
	}
	ok := func(w interface{ Result() *http.Response }) {
		t.Helper()
		require.Less(t, w.Result().StatusCode, 400)
	}
	const queue = "/api/queues/million"
	var l jobList
	k.getJSON(queue+"/jobs?limit=500", &l)
	median("first page, API", func(int) { ok(k.get(queue + "/jobs")) })
	median("tenth page, API", func(int) { ok(k.get(queue + "/jobs?cursor=pending.450")) })
	median("queue, page", func(int) { ok(k.get("/q/million")) })
	median("jobs, page", func(int) { ok(k.get("/q/million/jobs")) })
	median("job by id", func(i int) { ok(k.get(queue + "/jobs/" + l.Jobs[i].ID)) })
	median("job by key", func(i int) { ok(k.get(queue + fmt.Sprint("/jobs/key-", 500_000+1000*i))) })
	median("reprioritize by key", func(i int) {
		ok(k.post(queue+fmt.Sprintf("/jobs/key-%d/reprioritize", 600_000+1000*i), `{"priority":-9}`))
	})
	median("reprioritize by id", func(i int) { ok(k.post(queue+"/jobs/"+l.Jobs[i].ID+"/reprioritize", `{"priority":3}`)) })
	median("cancel by id", func(i int) { ok(k.post(queue+"/jobs/"+l.Jobs[100+i].ID+"/cancel", `{}`)) })
	median("cancel by key", func(i int) { ok(k.post(queue+fmt.Sprintf("/jobs/key-%d/cancel", 700_000+1000*i), `{}`)) })
	median("run again", func(i int) {
		eventually(t, func() bool { return k.get(queue+"/jobs/"+l.Jobs[100+i].ID).Code == 200 })
		ok(k.post(queue+"/jobs/"+l.Jobs[100+i].ID+"/run", `{}`))
	})
	median("width", func(i int) { ok(k.post(queue+"/width", fmt.Sprintf(`{"width":%d}`, 4+i))) })
	median("pause and resume", func(int) { ok(k.post(queue+"/pause", `{}`)); ok(k.post(queue+"/resume", `{}`)) })
	median("search, first part", func(int) { ok(k.get(queue + "/jobs?filter=nothing-like-it")) })
	began := time.Now()
	op := k.postJSON(queue+"/bulk/count", `{"filter":"arg:77777"}`)
	longest := time.Duration(0) // that a put takes while the scan runs
	for {
		var v map[string]any
		k.getJSON("/api/operations/"+op["id"].(string), &v)
		if v["state"] != "running" {
			require.EqualValues(t, 1, v["matched"], "%v", v)
			break
		}
		put := time.Now()
		_, err := q.Put(n, 3)
		require.NoError(t, err)
		longest = max(longest, time.Since(put))
	}
	t.Logf("%-28s %v, longest put meanwhile %v", "count by text", time.Since(began).Round(time.Millisecond), longest.Round(time.Microsecond))
}

// While ten browsers watch, a put allocates no more than without them, and
// takes no lock but the queue's own: the page reads the queue once a second,
// however many watch, and is called by nothing of the queue.
func TestWatchersCostAPutNothing(t *testing.T) {
	newQueue := func() *twill.ResizableDispatchQueue[int, int] {
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
		q.Pause()
		return q
	}
	allocs := func(q *twill.ResizableDispatchQueue[int, int]) float64 {
		return testing.AllocsPerRun(20_000, func() { q.Put(1, 0) })
	}
	alone := newQueue()
	want := allocs(alone)

	q := newQueue()
	watch(t, q, 10)
	require.LessOrEqual(t, allocs(q), want)
}

// watch mounts q on a page that n clients watch.
func watch(t testing.TB, q *twill.ResizableDispatchQueue[int, int], n int) {
	page := admin.New(admin.Options{Insecure: true})
	d := admin.Dispatch(q)
	require.NoError(t, page.Add("sms", d))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := admin.NewServer("", page)
	go server.Serve(l)
	t.Cleanup(func() { page.Close(); d.Close(); server.Close() })
	for range n {
		res, err := http.Get("http://" + l.Addr().String() + "/api/events?queue=sms")
		require.NoError(t, err)
		go func() {
			defer res.Body.Close()
			buf := make([]byte, 64<<10)
			for {
				if _, err := res.Body.Read(buf); err != nil {
					return
				}
			}
		}()
	}
}

// The time of a put, and of a put with its run, without a page, with one, and
// with ten browsers that watch.
func BenchmarkPut(b *testing.B) {
	for _, run := range []bool{false, true} {
		for _, watchers := range []int{-1, 0, 10} {
			b.Run(fmt.Sprintf("run=%v/watchers=%d", run, watchers), func(b *testing.B) {
				q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
				if !run {
					q.Pause()
				}
				if watchers >= 0 {
					watch(b, q, watchers)
				}
				b.ReportAllocs()
				for b.Loop() {
					q.Put(1, 0)
				}
				if run {
					q.Empty().Await(b.Context())
				}
			})
		}
	}
}
