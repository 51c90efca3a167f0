package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
)

func TestMain(m *testing.M) {
	twill.OnUnhandled(nil) // jobs fail on purpose
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if file := os.Getenv("TWILL_JOBS_TEST_OWNER"); file != "" {
		os.Exit(ownerChild(file))
	}
	os.Exit(m.Run())
}

// task is the argument of a job, and what its call does.
type task struct{ Kind, To string }

type queue = durable.Queue[task, string]

// work is the function of the queues.
func work(ctx context.Context, t task) (string, error) {
	switch t.Kind {
	case "mail":
		return "mail to " + t.To, nil
	case "fail":
		return "", errors.New("no route to " + t.To)
	case "wait":
		<-ctx.Done()
		return "", ctx.Err()
	}
	return "", fmt.Errorf("kind %q: %w", t.Kind, durable.ErrUnknownKind)
}

var policies = map[string]*twill.RetryOptions{"twice": {Backoff: twill.ConstantBackoff(time.Millisecond)}}

func openQueue(t testing.TB, file string) *queue {
	t.Helper()
	q, err := durable.Open(file, work, &durable.Options{Retries: policies, Wait: 10 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { closeQueue(t, q) })
	return q
}

func closeQueue(t testing.TB, q *queue) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, q.Close(ctx))
}

// ended puts a job and waits for its end.
func ended(t testing.TB, q *queue, arg task, opts ...twill.JobOptions) string {
	t.Helper()
	j, err := q.Put(arg, 0, opts...)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, _ = j.Await(ctx)
	require.NoError(t, ctx.Err())
	return j.ID()
}

func put(t testing.TB, q *queue, arg task, priority int, opts ...twill.JobOptions) *durable.Job[task, string] {
	t.Helper()
	j, err := q.Put(arg, priority, opts...)
	require.NoError(t, err)
	return j
}

// queueFile is the file of a queue, with or without an owner.
type queueFile struct {
	path string
	q    *queue // nil if no process has the file open
}

// queue is the queue, opened if it is not.
func (f *queueFile) queue(t testing.TB) *queue {
	t.Helper()
	if f.q == nil {
		f.q = openQueue(t, f.path)
	}
	return f.q
}

// The jobs of a queueFile.
const (
	mailed   = "1" // finished
	failed   = "2" // failed, with a key
	parked   = "3"
	first    = "4" // pending, priority 5
	delayed  = "5" // pending, priority 1, with a key, a group and a delay
	held     = "6" // pending, held, with a retry policy and a timeout
	canceled = "7"
	last     = "8" // pending, with a result of a terminal's escape in its key
)

// both runs a test on a file with an owner and without.
func both(t *testing.T, test func(t *testing.T, f *queueFile)) {
	for _, owned := range []bool{true, false} {
		t.Run(map[bool]string{true: "through the owner", false: "on the file"}[owned], func(t *testing.T) {
			f := &queueFile{path: filepath.Join(t.TempDir(), "jobs.db")}
			q := openQueue(t, f.path)
			require.Equal(t, mailed, ended(t, q, task{"mail", "ann"}))
			require.Equal(t, failed, ended(t, q, task{"fail", "bob"}, twill.JobOptions{Key: "k-failed"}))
			j := put(t, q, task{"fax", "cid"}, 2)
			for !j.Parked() {
				time.Sleep(time.Millisecond)
			}
			q.Pause()
			put(t, q, task{"mail", "dan"}, 5)
			put(t, q, task{"mail", "eve"}, 1, twill.JobOptions{Key: "k-delayed", Group: "slow", After: time.Hour})
			put(t, q, task{"mail", "fay"}, 0, twill.JobOptions{Held: true, Retry: policies["twice"], Timeout: 5 * time.Second})
			put(t, q, task{"mail", "gus"}, 0).Cancel(errors.New("not wanted"))
			require.Equal(t, last, put(t, q, task{"mail", "\x1b[31m\u009b\u202ehal"}, 9, twill.JobOptions{Key: "\x1b]0;k\a", Group: "g\xff"}).ID())
			if f.q = q; !owned {
				closeQueue(t, q)
				f.q = nil
			}
			test(t, f)
		})
	}
}

// result is what a command has printed.
type result struct {
	out, err string
	status   int
}

// jobs runs the command.
func twillJobs(t testing.TB, args ...string) result {
	t.Helper()
	return twillJobsWith(t, context.Background(), "", args...)
}

