package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

type queueView struct {
	Width             any
	Paused, Stopped   bool
	Pending, Underway int
	Rate, Error       string
	Changes           map[string]struct {
		Value, Who string
		Until      *time.Time
	}
	Offers []string
}

func (k *pageKit) view() (v queueView) {
	k.t.Helper()
	k.getJSON("/api/queues/sms", &v)
	return v
}

type auditEntry struct {
	Who, Action, Queue, Job, Filter, Detail, Reason, Result string
	Count                                                   int
}

func (k *pageKit) audit(query string) []auditEntry {
	k.t.Helper()
	var l struct{ Entries []auditEntry }
	k.getJSON("/api/audit?"+query, &l)
	return l.Entries
}

func TestWidthIsUnlimitedPausedOrANumber(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("a", "b", "c", "d")
	require.Equal(t, 2, k.view().Underway)
	o := k.postJSON("/api/queues/sms/width", `{"width":3,"reason":"more of it"}`)
	require.Equal(t, "to 3", o["detail"])
	require.Equal(t, 3, k.queue.Width())
	require.Equal(t, auditEntry{Who: "operator", Action: "width", Queue: "sms", Detail: "to 3", Reason: "more of it", Result: "ok"}, k.audit("")[0])

	k.postJSON("/api/queues/sms/width", `{"width":"paused"}`)
	require.True(t, k.queue.Paused())
	require.Equal(t, 3, k.queue.Width(), "the width is kept in a pause")
	k.postJSON("/api/queues/sms/width", `{"width":"unlimited"}`)
	require.True(t, k.queue.Paused(), "a width does not resume a queue")
	require.Equal(t, "unlimited", k.view().Width)
	k.put("e")
	require.Equal(t, 2, k.view().Pending)
	k.postJSON("/api/queues/sms/resume", `{}`)
	require.Equal(t, 5, k.view().Underway)
	k.postJSON("/api/queues/sms/width", `{"width":0}`)
	require.False(t, k.queue.Paused(), "a width of 0 is no pause")
	require.EqualValues(t, 0, k.view().Width)
	require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/width", `{"width":"none"}`).Code)
	k.queue.Stop()
	require.Equal(t, http.StatusConflict, k.post("/api/queues/sms/resume", `{}`).Code)
	require.Equal(t, http.StatusConflict, k.post("/api/queues/sms/pause", `{}`).Code)
	require.Contains(t, k.audit("")[0].Result, "stopped")
}

// inBubble runs test with a page in a bubble of testing/synctest.
func inBubble(t *testing.T, test func(t *testing.T, k *pageKit)) {
	t.Helper()
	description() // which would keep something of the bubble
	synctest.Test(t, func(t *testing.T) { test(t, newKit(t, admin.Options{})) })
}

func TestChangesForATimeAreTakenBack(t *testing.T) {
	t.Run("width", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *pageKit) {
			k.postJSON("/api/queues/sms/width", `{"width":5,"for":"30m"}`)
			v := k.view()
			require.Equal(t, "5", v.Changes["width"].Value)
			require.Equal(t, time.Now().Add(30*time.Minute).UTC(), v.Changes["width"].Until.UTC())
			time.Sleep(29 * time.Minute)
			require.Equal(t, 5, k.queue.Width())
			// Another one, for a time as well: what was there before both comes back.
			k.postJSON("/api/queues/sms/width", `{"width":7,"for":"10m"}`)
			time.Sleep(9 * time.Minute)
			require.Equal(t, 7, k.queue.Width())
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			require.Equal(t, 2, k.queue.Width())
			require.Empty(t, k.view().Changes)
			require.Equal(t, auditEntry{Who: "the time that was set", Action: "back", Queue: "sms", Detail: "width to 2", Result: "ok"}, k.audit("")[0])
		})
	})
	t.Run("one for good replaces it", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *pageKit) {
			k.postJSON("/api/queues/sms/width", `{"width":5,"for":"30m"}`)
			k.postJSON("/api/queues/sms/width", `{"width":6}`)
			time.Sleep(time.Hour)
			require.Equal(t, 6, k.queue.Width())
		})
	})
	t.Run("what the program has set meanwhile stays", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *pageKit) {
			k.postJSON("/api/queues/sms/width", `{"width":5,"for":"30m"}`)
			require.NoError(t, k.queue.SetWidth(9))
			time.Sleep(time.Hour)
			require.Equal(t, 9, k.queue.Width())
			require.Contains(t, k.audit("")[0].Detail, "left as it is")
		})
	})
	t.Run("pause", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *pageKit) {
			k.postJSON("/api/queues/sms/pause", `{"for":"1m"}`)
			require.True(t, k.queue.Paused())
			time.Sleep(2 * time.Minute)
			require.False(t, k.queue.Paused())
			k.postJSON("/api/queues/sms/width", `{"width":"paused","for":"1m"}`)
			k.postJSON("/api/queues/sms/resume", `{}`)
			k.queue.Pause()
			time.Sleep(2 * time.Minute)
			require.True(t, k.queue.Paused(), "a resume has ended the pause that was for a time")
		})
	})
	t.Run("rate", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *pageKit) {
			require.Equal(t, "unlimited", k.view().Rate)
			k.postJSON("/api/queues/sms/rate", `{"per_second":2.5,"burst":3,"for":"1m"}`)
			require.Equal(t, "2.5 per second, burst 3", k.view().Rate)
			time.Sleep(2 * time.Minute)
			require.Equal(t, "unlimited", k.view().Rate)
		})
	})
	t.Run("Close takes them back", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *pageKit) {
			k.postJSON("/api/queues/sms/width", `{"width":5,"for":"30m"}`)
			k.postJSON("/api/queues/sms/pause", `{"for":"30m"}`)
			k.page.Close()
			require.Equal(t, 2, k.queue.Width())
			require.False(t, k.queue.Paused())
		})
	})
}

