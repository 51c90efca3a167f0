package admin_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

var figures = flag.Bool("figures", false, "measure a page with a million jobs, on a machine that does nothing else")

// With a million jobs pending, pages and actions on one job take a tenth of a
// second at most, in the median; and a search or an export delays no put. The
// figures are printed with -figures -v; a machine that runs other tests as well
// has ten times as long.
func TestMillionPending(t *testing.T) {
	limit := 100 * time.Millisecond
	if !*figures {
		limit = time.Second
		if os.Getenv("TWILL_LONG") == "" {
			t.Skip("puts a million jobs with TWILL_LONG=1 or -figures")
		}
	}
	for _, groups := range []int{0, 1000} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) { millionPending(t, groups, limit) })
	}
}

func millionPending(t *testing.T, groups int, limit time.Duration) {
	const n = 1_000_000
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, arg int) (int, error) {
		<-ctx.Done()
		return 0, nil
	}, &twill.DispatchOptions{Width: 4, GroupLimit: twill.GroupLimit{Width: 1}})
	defer q.StopNow()
	d := admin.Dispatch(q, admin.DispatchOptions[int]{Show: func(n int) string { return fmt.Sprint("number ", n) }})
	defer d.Close()
	k := newKit(t, admin.Options{})
	require.NoError(t, k.page.Add("million", d))
	for i := range n {
		opts := twill.JobOptions{}
		if groups > 0 {
			opts.Group = fmt.Sprint("group ", i%groups)
		}
		if i%1000 == 0 {
			opts.Key = fmt.Sprint("key-", i)
		}
		_, err := q.Put(i, i%7, opts)
		require.NoError(t, err)
	}
	median := func(name string, do func(i int)) {
		t.Helper()
		var took []time.Duration
		for i := range 15 {
			began := time.Now()
			do(i)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		t.Logf("%-28s %v", name, took[len(took)/2].Round(10*time.Microsecond))
		require.Less(t, took[len(took)/2], limit, name)
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
	median("job by id", func(i int) { ok(k.get(queue + "/jobs/" + strconv.Itoa(500_000+i))) })
	median("job by id, page", func(i int) { ok(k.get("/q/million/job/" + strconv.Itoa(600_000+i))) })
	median("no such job", func(i int) { require.Equal(t, 404, k.get(queue+"/jobs/"+strconv.Itoa(5_000_000+i)).Code) })
	median("job by key", func(i int) { ok(k.get(queue + fmt.Sprint("/jobs/key-", 500_000+1000*i))) })
	median("reprioritize by key", func(i int) {
		ok(k.post(queue+fmt.Sprintf("/jobs/key-%d/reprioritize", 600_000+1000*i), `{"priority":-9}`))
	})
	median("reprioritize by id", func(i int) { ok(k.post(queue+"/jobs/"+l.Jobs[i].ID+"/reprioritize", `{"priority":3}`)) })
	median("cancel by id", func(i int) { ok(k.post(queue+"/jobs/"+l.Jobs[100+i].ID+"/cancel", `{}`)) })
	median("cancel by key", func(i int) { ok(k.post(queue+fmt.Sprintf("/jobs/key-%d/cancel", 700_000+1000*i), `{}`)) })
	median("cancel 20 selected", func(i int) {
		ids, err := json.Marshal(map[string]any{"ids": idsOf(l.Jobs[150+20*i : 170+20*i])})
		require.NoError(t, err)
		require.EqualValues(t, 20, k.finished(k.postJSON(queue+"/bulk/cancel", string(ids)))["done"])
	})
	median("run again", func(i int) { // of the jobs that have ended last
		eventually(t, func() bool { return k.get(queue+"/jobs/"+l.Jobs[430+i].ID).Code == 200 })
		ok(k.post(queue+"/jobs/"+l.Jobs[430+i].ID+"/run", `{}`))
	})
	median("width", func(i int) { ok(k.post(queue+"/width", fmt.Sprintf(`{"width":%d}`, 4+i))) })
	median("group", func(i int) { ok(k.post(queue+"/group", fmt.Sprintf(`{"group":"group 7","width":%d}`, 2+i))) })
	median("groups", func(int) { ok(k.get(queue + "/groups")) })
	median("pause and resume", func(int) { ok(k.post(queue+"/pause", `{}`)); ok(k.post(queue+"/resume", `{}`)) })

	// A scan streams, can be ended at once, and delays no put.
	whilePutting := func(name string, done func() bool) {
		t.Helper()
		began := time.Now()
		var puts []time.Duration
		for !done() {
			put := time.Now()
			_, err := q.Put(n, 3)
			require.NoError(t, err)
			puts = append(puts, time.Since(put))
		}
		slices.Sort(puts)
		t.Logf("%-28s %v; %d puts meanwhile, p50 %v, p99 %v, longest %v", name, time.Since(began).Round(time.Millisecond), len(puts),
			puts[len(puts)/2], puts[len(puts)*99/100], puts[len(puts)-1].Round(time.Microsecond))
		require.Less(t, puts[len(puts)*99/100], limit/10)
	}
	running := func(op map[string]any) func() bool {
		return func() bool {
			k.getJSON("/api/operations/"+op["id"].(string), &op)
			return op["state"] != "running"
		}
	}
	op := k.postJSON(queue+"/bulk/count", `{"filter":"arg:123456"}`)
	whilePutting("count by text", running(op))
	require.EqualValues(t, 1, op["matched"], "%v", op)
	op = k.postJSON(queue+"/bulk/count", `{"filter":"all"}`)
	eventually(t, func() bool { running(op)(); return op["scanned"].(float64) > 0 })
	began := time.Now()
	k.postJSON("/api/operations/"+op["id"].(string)+"/abort", `{}`)
	require.Equal(t, "aborted", k.finished(op)["state"])
	t.Logf("%-28s %v", "abort of a count", time.Since(began).Round(10*time.Microsecond))
	require.Less(t, time.Since(began), limit)
	var exported atomic.Int64
	go func() { exported.Store(int64(k.get(queue + "/export").Body.Len())) }()
	whilePutting("export as CSV", func() bool { return exported.Load() > 0 })
	t.Logf("%-28s %d MB", "its size", exported.Load()>>20)
}

func idsOf(jobs []struct {
	ID, State, Key, Arg, Error, Stack, Why string
	Priority                               int
},
) (ids []string) {
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	return ids
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
