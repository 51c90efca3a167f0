package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
	"github.com/twillgo/twill/durable/internal/steer"
	"github.com/twillgo/twill/durable/internal/store"
)

// ownerChild has a queue with ten jobs open until its input ends.
func ownerChild(file string) int {
	q, err := durable.Open(file, work, nil)
	if err == nil {
		q.Pause()
		_, err = q.PutAll(make([]task, 10), 0)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.ReadAll(os.Stdin)
	return 0
}

// childOwner starts a process that has a file open.
func childOwner(t *testing.T) (*queueFile, *exec.Cmd) {
	t.Helper()
	f := &queueFile{path: filepath.Join(t.TempDir(), "jobs.db")}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "TWILL_JOBS_TEST_OWNER="+f.path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return f, cmd
}

// The command works through an owner in another process and, when that was
// killed, on the file, although the owner's file is still there.
func TestOwnerInAnotherProcess(t *testing.T) {
	f, owner := childOwner(t)
	require.Contains(t, f.ok(t), fmt.Sprintf("process %d,", owner.Process.Pid))
	require.Equal(t, "1", ids(f.ok(t, "cancel", "1")))
	info, err := os.Stat(f.path + "-owner")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "the token is in it")
	copied := filepath.Join(t.TempDir(), "copy.db")
	f.ok(t, "backup", copied)

	require.NoError(t, owner.Process.Kill())
	_ = owner.Wait()
	text, err := os.ReadFile(f.path + "-owner")
	require.NoError(t, err)
	require.Contains(t, string(text), "127.0.0.1:", "the owner's file is what it was")
	require.Contains(t, f.ok(t), "no process has the file open")
	require.Equal(t, "2", ids(f.ok(t, "cancel", "2")))
	require.Contains(t, f.ok(t, "check"), "10 jobs, 0 problems")
	require.Equal(t, 8, strings.Count(f.states(t), "pending"))
}

// An owner that is killed while it replies is noticed: no list ends early
// without an error.
func TestOwnerKilledWhileItReplies(t *testing.T) {
	f, owner := childOwner(t)
	line := fmt.Sprintf(`{"state":"pending","arg":{"To":%q}}`, strings.Repeat("x", 5000)) + "\n"
	r := twillJobsWith(t, t.Context(), strings.Repeat(line, 4000), f.path, "import", "-quiet")
	require.Zero(t, r.status, r.out+r.err)
	in, out := io.Pipe()
	var stderr bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(t.Context(), []string{f.path, "export"}, nil, out, &stderr)
		out.Close()
	}()
	_, err := io.ReadFull(in, make([]byte, 10_000))
	require.NoError(t, err)
	require.NoError(t, owner.Process.Kill())
	_ = owner.Wait()
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, 1, <-status)
	require.Contains(t, stderr.String(), "has gone")
	require.NotContains(t, string(rest), `{"end":`)
}

// Commands that run at the same time wait for each other.
func TestManyCommandsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				args := []string{f.path, "list"}
				if i%2 == 0 {
					args = []string{f.path, "check", "-wait", "1m"}
				}
				var out, errs bytes.Buffer
				if status := run(t.Context(), append(args, "-wait", "1m"), nil, &out, &errs); status != 0 {
					t.Errorf("%v: %s%s", args, out.String(), errs.String())
				}
			})
		}
		wg.Wait()
		require.Equal(t, states, f.states(t))
	})
}

// An Open waits for a command that has the file, without Options.Wait.
func TestOpenWaitsForACommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	closeQueue(t, openQueue(t, file))
	tool, err := steer.Open(t.Context(), file, 0, nil)
	require.NoError(t, err)
	require.Zero(t, tool.Owner)
	time.AfterFunc(100*time.Millisecond, func() { _ = tool.Close() })
	q, err := durable.Open(file, work, nil)
	require.NoError(t, err)
	closeQueue(t, q)
}

// A client without the token gets nothing.
func TestWrongToken(t *testing.T) {
	f := &queueFile{path: filepath.Join(t.TempDir(), "jobs.db")}
	q := openQueue(t, f.path)
	put(t, q, task{"mail", "ann"}, 0, twill.JobOptions{After: time.Hour})
	text, err := os.ReadFile(f.path + "-owner")
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	require.Len(t, lines[2], 26)
	lines[2] = strings.Repeat("A", 26)
	require.NoError(t, os.WriteFile(f.path+"-owner", []byte(strings.Join(lines, "\n")), 0o600))
	for _, args := range [][]string{{}, {"list"}, {"cancel", "-all"}, {"backup", filepath.Join(t.TempDir(), "copy.db")}} {
		r := twillJobs(t, append([]string{f.path}, args...)...)
		require.Equal(t, 1, r.status)
		require.Empty(t, r.out)
		require.Contains(t, r.err, "token is wrong")
	}
	_, pending := q.Size()
	require.Equal(t, 1, pending)
}