func TestRateIsHeldAndShown(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
	limiter := rate.NewLimiter(5, 1)
	q.SetRate(limiter)
	d := admin.Dispatch(q, admin.DispatchOptions[int]{Rate: limiter})
	defer d.Close()
	k := newKit(t, admin.Options{})
	require.NoError(t, k.page.Add("limited", d))
	var v queueView
	k.getJSON("/api/queues/limited", &v)
	require.Equal(t, "5 per second, burst 1", v.Rate)
	k.postJSON("/api/queues/limited/rate", `{"per_second":"unlimited"}`)
	require.Nil(t, d.RateLimiter())
	// A queue without a rate limit to change says so.
	require.NoError(t, k.page.Add("other", &fakeQueue{}))
	require.Equal(t, http.StatusNotImplemented, k.post("/api/queues/other/rate", `{"per_second":1}`).Code)
	require.Equal(t, http.StatusNotImplemented, k.post("/api/queues/other/drain", `{"all":true}`).Code)
}

func TestOneJob(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("first", "second")
	j, err := k.queue.Put("third", 4, twill.JobOptions{Key: "user-5"})
	require.NoError(t, err)
	k.put("fourth")
	var v struct {
		ID, State, Key, Arg, Why, Error, Stack string
		Priority                               int
	}
	k.getJSON("/api/queues/sms/jobs/user-5", &v)
	require.Equal(t, "third", v.Arg)
	require.Equal(t, "pending", v.State)
	require.NotEmpty(t, v.Why)
	id := v.ID
	k.postJSON("/api/queues/sms/jobs/"+id+"/reprioritize", `{"priority":-3}`)
	require.Equal(t, -3, j.Priority())
	require.Equal(t, "third", k.jobs("").Jobs[0].Arg)
	k.postJSON("/api/queues/sms/jobs/"+id+"/cancel", `{"reason":"not wanted"}`)
	_, err = j.Await(t.Context())
	require.ErrorIs(t, err, twill.ErrCanceled)
	require.ErrorIs(t, err, admin.ErrCanceledByOperator)
	require.ErrorContains(t, err, "operator: not wanted")
	eventually(t, func() bool { return len(k.jobs("state=canceled").Jobs) == 1 })
	require.Equal(t, http.StatusConflict, k.post("/api/queues/sms/jobs/"+id+"/cancel", `{}`).Code)
	require.Equal(t, http.StatusConflict, k.post("/api/queues/sms/jobs/"+id+"/reprioritize", `{"priority":1}`).Code)
	require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/jobs/"+id+"/reprioritize", `{}`).Code)
	k.getJSON("/api/queues/sms/jobs/"+id, &v)
	require.Equal(t, "canceled", v.State)
	require.Contains(t, v.Error, "not wanted")
	again := k.postJSON("/api/queues/sms/jobs/"+id+"/run", `{}`)
	k.getJSON("/api/queues/sms/jobs/"+again["id"].(string), &v)
	require.Equal(t, "third", v.Arg)
	require.Equal(t, "user-5", v.Key)
	require.Equal(t, http.StatusConflict, k.post("/api/queues/sms/jobs/"+id+"/run", `{}`).Code, "a job with its key is there")
	require.Equal(t, http.StatusNotFound, k.post("/api/queues/sms/jobs/none/cancel", `{}`).Code)
	require.Equal(t, http.StatusNotFound, k.get("/api/queues/sms/jobs/none").Code)

	p := k.put("panic now")[0]
	require.NoError(t, k.queue.SetWidth(9))
	<-p.Done()
	eventually(t, func() bool { return len(k.jobs("filter=panic").Jobs) == 1 })
	k.getJSON("/api/queues/sms/jobs/"+k.jobs("filter=panic").Jobs[0].ID, &v)
	require.Contains(t, v.Error, "panicked with panic now")
	require.Contains(t, v.Stack, "kit_test.go")
}

