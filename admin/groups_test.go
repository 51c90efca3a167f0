package admin_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

type groupList struct {
	Groups []struct {
		Name, Since         string
		Own, Held           bool
		Jobs, Underway, Due int
		Limit               limit
	}
	Total  int
	Common limit
}

type limit struct {
	Paused           bool
	Width, PerSecond any
	Text             string
}

func (k *pageKit) groups(query string) (l groupList) {
	k.t.Helper()
	k.getJSON("/api/queues/sms/groups?"+query, &l)
	return l
}

func (k *pageKit) putGroup(group string, n int) {
	k.t.Helper()
	for i := range n {
		_, err := k.queue.Put(fmt.Sprint(group, " ", i), 0, twill.JobOptions{Group: group})
		require.NoError(k.t, err)
	}
}

func TestGroupsAreShownAndSteered(t *testing.T) {
	inBubble(t, func(t *testing.T, k *pageKit) {
		require.NoError(t, k.queue.SetWidth(100))
		require.NoError(t, k.queue.SetGroupLimits(twill.GroupLimit{Width: 1}))
		k.putGroup("one.example", 5)
		k.putGroup("two.example", 1)
		time.Sleep(time.Minute)
		l := k.groups("")
		require.Equal(t, 2, l.Total)
		require.Equal(t, "width 1", l.Common.Text)
		one := l.Groups[0]
		require.Equal(t, "one.example", one.Name)
		require.True(t, one.Held)
		require.False(t, one.Own)
		require.Equal(t, []int{5, 1, 4}, []int{one.Jobs, one.Underway, one.Due})
		require.Len(t, k.groups("search=TWO").Groups, 1)
		require.Len(t, k.groups("limit=1").Groups, 1)
		text := k.get("/q/sms").Body.String()
		require.Contains(t, text, "one.example")
		require.Contains(t, text, "jobs wait for 1 min 00 s")

		// What is not given stays; each change has its entry in the audit list.
		k.postJSON("/api/queues/sms/group", `{"group":"one.example","width":2,"reason":"a sale"}`)
		k.postJSON("/api/queues/sms/group", `{"group":"one.example","per_second":0.5,"burst":4}`)
		require.Equal(t, twill.GroupLimit{Width: 2, Rate: 0.5, Burst: 4}, maps.Collect(k.queue.Groups())["one.example"].Limit)
		require.Equal(t, auditEntry{Who: "operator", Action: "group", Queue: "sms", Detail: `group "one.example" to width 2, 0.5 per second, burst 4`, Result: "ok"}, k.audit("")[0])
		require.Equal(t, "a sale", k.audit("")[1].Reason)
		k.postJSON("/api/queues/sms/group", `{"group":"one.example","width":"unlimited","per_second":"unlimited"}`)
		require.Equal(t, twill.GroupLimit{}, maps.Collect(k.queue.Groups())["one.example"].Limit)
		synctest.Wait()
		require.Equal(t, 5, k.groups("search=one").Groups[0].Underway)

		// Paused is not a width, and keeps it.
		k.postJSON("/api/queues/sms/group", `{"group":"two.example","width":3}`)
		k.postJSON("/api/queues/sms/group", `{"group":"two.example","paused":true}`)
		require.Equal(t, twill.GroupLimit{Width: 3, Paused: true}, maps.Collect(k.queue.Groups())["two.example"].Limit)
		require.Equal(t, "paused, width 3", k.groups("search=two").Groups[0].Limit.Text)
		k.putGroup("two.example", 1)
		require.True(t, k.groups("search=two").Groups[0].Held)
		k.postJSON("/api/queues/sms/group", `{"group":"two.example","paused":false}`)
		require.False(t, k.groups("search=two").Groups[0].Held)

		// Back to the limit of all.
		k.postJSON("/api/queues/sms/group", `{"group":"two.example","reset":true}`)
		require.Equal(t, twill.GroupStats{Limit: twill.GroupLimit{Width: 1}, Jobs: 2, Underway: 2}, maps.Collect(k.queue.Groups())["two.example"])
		require.NotContains(t, k.view().Changes, "group two.example")
		k.postJSON("/api/queues/sms/group", `{"all":true,"width":7}`)
		require.Equal(t, twill.GroupLimit{Width: 7}, k.queue.GroupLimits())
		require.Equal(t, 7, maps.Collect(k.queue.Groups())["two.example"].Limit.Width)

		for _, body := range []string{
			`{}`, `{"width":3}`, `{"group":"x"}`, `{"group":"x","all":true,"width":3}`, `{"group":"x","width":0}`, `{"group":"x","width":1.5}`,
			`{"group":"x","width":"paused"}`, `{"group":"x","per_second":0}`, `{"group":"x","per_second":-1}`, `{"group":"x","width":1000001}`,
			`{"group":"x","per_second":2,"burst":-1}`, `{"group":"x","reset":true,"width":2}`, `{"all":true,"reset":true}`,
			`{"group":"` + strings.Repeat("x", 501) + `","width":2}`, `{"group":"x","width":2,"for":"1ms"}`,
		} {
			require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/group", body).Code, body)
		}
		require.NotContains(t, maps.Collect(k.queue.Groups()), "x")
		for _, query := range []string{"limit=0", "limit=501", "limit=x"} {
			require.Equal(t, http.StatusBadRequest, k.get("/api/queues/sms/groups?"+query).Code)
		}
	})
}