func twillJobsWith(t testing.TB, ctx context.Context, stdin string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	status := run(ctx, args, strings.NewReader(stdin), &out, &err)
	// A slow machine reports progress.
	progress := regexp.MustCompile(`(?m)^twill-jobs: (list|retry|cancel|export|import|backup|compact|check): (working|line [0-9,]+|[0-9,]+ of [0-9,]+ [a-z]+|SQLite.*)\n`)
	r := result{out.String(), progress.ReplaceAllString(err.String(), ""), status}
	for _, text := range []string{r.out, r.err} {
		for _, bad := range []string{"\x1b", "\u009b", "\u202e", "\a", "\xff"} {
			require.NotContains(t, text, bad, "a terminal's control character")
		}
	}
	return r
}

// ok runs the command, which must succeed, and returns what it has printed.
func (f *queueFile) ok(t testing.TB, args ...string) string {
	t.Helper()
	r := twillJobs(t, append([]string{f.path}, args...)...)
	require.Zero(t, r.status, "%v: %s%s", args, r.out, r.err)
	require.Empty(t, r.err)
	return r.out
}

// ids are the ids in lines of a list or of outcomes.
func ids(out string) string {
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^(?:job )?(\d+)(?::|  +[a-z]+ +-?\d+ )`).FindAllStringSubmatch(out, -1) {
		list = append(list, m[1])
	}
	return strings.Join(list, " ")
}

// states are the states of all jobs.
func (f *queueFile) states(t testing.TB) string {
	t.Helper()
	var list []string
	for _, line := range strings.Split(f.ok(t, "list", "-limit", "0"), "\n") {
		if words := strings.Fields(line); len(words) > 3 && words[0] != "ID" {
			list = append(list, words[0]+" "+words[1])
		}
	}
	return strings.Join(list, ", ")
}

const states = "1 finished, 2 failed, 3 parked, 4 pending, 5 pending, 6 pending, 7 canceled, 8 pending"

func TestList(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		for _, test := range []struct{ flags, want string }{
			{"", "1 2 3 4 5 6 7 8"},
			{"-latest", "8 7 6 5 4 3 2 1"},
			{"-latest -limit 3", "8 7 6"},
			{"-limit 2", "1 2"},
			{"-state pending", "4 5 6 8"},
			{"-state pending,canceled", "4 5 6 7 8"},
			{"-state dead", ""},
			{"-state failed -state finished", "1"},
			{"-priority 5", "4"},
			{"-priority 1..5", "3 4 5"},
			{"-priority 2..", "3 4 8"},
			{"-priority ..0", "1 2 6 7"},
			{"-key k-", "2 5"},
			{"-group slow", "5"},
			{"-group=", "1 2 3 4 6 7"},
			{"-error route", "2"},
			{"-error kind", "3"},
			{"-cause canceled", "7"},
			{"-cause canceled,dead -state failed", ""},
			{"-kind fax", "3"},
			{"-kind mail -state pending -priority ..1", "5 6"},
			{"-arg fay", "6"},
			{"-arg nothing", ""},
			{"-older 1d", ""},
			{"-newer 1d", "1 2 3 4 5 6 7 8"},
			{"-newer 1h -older 30m", ""},
		} {
			out := f.ok(t, append([]string{"list"}, strings.Fields(test.flags)...)...)
			require.Equal(t, test.want, ids(out), "%s\n%s", test.flags, out)
		}
		out := f.ok(t, "list", "-limit", "2")
		require.Contains(t, out, "2 of 8 jobs")
		require.Contains(t, f.ok(t, "list", "-args", "-arg", "dan"), `{"Kind":"mail","To":"dan"}`)
		require.Contains(t, f.ok(t, "list", "-json", "-key", "k-d"), `"key":"k-delayed"`)
		require.Equal(t, states, f.states(t), "nothing has changed")
	})
}

func TestShow(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		out := f.ok(t, "show", failed, held, last)
		for _, want := range []string{
			"job 2\n", "state      failed", "error      no route to bob", "state      pending, held", "timeout    5s", "retry      twice",
			`argument   {"Kind":"mail","To":"fay"}`, `\x1b]0;k\a`,
		} {
			require.Contains(t, out, want)
		}
		require.Contains(t, f.ok(t, "show", mailed), `result     "mail to ann"`)
		r := twillJobs(t, f.path, "show", "99", failed, "-json")
		require.Equal(t, 1, r.status)
		require.Contains(t, r.out, `{"id":"99","outcome":"skipped","reason":"no such job"}`)
		require.Contains(t, r.out, `"state":"failed"`)
	})
}

func TestInfo(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		out := f.ok(t)
		require.Contains(t, out, "pending  4\n")
		require.Contains(t, out, "paused ")
		if f.q != nil {
			require.Contains(t, out, fmt.Sprintf("process %d, width 1", os.Getpid()))
		} else {
			require.Contains(t, out, "no process has the file open")
		}
		require.Contains(t, f.ok(t, "info", "-json"), `"pending":4`)
	})
}

func TestCancel(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		require.Equal(t, "3 4 5 6 8", ids(f.ok(t, "cancel", "-all", "-dry-run")))
		require.Equal(t, states, f.states(t), "a dry run")
		out := f.ok(t, "cancel", "-state", "pending", "-priority", "1..5", "-reason", "moved away")
		require.Equal(t, "4 5", ids(out))
		require.Contains(t, out, "2 jobs canceled, 0 skipped, 0 failed")
		r := twillJobs(t, f.path, "cancel", first, parked, failed, "77")
		require.Equal(t, 1, r.status, "some were skipped")
		require.Contains(t, r.out, "job 3: canceled")
		require.Contains(t, r.out, "job 4: skipped: has ended (canceled)")
		require.Contains(t, r.out, "job 2: skipped: has ended (failed)")
		require.Contains(t, r.out, "job 77: skipped: no such job")
		require.Equal(t, "1 finished, 2 failed, 3 canceled, 4 canceled, 5 canceled, 6 pending, 7 canceled, 8 pending", f.states(t))
		require.Contains(t, f.ok(t, "show", first), "error      twill: canceled: moved away")

		q := f.queue(t)
		j, err := q.Find(first)
		require.NoError(t, err)
		require.Equal(t, twill.JobCanceled, j.State())
		_, err = j.Await(t.Context())
		require.ErrorIs(t, err, twill.ErrCanceled)
		_, pending := q.Size()
		require.Equal(t, 2, pending)
	})
}

// A filter that names no state does not cancel jobs that are underway.
func TestCancelOfJobsUnderway(t *testing.T) {
	f := &queueFile{path: filepath.Join(t.TempDir(), "jobs.db")}
	f.q = openQueue(t, f.path)
	j := put(t, f.q, task{"wait", "ann"}, 0)
	put(t, f.q, task{"mail", "bob"}, 0)
	for j.State() != twill.JobUnderway {
		time.Sleep(time.Millisecond)
	}
	for !strings.Contains(f.ok(t, "list"), "underway") { // on disk
		time.Sleep(time.Millisecond)
	}
	require.Equal(t, "2", ids(f.ok(t, "cancel", "-all")))
	require.Equal(t, twill.JobUnderway, j.State())
	require.Equal(t, "1", ids(f.ok(t, "cancel", "-state", "underway")))
	require.Equal(t, twill.JobCanceled, j.State())
}

func TestRetry(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		require.Equal(t, "2", ids(f.ok(t, "retry", "-all", "-dry-run")))
		require.Equal(t, states, f.states(t), "a dry run")
		out := f.ok(t, "retry", "-error", "route")
		require.Contains(t, out, "job 2: put again as 9")
		out = f.ok(t, "retry", "-error", "route")
		require.Contains(t, out, "0 jobs put again", "it is not put twice")
		require.Equal(t, "1 finished, 3 parked, 4 pending, 5 pending, 6 pending, 7 canceled, 8 pending, 9 pending", f.states(t))
		r := twillJobs(t, f.path, "retry", mailed, parked, first, canceled)
		require.Equal(t, 1, r.status)
		require.Contains(t, r.out, "job 1: put again as 10")
		require.Contains(t, r.out, "job 3: skipped: is parked")
		require.Contains(t, r.out, "job 4: skipped: is pending")
		require.Contains(t, r.out, "job 7: put again as 11")
		require.Contains(t, f.ok(t, "show", mailed), "finished", "its result is kept")

		q := f.queue(t)
		j, err := q.Find("9")
		require.NoError(t, err)
		require.Equal(t, "k-failed", j.Key())
		arg, err := j.Arg()
		require.NoError(t, err)
		require.Equal(t, task{"fail", "bob"}, arg)
	})
}

// The key of a job that is to be put again may be taken.
func TestRetryOfATakenKey(t *testing.T) {
	for _, owned := range []bool{true, false} {
		f := &queueFile{path: filepath.Join(t.TempDir(), "jobs.db")}
		q := openQueue(t, f.path)
		ended(t, q, task{"fail", "ann"}, twill.JobOptions{Key: "k"})
		ended(t, q, task{"fail", "bob"}, twill.JobOptions{Key: "k"})
		q.Pause()
		put(t, q, task{"mail", "cid"}, 0, twill.JobOptions{Key: "other"})
		if !owned {
			closeQueue(t, q)
		}
		r := twillJobs(t, f.path, "retry", "-all", "-dry-run")
		require.Equal(t, 1, r.status)
		require.Contains(t, r.out, "job 1: would be put again\n")
		require.Contains(t, r.out, "job 2: skipped: ")
		r = twillJobs(t, f.path, "retry", "-all")
		require.Equal(t, 1, r.status)
		require.Contains(t, r.out, "1 job put again, 1 skipped, 0 failed")
		require.Equal(t, 2, strings.Count(f.states(t), "pending"))
	}
}

// Jobs that are exported and imported are the same.
func TestExportAndImport(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		export := f.ok(t, "export")
		require.Equal(t, 7, strings.Count(export, "\n"), "five jobs, a begin and an end:\n%s", export)
		want := records(t, f.queue(t))
		for _, owned := range []bool{true, false} {
			other := filepath.Join(t.TempDir(), "other.db")
			q := openQueue(t, other)
			q.Pause()
			if !owned {
				closeQueue(t, q)
			}
			dry := twillJobsWith(t, t.Context(), export, other, "import", "-dry-run")
			require.Zero(t, dry.status, dry.out+dry.err)
			r := twillJobsWith(t, t.Context(), export, other, "import")
			require.Zero(t, r.status, r.out+r.err)
			require.Contains(t, r.out, "5 jobs imported, 0 skipped, 0 failed")
			again := twillJobsWith(t, t.Context(), export, other, "import", "-dry-run")
			require.Contains(t, again.out, "0 jobs would be imported, 5 skipped", "they are there")
			require.Contains(t, again.out, "job 4: skipped: is in the queue (pending)")
			other1 := strings.ReplaceAll(export, "dan", "dun")
			again = twillJobsWith(t, t.Context(), other1, other, "import", "-dry-run")
			require.Contains(t, again.out, "job 4: would be imported with a new id")
			if !owned {
				q = openQueue(t, other)
			}
			require.Equal(t, want, records(t, q))
			// Of a parked job that is pending again, there is no start.
			export := regexp.MustCompile(`"started":"[^"]*",`).ReplaceAllString(strings.Replace(export, `"state":"parked"`, `"state":"pending"`, 1), "")
			require.Equal(t, export, strings.Replace(twillJobs(t, other, "export").out, other, f.path, 1), "byte for byte")
		}
	})
}