func TestListsArePagedAndSearched(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("u0", "u1")
	for i := range 250 {
		_, err := k.queue.Put(fmt.Sprintf("message %03d %s", i, []string{"even", "odd"}[i%2]), i%3, twill.JobOptions{Key: fmt.Sprint("key-", i)})
		require.NoError(t, err)
	}
	var args []string
	query, pages := "limit=100", 0
	for next := "start"; next != ""; pages++ {
		l := k.jobs(query)
		for _, j := range l.Jobs {
			args = append(args, j.Arg)
		}
		next = l.Next
		query = "limit=100&cursor=" + next
	}
	require.Equal(t, 3, pages)
	require.Len(t, args, 250)
	for i, j := range k.queue.Pending() {
		require.Equal(t, j.Arg(), args[i])
	}
	for filter, n := range map[string]int{
		"all": 252, "odd": 125, "ODD": 125, `"message 00"`: 10, "priority:1": 83, "priority:%3e1": 83, "priority:%3c=0": 84 + 2,
		"key:key-7": 1, "key:key-1*": 111, "state:underway": 2, "state:pending,underway": 252, "-odd": 127, "-state:underway odd": 125,
		"age:%3e1h": 0, "age:%3c1h": 252, "attempts:1": 2, "attempts:0": 250, "arg:even": 125, "error:even": 0,
	} {
		seen, cursor := 0, ""
		for {
			l := k.jobs("limit=500&filter=" + strings.ReplaceAll(filter, " ", "+") + cursor)
			seen += len(l.Jobs)
			if l.Next == "" {
				break
			}
			cursor = "&cursor=" + l.Next
		}
		require.Equal(t, n, seen, filter)
	}
	for _, bad := range []string{"state:none", "priority:x", "age:soon", `"open`, "key:", "all+odd"} {
		require.Equal(t, http.StatusBadRequest, k.get("/api/queues/sms/jobs?filter="+strings.ReplaceAll(bad, " ", "+")).Code, bad)
	}
	require.Equal(t, http.StatusBadRequest, k.get("/api/queues/sms/jobs?state=none").Code)
	require.Len(t, k.jobs("state=underway").Jobs, 2)
}

// A list offers the actions that can apply to the jobs in its states.
func TestListsOfferWhatApplies(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("one")
	for state, offered := range map[string][]string{
		"":         {"cancel", "reprioritize"},
		"pending":  {"cancel", "reprioritize"},
		"underway": {"cancel"},
		"ended":    {"run"},
		"failed":   {"run"},
		"any":      {"cancel", "reprioritize", "run"},
	} {
		page := k.get("/q/sms/jobs?state=" + state).Body.String()
		for _, action := range []string{"cancel", "reprioritize", "run", "count"} {
			shown := strings.Contains(page, "/q/sms/bulk/"+action+`"`)
			require.Equal(t, action == "count" || slices.Contains(offered, action), shown, "%s in a list of state %q", action, state)
		}
	}
}