func TestChangesOfGroupsForATimeAreTakenBack(t *testing.T) {
	limitOf := func(k *pageKit, group string) twill.GroupStats { return maps.Collect(k.queue.Groups())[group] }
	for name, c := range map[string]struct {
		body   string
		during twill.GroupLimit
	}{
		"a limit of its own":       {`{"group":"own","width":3,"for":"30m"}`, twill.GroupLimit{Width: 3, Rate: 9, Burst: 1}},
		"paused":                   {`{"group":"own","paused":true,"for":"30m"}`, twill.GroupLimit{Rate: 9, Burst: 1, Paused: true}},
		"reset":                    {`{"group":"own","reset":true,"for":"30m"}`, twill.GroupLimit{Width: 2}},
		"none of its own":          {`{"group":"plain","width":5,"for":"30m"}`, twill.GroupLimit{Width: 5}},
		"of all that have no own":  {`{"all":true,"width":6,"for":"30m"}`, twill.GroupLimit{Width: 6}},
		"two, one after the other": {`{"group":"plain","per_second":1,"for":"30m"}`, twill.GroupLimit{Width: 2, Rate: 1, Burst: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, k *pageKit) {
				require.NoError(t, k.queue.SetGroupLimits(twill.GroupLimit{Width: 2}))
				k.queue.Pause()
				k.putGroup("own", 1)
				k.putGroup("plain", 1)
				require.NoError(t, k.queue.SetGroupLimit("own", twill.GroupLimit{Rate: 9, Burst: 1}))
				own, plain := limitOf(k, "own"), limitOf(k, "plain")
				k.postJSON("/api/queues/sms/group", c.body)
				group := "plain"
				if strings.Contains(c.body, `"own"`) {
					group = "own"
				}
				require.Equal(t, c.during, limitOf(k, group).Limit)
				if strings.HasPrefix(name, "two") {
					time.Sleep(time.Minute)
					k.postJSON("/api/queues/sms/group", `{"group":"plain","width":9,"for":"30m"}`)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Equal(t, own, limitOf(k, "own"))
				require.Equal(t, plain, limitOf(k, "plain"))
				require.Equal(t, "back", k.audit("")[0].Action)
				require.Empty(t, k.view().Changes)
			})
		})
	}
	t.Run("what the program has set meanwhile stays", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *pageKit) {
			k.postJSON("/api/queues/sms/group", `{"group":"g","width":3,"for":"30m"}`)
			require.NoError(t, k.queue.SetGroupLimit("g", twill.GroupLimit{Width: 8}))
			time.Sleep(time.Hour)
			require.Equal(t, 8, limitOf(k, "g").Limit.Width)
			require.Contains(t, k.audit("")[0].Detail, "left as it is")
		})
	})
}