// records are the jobs of a queue as text.
func records(t *testing.T, q *queue) (list []string) {
	for _, j := range q.Pending() {
		arg, err := j.Arg()
		require.NoError(t, err)
		r := j.Record()
		list = append(list, fmt.Sprintf("%s %q %d %q %q %d", j.ID(), arg, r.Priority, r.Key, r.Group, r.Attempts))
	}
	slices.Sort(list)
	return list
}

// Attempts are kept, and a job that was underway is pending.
func TestImportKeepsAttempts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	q := openQueue(t, file)
	j := put(t, q, task{"wait", "ann"}, 0)
	for j.State() != twill.JobUnderway {
		time.Sleep(time.Millisecond)
	}
	q.Pause()
	export := ""
	for !strings.Contains(export, `"state":"underway"`) { // on disk
		export = twillJobs(t, file, "export").out
	}
	for _, owned := range []bool{true, false} {
		other := filepath.Join(t.TempDir(), "other.db")
		q := openQueue(t, other)
		q.Pause()
		if !owned {
			closeQueue(t, q)
		}
		r := twillJobsWith(t, t.Context(), export, other, "import")
		require.Zero(t, r.status, r.out+r.err)
		if !owned {
			q = openQueue(t, other)
		}
		j, err := q.Find("1")
		require.NoError(t, err)
		require.Equal(t, twill.JobPending, j.State())
		require.Equal(t, 1, j.Attempts())
		require.Zero(t, j.Crashes())
	}
}