func TestActionsOnAllThatMatch(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("u0", "u1")
	for i := range 100 {
		k.put(fmt.Sprint([]string{"even ", "odd "}[i%2], i))
	}
	t.Run("an empty filter is refused", func(t *testing.T) {
		for _, body := range []string{`{}`, `{"filter":""}`, `{"filter":"  "}`, `{"ids":[]}`, `{"from":""}`} {
			require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/bulk/cancel", body).Code, body)
		}
		require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/bulk/cancel", `{"filter":"all","ids":["1"]}`).Code)
		require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/bulk/cancel", `{"filter":"all","action":"run"}`).Code)
		require.Equal(t, http.StatusNotFound, k.post("/api/queues/sms/bulk/pause", `{"filter":"all"}`).Code)
		require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/clear", `{}`).Code)
		require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/drain", `{}`).Code)
		require.Equal(t, 100, k.view().Pending)
	})
	t.Run("count", func(t *testing.T) {
		op := k.finished(k.postJSON("/api/queues/sms/bulk/count", `{"filter":"odd"}`))
		require.EqualValues(t, 50, op["matched"])
		require.EqualValues(t, 102, op["scanned"])
		require.Equal(t, "odd", op["filter"])
	})
	t.Run("a dry run lists and keeps what it would touch", func(t *testing.T) {
		dry := k.finished(k.postJSON("/api/queues/sms/bulk/cancel", `{"filter":"odd","dry_run":true}`))
		require.EqualValues(t, 50, dry["matched"])
		require.EqualValues(t, 0, dry["done"])
		require.Len(t, dry["jobs"], 50)
		require.Equal(t, 100, k.view().Pending)
		k.put("odd, put later")
		require.True(t, k.queue.Pending()[1].Cancel(nil), "one ends meanwhile")
		op := k.finished(k.postJSON("/api/queues/sms/bulk/cancel", fmt.Sprintf(`{"from":%q,"reason":"odd ones"}`, dry["id"])))
		require.EqualValues(t, 49, op["done"])
		require.EqualValues(t, 50, op["matched"])
		require.EqualValues(t, 1, op["skipped_total"])
		require.Equal(t, 51, k.view().Pending, "the one that was put later is there")
		e := k.audit("search=odd+ones")[0]
		require.Equal(t, 49, e.Count)
		require.Equal(t, "cancel", e.Action)
		require.Contains(t, e.Filter, "odd (50 jobs of dry run")
		require.Contains(t, e.Result, "1 skipped")
		require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/bulk/reprioritize", fmt.Sprintf(`{"from":%q}`, dry["id"])).Code, "of another action")
	})
	t.Run("selected ones", func(t *testing.T) {
		l := k.jobs("limit=3").Jobs
		op := k.finished(k.postJSON("/api/queues/sms/bulk/reprioritize", fmt.Sprintf(`{"ids":[%q,%q,"none"],"priority":-7}`, l[1].ID, l[2].ID)))
		require.EqualValues(t, 2, op["done"])
		require.EqualValues(t, 1, op["skipped_total"])
		require.Equal(t, []string{"pending"}, anyStrings(op["covers"]))
		require.Equal(t, -7, k.jobs("limit=1").Jobs[0].Priority)
	})
	t.Run("run again, partly refused", func(t *testing.T) {
		k.queue.Pause()
		for range 2 {
			j, err := k.queue.Put("keyed", 0, twill.JobOptions{Key: "one"})
			require.NoError(t, err)
			j.Cancel(errors.New("first"))
		}
		eventually(t, func() bool { return len(k.jobs("filter=keyed").Jobs) == 2 })
		op := k.finished(k.postJSON("/api/queues/sms/bulk/run", `{"filter":"keyed"}`))
		require.EqualValues(t, 1, op["done"])
		require.Equal(t, map[string]any{"a job with its key is there": float64(1)}, op["skipped"])
	})
	t.Run("all, underway too", func(t *testing.T) {
		op := k.finished(k.postJSON("/api/queues/sms/bulk/cancel", `{"filter":"all"}`))
		require.Equal(t, "done", op["state"])
		require.EqualValues(t, 0, op["failed"])
		eventually(t, func() bool { v := k.view(); return v.Pending+v.Underway == 0 })
	})
	t.Run("clear", func(t *testing.T) {
		k.put("x", "y")
		require.EqualValues(t, 2, k.postJSON("/api/queues/sms/clear", `{"all":true}`)["count"])
		require.Equal(t, 2, k.audit("")[0].Count)
	})
	t.Run("drain", func(t *testing.T) {
		k.queue.Resume()
		k.postJSON("/api/queues/sms/drain", `{"all":true,"within":"1h"}`)
		eventually(t, func() bool { return strings.Contains(k.audit("search=drain")[0].Detail, "ended") })
		require.True(t, k.queue.Stopped())
	})
}