// TestManyGroups: what is shown and remembered of them has bounds.
func TestManyGroups(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.queue.Pause()
	for i := range 300 {
		k.putGroup(fmt.Sprintf("group %03d", i), 1+i/290)
	}
	l := k.groups("")
	require.Equal(t, 300, l.Total)
	require.Len(t, l.Groups, 100)
	require.Equal(t, "group 290", l.Groups[0].Name)
	require.Equal(t, 20, strings.Count(k.get("/q/sms").Body.String(), `aria-label="Pause group`))
	for i := range 1001 {
		w := k.post("/api/queues/sms/group", fmt.Sprintf(`{"group":"own %d","width":2}`, i))
		require.Equal(t, i < 1000, w.Code == http.StatusOK, "%d: %s", i, w.Body)
	}
	require.Len(t, k.view().Changes, 30)

	op := k.finished(k.postJSON("/api/queues/sms/bulk/count", `{"filter":"all"}`))
	ages := op["ages"].(map[string]any)
	require.Len(t, ages["groups"], 51)
	others := ages["groups"].([]any)[50].(map[string]any)
	require.Empty(t, others["name"])
	require.EqualValues(t, 260, others["jobs"])
	require.Len(t, ages["priorities"], 1)
	require.EqualValues(t, 310, ages["priorities"].([]any)[0].(map[string]any)["jobs"])
}

func TestAgesByPriorityAndGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, k *pageKit) {
		k.queue.Pause()
		k.put("old")
		time.Sleep(time.Hour)
		_, err := k.queue.Put("young", 5, twill.JobOptions{Group: "g"})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		op := k.finished(k.postJSON("/api/queues/sms/bulk/count", `{"filter":"state:pending"}`))
		require.Equal(t, map[string]any{
			"priorities": []any{
				map[string]any{"name": "0", "jobs": 1.0, "oldest_seconds": 3660.0},
				map[string]any{"name": "5", "jobs": 1.0, "oldest_seconds": 60.0},
			},
			"groups": []any{map[string]any{"name": "g", "jobs": 1.0, "oldest_seconds": 60.0}},
		}, op["ages"])
		for _, path := range []string{"/q/sms", "/operations/" + op["id"].(string)} {
			text := k.get(path).Body.String()
			require.Contains(t, text, `aria-label="Oldest pending by Group"`)
			require.Contains(t, text, "1 h 01 min")
		}
	})
}

func TestGroupsByForm(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.queue.Pause()
	k.putGroup(`a "b" <c>`, 3)
	w := k.do(form("/q/sms/group", "group=a+%22b%22+%3Cc%3E&width=2&per_second=&for=30m"))
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Contains(t, w.Header().Get("Location"), "done=Done")
	require.Equal(t, 2, maps.Collect(k.queue.Groups())[`a "b" <c>`].Limit.Width)
	k.do(form("/q/sms/group", "group=a+%22b%22+%3Cc%3E&paused=yes"))
	require.True(t, maps.Collect(k.queue.Groups())[`a "b" <c>`].Limit.Paused)
	text := k.get("/q/sms").Body.String()
	require.Contains(t, text, `a &#34;b&#34; &lt;c&gt;`)
	query := regexp.MustCompile(`/jobs\?(filter=group:[^"]+)"`).FindStringSubmatch(text)
	require.NotNil(t, query)
	require.Len(t, k.jobs(query[1]).Jobs, 3)
	k.do(form("/q/sms/group", "group=a+%22b%22+%3Cc%3E&reset=yes"))
	require.False(t, maps.Collect(k.queue.Groups())[`a "b" <c>`].Own)
	require.Contains(t, k.do(form("/q/sms/group", "width=2")).Header().Get("Location"), "failed=")
}

func TestGroupsOfAQueueWithoutThem(t *testing.T) {
	k := newKit(t, admin.Options{})
	require.NoError(t, k.page.Add("plain", &fakeQueue{}))
	require.Equal(t, http.StatusNotImplemented, k.get("/api/queues/plain/groups").Code)
	require.Equal(t, http.StatusNotImplemented, k.get("/api/queues/plain/workers").Code)
	require.Equal(t, http.StatusNotImplemented, k.post("/api/queues/plain/group", `{"group":"g","width":1}`).Code)
	require.Equal(t, http.StatusNotImplemented, k.post("/api/queues/plain/bulk/discard", `{"filter":"all"}`).Code)
	require.NotContains(t, k.get("/q/plain").Body.String(), "Groups")
	require.NotContains(t, k.get("/q/plain/jobs").Body.String(), "dead")
}