// slow is an owner whose work takes longer than it may be silent.
type slow struct{}

func (slow) Do(_ context.Context, _ *steer.Request, emit func(*steer.Reply) error) error {
	time.Sleep(3 * time.Second)
	return emit(&steer.Reply{End: new(steer.End)})
}

// An owner that works is waited for, although it has nothing to report.
func TestSlowOwner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	s, err := store.Open(file, store.Options{})
	require.NoError(t, err)
	defer s.Close()
	server, err := steer.Serve(s, slow{})
	require.NoError(t, err)
	defer server.Close()
	r := twillJobs(t, file, "compact", "-wait", "1ms")
	require.Zero(t, r.status, r.err)
}

func TestNoListener(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	q, err := durable.Open(file, work, &durable.Options{NoListener: true})
	require.NoError(t, err)
	r := twillJobs(t, file, "list")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "NoListener")
	closeQueue(t, q)
	require.Zero(t, twillJobs(t, file, "list").status)
}

// Close ends the listener and what it does, and leaves no goroutine.
func TestCloseEndsTheListener(t *testing.T) {
	before := runtime.NumGoroutine()
	file := filepath.Join(t.TempDir(), "jobs.db")
	q, err := durable.Open(file, work, nil)
	require.NoError(t, err)
	q.Pause()
	args := make([]task, 20_000)
	for i := range args {
		args[i].To = strings.Repeat("x", 1000) // more than the buffers of a connection
	}
	_, err = q.PutAll(args, 0)
	require.NoError(t, err)
	o, err := steer.Open(t.Context(), file, 0, nil)
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), o.Owner)
	replies := 0
	closed := make(chan struct{})
	err = o.Do(t.Context(), &steer.Request{Version: steer.Version, Do: steer.List, Args: true}, func(*steer.Reply) error {
		if replies++; replies == 1 {
			go func() {
				closeQueue(t, q)
				close(closed)
			}()
			<-closed // although its client reads nothing
		}
		return nil
	})
	require.Error(t, err)
	for began := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		require.Less(t, time.Since(began), time.Minute, "goroutines are left")
	}
}

// The command does not make a file, and leaves what is not a queue's as it was.
func TestForeignFiles(t *testing.T) {
	folder := t.TempDir()
	missing := filepath.Join(folder, "missing.db")
	text := filepath.Join(folder, "text")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("not a queue\n", 100)), 0o600))
	empty := filepath.Join(folder, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	other := filepath.Join(folder, "other.db")
	change(t, other, "CREATE TABLE t (x)")
	newer := filepath.Join(folder, "newer.db")
	closeQueue(t, openQueue(t, newer))
	change(t, newer, "PRAGMA user_version = 99")
	for file, want := range map[string]string{
		missing: "no such file", text: "not the file of a queue", empty: "file is empty", other: "not the file of a queue",
		newer: "written by a later version", folder: "not a regular file",
	} {
		before, _ := os.ReadFile(file)
		for _, args := range [][]string{{}, {"check"}, {"cancel", "-all"}, {"import"}} {
			r := twillJobs(t, append([]string{file}, args...)...)
			require.Equal(t, 1, r.status, file)
			require.Contains(t, r.err, want)
			require.Empty(t, r.out)
		}
		after, _ := os.ReadFile(file)
		require.Equal(t, before, after, file)
	}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 5, "nothing but the owner's file of the queue: %v", entries)
}