// An imported job runs, and one whose id was used gets another one.
func TestImportedJobsRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	q := openQueue(t, file)
	ended(t, q, task{"mail", "ann"})
	r := twillJobsWith(t, t.Context(), `{"id":"1","state":"pending","arg":{"Kind":"mail","To":"bob"}}
{"id":"7","state":"pending","arg":{"Kind":"mail","To":"cid"}}

{"state":"pending","arg": {"Kind":"mail",
`+"", file, "import")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.out, "job 1: imported as 2")
	require.Contains(t, r.out, "job 7: imported\n")
	require.Contains(t, r.out, "line 4: failed: not a job")
	for id, want := range map[string]string{"1": "mail to ann", "2": "mail to bob", "7": "mail to cid"} {
		j, err := q.Find(id)
		require.NoError(t, err)
		v, err := j.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, v)
	}
	require.Equal(t, "8", put(t, q, task{"mail", "dan"}, 0).ID(), "an id is not used twice")
}

func TestImportRefuses(t *testing.T) {
	lines := []struct{ line, want string }{
		{`{"id":"1","state":"asleep","arg":{}}`, `no state "asleep"`},
		{`{"id":"2","state":"pending"}`, "no argument"},
		{`{"id":"3","state":"finished","arg":{}}`, "skipped: has ended (finished)"},
		{`{"id":"4","state":"pending","arg":{},"attempts":-1}`, "negative"},
		{`{"id":"x","state":"pending","arg":{}}`, "not the id of a job"},
		{`{"id":"6","state":"pending","arg":{},"timeout":"soon"}`, "timeout"},
		{`{"id":"7","state":"pending","arg":{},"priority":"high"}`, "not a job"},
		{`{"id":"8","state":"pending","arg":{},"priority":1e30}`, "not a job"},
		{`{"id":"9","state":"pending","arg":{},"prioritty":1}`, "not a job"},
		{`{"id":"10","state":"pending","arg":{},"due":"1066-10-14T00:00:00Z"}`, "out of range"},
		{`{"id":"11","state":"pending","arg":{},"damage":"damaged"}`, "damaged"},
		{"not JSON", "not a job"},
		{`{"id":"13","state":"pending","arg":{}} {}`, "not a job"},
		{`{"id":"14","state":"pending","key":"k","arg":{}}`, "has its key"},
	}
	ofOwner := []struct{ line, want string }{
		{`{"id":"20","state":"pending","arg":{"Kind":7}}`, "reading the argument"},
		{`{"id":"21","state":"pending","arg":{"base64":"/w=="}}`, "reading the argument"},
		{`{"id":"22","state":"pending","arg":{},"policy":"never"}`, "Options.Retries"},
	}
	for _, owned := range []bool{true, false} {
		file := filepath.Join(t.TempDir(), "jobs.db")
		q := openQueue(t, file)
		q.Pause()
		put(t, q, task{}, 0, twill.JobOptions{Key: "k"})
		all := lines
		if owned {
			all = append(all, ofOwner...)
		} else {
			closeQueue(t, q)
		}
		for _, dry := range []string{"-dry-run", "-quiet"} {
			for _, test := range all {
				r := twillJobsWith(t, t.Context(), test.line+"\n", file, "import", dry)
				require.Equal(t, 1, r.status, test.line)
				require.Contains(t, r.out+r.err, test.want, test.line)
			}
		}
		require.Contains(t, twillJobs(t, file).out, "pending  1\n")
		r := twillJobsWith(t, t.Context(), lines[2].line, file, "import", "-again")
		require.Zero(t, r.status, r.out+r.err)
	}
}

