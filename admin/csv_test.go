package admin_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

func TestExport(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("a", "b", "c", "=1+1", "line\nbreak, \"quoted\"", "\xff", strings.Repeat("long ", 100))
	_, err := k.queue.Put("last", 3, twill.JobOptions{Key: "k", Group: "g"})
	require.NoError(t, err)
	rows := func(query string) [][]string {
		t.Helper()
		w := k.get("/api/queues/sms/export" + query)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.Equal(t, "text/csv; charset=utf-8", w.Header().Get("Content-Type"))
		all, err := csv.NewReader(w.Body).ReadAll()
		require.NoError(t, err)
		return all
	}
	all := rows("")
	require.Len(t, all, 9)
	require.Equal(t, []string{"id", "state", "key", "group", "priority", "attempts", "queued_at", "due_at", "started_at", "ended_at", "arg", "error"}, all[0])
	var args []string
	for _, row := range all[1:] {
		args = append(args, row[10])
	}
	require.ElementsMatch(t, []string{"a", "b", "c", "'=1+1", "line\nbreak, \"quoted\"", "\ufffd", strings.Repeat("long ", 100), "last"}, args)
	last := rows("?filter=key:k")[1]
	require.Equal(t, []string{"pending", "k", "g", "3", "0"}, last[1:6])
	require.Len(t, rows("?state=underway"), 3)
	for _, query := range []string{"?limit=3", "?cursor=pending.3", "?state=x", "?filter=%20%22"} {
		require.Equal(t, http.StatusBadRequest, k.get("/api/queues/sms/export"+query).Code, query)
	}
}

// TestExportIsWholeOrBreaksOff: a part of it is not taken for the whole.
func TestExportIsWholeOrBreaksOff(t *testing.T) {
	k := newKit(t, admin.Options{Streams: 1})
	require.NoError(t, k.page.Add("endless", &fakeQueue{endless: true}))
	server := httptest.NewServer(k.page)
	defer server.Close()
	export := func(ctx context.Context) *http.Response {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/queues/endless/export", nil)
		require.NoError(t, err)
		r.Host = "localhost"
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		return res
	}
	ctx, cancel := context.WithCancel(t.Context())
	res := export(ctx)
	_, err := bufio.NewReader(res.Body).ReadString('\n')
	require.NoError(t, err)
	busy := export(t.Context())
	require.Equal(t, http.StatusServiceUnavailable, busy.StatusCode)
	busy.Body.Close()
	cancel()
	res.Body.Close()

	eventually(t, func() bool {
		res = export(t.Context())
		if res.StatusCode == http.StatusOK {
			return true
		}
		res.Body.Close()
		return false
	})
	defer res.Body.Close()
	_, err = bufio.NewReader(res.Body).ReadString('\n')
	require.NoError(t, err)
	go k.page.Close()
	_, err = io.Copy(io.Discard, res.Body)
	require.Error(t, err)
}