func anyStrings(v any) (all []string) {
	for _, s := range v.([]any) {
		all = append(all, s.(string))
	}
	return all
}

func TestOperationsCanBeAborted(t *testing.T) {
	k := newKit(t, admin.Options{})
	f := &fakeQueue{endless: true}
	require.NoError(t, k.page.Add("endless", f))
	op := k.postJSON("/api/queues/endless/bulk/cancel", `{"filter":"all"}`)
	var v map[string]any
	eventually(t, func() bool {
		k.getJSON("/api/operations/"+op["id"].(string), &v)
		return v["done"].(float64) > 10
	})
	require.Equal(t, "running", v["state"])
	k.postJSON("/api/operations/"+op["id"].(string)+"/abort", `{}`)
	v = k.finished(op)
	require.Equal(t, "aborted", v["state"])
	f.mu.Lock()
	require.EqualValues(t, v["done"], len(f.canceled))
	f.mu.Unlock()
	actions := []string{k.audit("")[0].Action, k.audit("")[1].Action}
	require.ElementsMatch(t, []string{"abort", "cancel"}, actions)
	var all struct{ Operations []map[string]any }
	k.getJSON("/api/operations", &all)
	require.Len(t, all.Operations, 1)
	require.Equal(t, http.StatusNotFound, k.get("/api/operations/99").Code)
	// Close ends those that run.
	k.postJSON("/api/queues/endless/bulk/count", `{"filter":"all"}`)
	k.page.Close()
}

func TestPanicsOfAQueueAreErrorsOfRequests(t *testing.T) {
	k := newKit(t, admin.Options{})
	require.NoError(t, k.page.Add("bad", &fakeQueue{panics: true}))
	for _, target := range []string{"/api/queues/bad/jobs", "/api/queues/bad/jobs/1", "/q/bad", "/q/bad/jobs", "/q/bad/job/1"} {
		w := k.get(target)
		require.GreaterOrEqual(t, w.Code, 400, target)
		require.NotContains(t, w.Body.String(), "hunter2")
	}
	for _, action := range []string{"pause", "resume", "width"} {
		body := `{}`
		if action == "width" {
			body = `{"width":1}`
		}
		require.Equal(t, http.StatusConflict, k.post("/api/queues/bad/"+action, body).Code)
		require.Contains(t, k.audit("")[0].Result, "panic of a string")
	}
	op := k.finished(k.postJSON("/api/queues/bad/bulk/cancel", `{"filter":"all"}`))
	require.Equal(t, "failed", op["state"])
	require.Equal(t, http.StatusOK, k.get("/api/queues").Code)
}

func TestAuditIsKeptAndHandedOn(t *testing.T) {
	var mu sync.Mutex
	var handed []admin.AuditEntry
	k := newKit(t, admin.Options{Audit: func(e admin.AuditEntry) {
		mu.Lock()
		defer mu.Unlock()
		handed = append(handed, e)
		panic("of the program")
	}})
	for i := range 1100 {
		k.post("/api/queues/sms/width", fmt.Sprintf(`{"width":%d}`, i))
	}
	require.Len(t, handed, 1100)
	require.Len(t, k.audit("limit=500"), 500)
	require.Equal(t, "to 1099", k.audit("limit=1")[0].Detail)
	require.Len(t, k.audit("limit=500&cursor=900"), 100, "the latest 1000 are kept")
	require.Len(t, k.audit("search=TO+1042"), 1)
	require.Empty(t, k.audit("search=nothing"))
}

func TestGauges(t *testing.T) {
	k := newKit(t, admin.Options{})
	var pool twill.Pool
	s := twill.NewSemaphore(3)
	pooler := twill.NewPooler(func(context.Context, int) (int, error) { return 0, nil })
	k.page.AddPool("uploads", &pool)
	k.page.AddPooler("lookups", pooler)
	k.page.AddSemaphore("gateway", s)
	p := twill.NewPromise[int]()
	pool.Add(p.Future())
	var v struct {
		Gauges []struct {
			Kind, Name string
			Numbers    []struct{ Name, Value string }
		}
	}
	k.getJSON("/api/gauges", &v)
	require.Len(t, v.Gauges, 3)
	require.Equal(t, "oldest", v.Gauges[0].Numbers[4].Name)
	require.Contains(t, k.get("/").Body.String(), "uploads")
}