// An export that was cut is noticed, and so is one with a line missing.
func TestImportOfACutExport(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		export := f.ok(t, "export", "-state", "pending", "-priority", "5")
		lines := strings.SplitAfter(export, "\n")
		for _, text := range []string{lines[0] + lines[1], lines[0] + lines[2]} {
			r := twillJobsWith(t, t.Context(), text, f.path, "import", "-dry-run")
			require.Equal(t, 1, r.status)
			require.Contains(t, r.err, "export", r.out)
		}
	})
}

// A full queue refuses an import, as it refuses a put.
func TestImportIntoAFullQueue(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	q, err := durable.Open(file, work, &durable.Options{Dispatch: twill.DispatchOptions{Size: 2}})
	require.NoError(t, err)
	defer closeQueue(t, q)
	q.Pause()
	line := `{"state":"pending","arg":{}}` + "\n"
	r := twillJobsWith(t, t.Context(), strings.Repeat(line, 3), file, "import")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.out, "line 3: failed: "+twill.ErrQueueFull.Error())
	require.Contains(t, r.out, "2 jobs imported, 0 skipped, 1 failed")
}

// An import has its jobs on disk before it reports them.
func TestImportIsDurable(t *testing.T) {
	f, owner := childOwner(t)
	line := `{"state":"pending","priority":3,"arg":{"Kind":"mail","To":"ann"}}` + "\n"
	r := twillJobsWith(t, t.Context(), strings.Repeat(line, 2000), f.path, "import", "-quiet")
	require.Zero(t, r.status, r.out+r.err)
	require.NoError(t, owner.Process.Kill())
	_ = owner.Wait()
	require.Contains(t, f.ok(t), "pending  2,010\n")
}

