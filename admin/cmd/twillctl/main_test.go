package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

func TestCommands(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, arg string) (int, error) {
		if arg == "bad" {
			return 0, errors.New("it is\x1b[31m bad")
		}
		<-ctx.Done()
		return 0, nil
	}, &twill.DispatchOptions{Width: 2})
	defer q.StopNow()
	page := admin.New(admin.Options{Authorize: func(r *http.Request, _ admin.Action) (string, error) {
		user, password, _ := r.BasicAuth()
		if user != "operator" || password != "secret" {
			return "", admin.ErrUnauthenticated
		}
		return user, nil
	}})
	defer page.Close()
	d := admin.Dispatch(q, admin.DispatchOptions[string]{Show: func(s string) string { return s }})
	defer d.Close()
	require.NoError(t, page.Add("sms/a", d))
	server := httptest.NewServer(http.StripPrefix("/queues", page))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	ctl := func(args ...string) (string, error) {
		var out, errOut bytes.Buffer
		err := run(t.Context(), append([]string{"-url", "http://operator:secret@" + host + "/queues"}, args...), &out, &errOut)
		return out.String(), err
	}
	ok := func(args ...string) string {
		t.Helper()
		out, err := ctl(args...)
		require.NoError(t, err)
		return out
	}
	bad, err := q.Put("bad", 0)
	require.NoError(t, err)
	<-bad.Done()
	for _, arg := range []string{"a", "b", "=1+1", "odd 1", "odd 2"} {
		_, err := q.Put(arg, 3, twill.JobOptions{Key: "key " + arg})
		require.NoError(t, err)
	}
	require.Contains(t, ok("list"), "sms/a  running  2")
	out := ok("list", "sms/a")
	require.Contains(t, out, "odd 2")
	require.NotContains(t, out, "bad")
	require.Equal(t, 2, strings.Count(ok("list", "-n", "1", "sms/a"), "\n"))
	require.Equal(t, 3, strings.Count(ok("list", "sms/a", "arg:odd"), "\n"))
	deadline := time.Now().Add(time.Minute)
	for out = ""; !strings.Contains(out, "it is"); out = ok("list", "-state", "failed", "sms/a") {
		require.True(t, time.Now().Before(deadline), out)
	}
	require.NotContains(t, out, "\x1b")
	require.Contains(t, ok("show", "sms/a"), "underway          2")
	require.Contains(t, ok("show", "sms/a", "key odd 1"), "why       ")
	require.Contains(t, ok("watch", "-times", "2", "-every", "100ms", "sms/a"), "2 of 2 underway")
	require.Contains(t, ok("width", "-for", "1h", "sms/a", "3"), "to 3 for 1 h")
	require.Equal(t, 3, q.Width())
	require.Contains(t, ok("show", "sms/a"), "set to 3 by operator, back at")
	ok("pause", "sms/a")
	require.True(t, q.Paused())
	ok("width", "sms/a", "unlimited")
	require.Equal(t, admin.Unlimited, q.Width())
	rows, err := csv.NewReader(strings.NewReader(ok("export", "sms/a"))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 7)
	require.Contains(t, ok("export", "sms/a", "arg:1+1"), "'=1+1")
	_, err = q.Put("grouped", 4, twill.JobOptions{Group: "g h"})
	require.NoError(t, err)
	require.Contains(t, ok("group", "-for", "1h", "sms/a", "g h", "width=2", "rate=0.5", "burst=3", "pause"), `"g h" to paused, width 2, 0.5 per second, burst 3 for 1 h`)
	require.Regexp(t, `g h +paused, width 2, 0.5 per second, burst 3 \(its own\) +0 +1 +1 +.*held`, ok("groups", "sms/a"))
	require.Contains(t, ok("groups", "sms/a"), "all others  unlimited")
	require.Contains(t, ok("group", "sms/a", "g h", "reset"), "to the limit of all groups")
	out = ok("count", "sms/a", "state:pending")
	require.Regexp(t, `done: [34] jobs match "state:pending"`, out)
	require.Regexp(t, `g h +1 +`, out)
	require.Contains(t, ok("rate", "-burst", "2", "sms/a", "7.5"), "to 7.5 per second, burst 2")
	ok("rate", "sms/a", "unlimited")
	ok("cancel", "-yes", "sms/a", "group:\"g h\"")
	for _, bad := range []string{"width=x", "width", "speed=3", "burst=unlimited", ""} {
		_, err := ctl("group", "sms/a", "g h", bad)
		require.ErrorContains(t, err, "width=N", bad)
	}
	require.Contains(t, ok("cancel", "sms/a", "odd"), "2 jobs match \"odd\"")
	_, pending := q.Size()
	require.Equal(t, 2, pending)
	require.Contains(t, ok("cancel", "-yes", "-reason", "test", "sms/a", "odd"), "done: 2 canceled, 0 failed")
	_, pending = q.Size()
	require.Equal(t, 0, pending)
	ok("resume", "sms/a")
	require.False(t, q.Paused())

	for _, args := range [][]string{{}, {"nothing"}, {"list", "none"}, {"width", "sms/a", "x"}, {"cancel", "sms/a"}, {"cancel", "sms/a", ""}, {"show", "sms/a", "none"}} {
		_, err := ctl(args...)
		require.Error(t, err, args)
		require.NotContains(t, err.Error(), "secret")
	}
	for _, address := range []string{"", "x", "ftp://x/", "http://operator:wrong@" + host + "/queues", "http://operator:secret@127.0.0.1:1/"} {
		err := run(t.Context(), []string{"-url", address, "list"}, new(bytes.Buffer), new(bytes.Buffer))
		require.Error(t, err, address)
		require.NotContains(t, err.Error(), "secret")
	}
}