// change changes a file by a statement of SQL.
func change(t *testing.T, file, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	_, err = db.Exec(statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// check names what is damaged, and other commands say so and go on.
func TestCheckNamesDamage(t *testing.T) {
	for _, test := range []struct{ statement, want string }{
		{`UPDATE args SET data = CAST('{"Kind":"mail","To":"eve!"}' AS BLOB) WHERE id = 5`, "checksum of the argument of job 5"},
		{`DELETE FROM args WHERE id = 4`, "no argument of job 4"},
		{`UPDATE jobs SET priority = 7 WHERE id = 6`, "checksum of job 6"},
		{`UPDATE jobs SET state = 77 WHERE id = 6`, "checksum of job 6"},
		{`UPDATE ended SET error = x'21' WHERE id = 2`, "checksum of ended job 2"},
		{`UPDATE args SET data = x'2221' WHERE id = 1`, "checksum of the argument of job 1"},
		{`INSERT INTO args VALUES (99, x'21', 0)`, "1 arguments without a job"},
		{`UPDATE settings SET value = x'21'`, `setting "paused"`},
	} {
		both(t, func(t *testing.T, f *queueFile) {
			owned := f.q != nil
			if owned {
				closeQueue(t, f.q)
			}
			if change(t, f.path, test.statement); owned && strings.Contains(test.want, "setting") {
				return // which the queue writes anew
			}
			if f.q = nil; owned {
				f.queue(t).Pause()
			}
			r := twillJobs(t, f.path, "check")
			require.Equal(t, 1, r.status, r.out)
			require.Contains(t, r.err, test.want)
			r = twillJobs(t, f.path, "check", "-json")
			require.Equal(t, 1, r.status, r.out)
			require.Contains(t, strings.ReplaceAll(r.out, `\"`, `"`), test.want)
			out := twillJobs(t, f.path, "list", "-args").out
			require.Contains(t, out, `"To":"gus"`, "the rest is listed")
		})
	}
	both(t, func(t *testing.T, f *queueFile) {
		require.Contains(t, f.ok(t, "check"), "8 jobs, 0 problems")
		require.Contains(t, f.ok(t, "check", "-deep"), "8 jobs, 0 problems")
	})
}

// A row that is missing is noticed before the queue is opened by its program.
func TestMissingRow(t *testing.T) {
	f := &queueFile{path: filepath.Join(t.TempDir(), "jobs.db")}
	q := openQueue(t, f.path)
	q.Pause()
	put(t, q, task{}, 0)
	put(t, q, task{}, 0)
	closeQueue(t, q)
	change(t, f.path, "DELETE FROM jobs WHERE id = 1")
	r := twillJobs(t, f.path, "list")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "1 jobs are missing")
}

// An interrupt ends a command, and says so.
func TestInterrupt(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := twillJobsWith(t, ctx, "", f.path, "cancel", "-all")
		require.Equal(t, 1, r.status)
		require.Contains(t, r.err, "interrupted")
		require.Contains(t, f.states(t), "pending")

		ctx, cancel = context.WithCancel(t.Context())
		in, writer := io.Pipe() // an import whose input does not end
		defer writer.Close()
		status := make(chan int, 1)
		go func() { status <- run(ctx, []string{f.path, "import"}, in, io.Discard, io.Discard) }()
		_, err := writer.Write([]byte("\n"))
		require.NoError(t, err)
		cancel()
		require.Equal(t, 1, <-status)
	})
}

func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	closeQueue(t, openQueue(t, file))
	for _, args := range []string{
		"", "-json", "FILE frob", "FILE cancel", "FILE retry", "FILE retry x", "FILE cancel 1 -all", "FILE cancel 1 -state pending", "FILE show",
		"FILE list -state asleep", "FILE list 5", "FILE list -priority high", "FILE list -priority ..", "FILE list -older soon", "FILE list -older -5s",
		"FILE list -limit -1", "FILE list -reason x", "FILE backup", "FILE backup a b", "FILE import a b", "FILE cancel -key=", "FILE info -all",
		"FILE list -cause sadness",
	} {
		r := twillJobs(t, strings.Fields(strings.ReplaceAll(args, "FILE", file))...)
		require.Equal(t, 2, r.status, args)
		require.NotEmpty(t, r.err)
		require.Empty(t, r.out)
	}
	for _, args := range [][]string{{"-h"}, {"help"}, {file, "list", "-h"}} {
		r := twillJobs(t, args...)
		require.Zero(t, r.status)
		require.Contains(t, r.out, "usage: twill-jobs FILE")
	}
	r := twillJobs(t, "/\x1b[31m", "list")
	require.Equal(t, 1, r.status)
}

// Work that takes long reports how far it is.
func TestProgress(t *testing.T) {
	var out, errs syncBuffer
	c, err := parse([]string{"jobs.db", "check"})
	require.NoError(t, err)
	p := newPrinter(c, bufio.NewWriter(&out), &errs)
	defer p.stop()
	require.NoError(t, p.reply(&steer.Reply{Progress: &steer.Progress{Done: 1200, Of: 3_000_000, What: "jobs"}}))
	for began := time.Now(); !strings.Contains(errs.String(), "check: 1,200 of 3,000,000 jobs"); time.Sleep(10 * time.Millisecond) {
		require.Less(t, time.Since(began), time.Minute)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A page of the file that cannot be read is skipped and named, and the rest is
// shown.
func TestUnreadablePages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	q := openQueue(t, file)
	q.Pause()
	_, err := q.PutAll(make([]task, 2000), 0)
	require.NoError(t, err)
	closeQueue(t, q)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	named := 0
	for page := 20; page < len(data)/4096; page += 9 {
		damaged := bytes.Clone(data)
		copy(damaged[page*4096:], bytes.Repeat([]byte{0xff}, 4096))
		copied := filepath.Join(t.TempDir(), "copy.db")
		require.NoError(t, os.WriteFile(copied, damaged, 0o600))
		r := twillJobs(t, copied, "check")
		require.Equal(t, 1, r.status, "page %d: %s%s", page, r.out, r.err)
		r = twillJobs(t, copied, "list", "-limit", "0")
		if strings.Contains(r.err, "cannot be read") {
			named++
			shown := strings.Count(r.out, "pending")
			require.Greater(t, shown, 1500, "page %d: the rest is shown", page)
			require.Less(t, shown, 2000)
		}
		require.NotContains(t, r.err, "panic")
	}
	require.Positive(t, named)
}