func TestBackup(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		copied := filepath.Join(t.TempDir(), "copy.db")
		require.Contains(t, f.ok(t, "backup", copied), "copied ")
		info, err := os.Stat(copied)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		r := twillJobs(t, f.path, "backup", copied)
		require.Equal(t, 1, r.status, "it is not overwritten")
		require.Contains(t, r.err, "exists")
		other := &queueFile{path: copied}
		require.Equal(t, states, other.states(t))
		require.Contains(t, other.ok(t, "check"), "8 jobs, 0 problems")
		r = twillJobs(t, f.path, "backup", f.path+"-wal")
		require.Equal(t, 1, r.status, "a file of the queue's own")
		require.Equal(t, 1, twillJobs(t, f.path, "backup", filepath.Join(t.TempDir(), "no", "folder")).status)
		require.Equal(t, states, f.states(t))
	})
}

// A backup is made while the queue goes on, and is whole.
func TestBackupWhileTheQueueGoesOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	q := openQueue(t, file)
	q.Pause()
	for range 20 {
		_, err := q.PutAll(make([]task, 500), 0)
		require.NoError(t, err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := q.Put(task{"mail", strings.Repeat("x", 3000)}, i); err != nil {
				t.Error(err)
				return
			}
		}
	})
	copied := filepath.Join(t.TempDir(), "copy.db")
	r := twillJobs(t, file, "backup", copied)
	close(stop)
	wg.Wait()
	require.Zero(t, r.status, r.err)
	r = twillJobs(t, copied, "check")
	require.Zero(t, r.status, r.out+r.err)
}

func TestCompact(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		q := f.queue(t)
		_, err := q.PutAll(make([]task, 5000), 50)
		require.NoError(t, err)
		closeQueue(t, q)
		owned := f.q != nil
		require.Contains(t, f.ok(t, "cancel", "-priority", "50", "-quiet"), "5,000 jobs canceled")
		if owned {
			f.q = openQueue(t, f.path) // keeps 1000 of them
			require.NoError(t, f.q.Flush())
		}
		require.Contains(t, f.ok(t, "compact", "-dry-run"), "would be given back")
		require.Contains(t, f.ok(t, "compact"), "given back: the database had ")
		require.Contains(t, f.ok(t, "check"), "0 problems")
	})
}

// Long names are cut for the terminal.
func TestInfoOfLongNames(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		name := strings.Repeat("n", 1<<16)
		require.NoError(t, f.queue(t).Every(name, durable.Cron("0 6 * * *"), task{}))
		if !strings.Contains(t.Name(), "owner") {
			closeQueue(t, f.q)
			f.q = nil
		}
		out := f.ok(t)
		require.Contains(t, out, "periodic "+name[:197]+"..., schedule \"")
		require.Less(t, len(out), 4000)
		require.Contains(t, f.ok(t, "info", "-json"), name)
	})
}

// A text is found in an argument as it is in a string of JSON, too.
func TestFilterByTextThatJSONEscapes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	q := openQueue(t, file)
	q.Pause()
	put(t, q, task{"mail", `<b>"quoted"</b> \ & more`}, 0)
	put(t, q, task{"mail", "ann"}, 0)
	for _, text := range []string{"<b>", `\u003cb\u003e`, `"quoted"`, `\ &`, `{"Kind":"mail","To":"\u003c`} {
		r := twillJobs(t, file, "list", "-arg", text)
		require.Zero(t, r.status, r.err)
		require.Equal(t, "1", ids(r.out), text)
	}
}