// A pooler and a semaphore keep no times: the page notices how long they are in
// use.
func TestAgesOfPoolersAndSemaphores(t *testing.T) {
	inBubble(t, func(t *testing.T, k *pageKit) {
		s := twill.NewSemaphore(1)
		block := make(chan struct{})
		pooler := twill.NewPooler(func(context.Context, int) (int, error) { <-block; return 0, nil })
		k.page.AddPooler("lookups", pooler)
		k.page.AddSemaphore("gateway", s)
		numbers := func() map[string]string {
			var v struct {
				Gauges []struct {
					Kind, Name string
					Numbers    []struct{ Name, Value string }
				}
			}
			k.getJSON("/api/gauges", &v)
			all := make(map[string]string)
			for _, g := range v.Gauges {
				for _, n := range g.Numbers {
					all[g.Kind+" "+n.Name] = n.Value
				}
			}
			return all
		}
		idle := numbers()
		require.NotContains(t, idle, "pooler busy for")
		require.NotContains(t, idle, "semaphore in use for")

		time.Sleep(time.Second / 2)
		call := pooler.Call(t.Context(), 1)
		release, err := s.Acquire().Await(t.Context())
		require.NoError(t, err)
		second := s.Acquire()
		time.Sleep(30 * time.Second)
		busy := numbers()
		for _, name := range []string{"pooler busy for", "pooler callers wait for", "semaphore in use for", "semaphore no token free for", "semaphore callers wait for"} {
			require.Equal(t, "29.5 s", busy[name], name)
		}
		close(block)
		_, err = call.Await(t.Context())
		require.NoError(t, err)
		release()
		release, err = second.Await(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Second)
		after := numbers()
		require.NotContains(t, after, "pooler busy for")
		require.NotContains(t, after, "semaphore callers wait for")
		require.Equal(t, "30.5 s", after["semaphore in use for"])
		release()
	})
}

func TestWhereIsItNow(t *testing.T) {
	entered := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, _ int) (int, error) {
		go stuckChild(ctx)
		close(entered)
		<-ctx.Done()
		return 0, nil
	}, nil)
	d := admin.Dispatch(q, admin.DispatchOptions[int]{Stacks: true})
	defer d.Close()
	k := newKit(t, admin.Options{})
	require.NoError(t, k.page.Add("stuck", d))
	_, err := q.Put(1, 0, twill.JobOptions{Key: "it"})
	require.NoError(t, err)
	defer q.StopNow()
	<-entered
	var v struct{ Stack string }
	eventually(t, func() bool {
		k.getJSON("/api/queues/stuck/jobs/it/stack", &v)
		return strings.Contains(v.Stack, "stuckChild")
	})
	require.Contains(t, v.Stack, "TestWhereIsItNow", "with the goroutines that it has started")
	require.NotContains(t, v.Stack, "history", "and no others")
	require.Contains(t, k.get("/q/stuck/job/it/stack").Body.String(), "stuckChild")
	k.put("x")
	require.Equal(t, http.StatusConflict, k.get("/api/queues/sms/jobs/"+k.jobs("state=underway").Jobs[0].ID+"/stack").Code, "labels are not set for this queue")
}

func stuckChild(ctx context.Context) { <-ctx.Done() }

// TestAFailureThatOnlyThePageHasSeenIsReported: to be shown is not to be
// handled.
func TestAFailureThatOnlyThePageHasSeenIsReported(t *testing.T) {
	reported := make(chan error, 10)
	before := twill.OnUnhandled(func(err error) {
		select {
		case reported <- err:
		default:
		}
	})
	defer twill.OnUnhandled(before)
	k := newKit(t, admin.Options{})
	k.put("fail unseen")
	eventually(t, func() bool {
		l := k.jobs("state=failed")
		return len(l.Jobs) == 1 && strings.Contains(l.Jobs[0].Error, "failed with fail unseen")
	})
	eventually(t, func() bool {
		runtime.GC()
		select {
		case err := <-reported:
			return strings.Contains(err.Error(), "fail unseen")
		default:
			return false
		}
	})
}
