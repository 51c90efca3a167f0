package durable_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/durable"
)

var every = flag.Int64("every", 0, "the distance of the cuts and flips of TestDamage; 0 is one that takes some seconds")

// damagedJobs are the jobs of the file that is damaged.
const damagedJobs = 10

func damagedArg(n int) string {
	return fmt.Sprintf("argument %d: %s", n, strings.Repeat(string(rune('a'+n)), 300*n))
}

func length(_ context.Context, s string) (int, error) { return len(s), nil }

// fillChild puts the jobs and is killed, so that all is in the log, or closes
// the file, so that all is in the database.
func fillChild(file string, kill bool) int {
	q, err := durable.Open(file, length, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	q.Pause()
	for n := range damagedJobs {
		if _, err := q.Put(damagedArg(n), n); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if !kill {
		if err := q.Close(context.Background()); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("ready")
	_, _ = io.ReadAll(os.Stdin)
	return 0
}

// filled returns the contents of the database and the log that a process has
// left.
func filled(t *testing.T, kill bool) (db, log []byte) {
	file := tempFile(t)
	name := "close"
	if kill {
		name = "fill"
	}
	cmd := child(name, file)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ready := make([]byte, 100)
	n, _ := out.Read(ready)
	require.Equal(t, "ready\n", string(ready[:n]))
	if kill {
		require.NoError(t, cmd.Process.Kill())
	}
	_ = in.Close()
	_ = cmd.Wait()
	db, err = os.ReadFile(file)
	require.NoError(t, err)
	log, _ = os.ReadFile(file + "-wal")
	return db, log
}

// look opens the files and checks that nothing in them is wrong. It returns
// which jobs are there, and whether a loss was reported.
func look(t *testing.T, db, log []byte, what string) (jobs int, reported bool) {
	t.Helper()
	folder, err := os.MkdirTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "jobs.db")
	require.NoError(t, os.WriteFile(file, db, 0o600))
	if log != nil {
		require.NoError(t, os.WriteFile(file+"-wal", log, 0o600))
	}
	q, err := durable.Open(file, length, nil)
	if err != nil {
		require.ErrorContains(t, err, "durable:", what)
		return 0, true
	}
	defer shut(t, q)
	found := q.Found()
	reported = len(found.Damaged) > 0 || found.Missing+found.Extra+found.DroppedFrames > 0
	for _, j := range q.Pending() {
		arg, err := j.Arg()
		if err != nil {
			require.ErrorIs(t, err, durable.ErrDamaged, what)
			reported = true
			continue
		}
		require.Equal(t, damagedArg(j.Priority()), arg, "%s: job %s", what, j.ID())
		require.Equal(t, fmt.Sprint(j.Priority()+1), j.ID(), what)
		jobs++
	}
	return jobs, reported
}

// TestDamage cuts the files of a queue at each place, and flips bits in them. A
// cut behind the last acknowledged byte loses nothing; an earlier one, or a
// flip, never gives a wrong job, and of a flip a loss is reported.
func TestDamage(t *testing.T) {
	step := func(size int) int64 {
		if *every > 0 {
			return *every
		}
		return max(int64(size/40), 1) | 1
	}
	db, log := filled(t, true)
	require.NotEmpty(t, log)
	n, reported := look(t, db, log, "undamaged")
	require.Equal(t, damagedJobs, n)
	require.False(t, reported)
	n, reported = look(t, db, append(log[:len(log):len(log)], "what a commit that was not acknowledged has left"...), "more in the log")
	require.Equal(t, damagedJobs, n)
	require.False(t, reported)
	n, reported = look(t, db, append(log[:len(log):len(log)], log[32:32+4120]...), "an old frame in the log")
	require.Equal(t, damagedJobs, n)
	_ = reported

	began := time.Now()
	looks := 0
	last := 0
	for cut := int64(0); cut < int64(len(log)); cut += step(len(log)) {
		n, _ := look(t, db, log[:cut:cut], fmt.Sprintf("log cut at %d", cut))
		require.GreaterOrEqual(t, n, last, "more of the log, more jobs")
		last = n
		looks++
	}
	flip := func(b []byte, at int64) []byte {
		flipped := append([]byte(nil), b...)
		flipped[at] ^= 1 << (at % 8)
		return flipped
	}
	for at := int64(0); at < int64(len(log)); at += step(len(log)) {
		what := fmt.Sprintf("bit flipped at %d of the log", at)
		n, reported := look(t, db, flip(log, at), what)
		require.True(t, n == damagedJobs || reported, "%s: %d jobs, and no report", what, n)
		looks++
	}

	db, log = filled(t, false)
	require.Empty(t, log)
	for at := int64(0); at < int64(len(db)); at += step(len(db)) {
		what := fmt.Sprintf("bit flipped at %d of the database", at)
		n, reported := look(t, flip(db, at), nil, what)
		require.True(t, n == damagedJobs || reported, "%s: %d jobs, and no report", what, n)
		what = fmt.Sprintf("database cut at %d", at)
		n, reported = look(t, db[:at:at], nil, what)
		require.True(t, n == damagedJobs || reported || at == 0, "%s: %d jobs, and no report", what, n)
		looks += 2
	}
	t.Logf("%d damaged files of %d and %d bytes in %v", looks, len(db), len(log), time.Since(began))
}

// An argument on a page that SQLite cannot read makes its job dead, and ends
// neither the queue nor another job, though they share transactions.
func TestArgumentsOnUnreadablePages(t *testing.T) {
	const size = 4096
	old, _ := filled(t, false)
	pages := 0
	for at := size; at+size <= len(old); at += size {
		if !strings.Contains(string(old[at:at+size]), "aaaaaaaaaa") && !strings.Contains(string(old[at:at+size]), "jjjjjjjjjj") {
			continue // it has no argument
		}
		pages++
		file := tempFile(t)
		db := slices.Clone(old)
		clear(db[at : at+size])
		require.NoError(t, os.WriteFile(file, db, 0o600))
		q := open(t, file, length, nil)
		require.NoError(t, q.Resume())
		_, err := q.Empty().Await(within(t))
		require.NoError(t, err)
		dead := 0
		for id := 1; id <= damagedJobs; id++ {
			j, err := q.Find(fmt.Sprint(id))
			require.NoError(t, err)
			v, err := j.Await(within(t))
			if err != nil {
				require.ErrorIs(t, err, durable.ErrDamaged, "page %d, job %d", at/size, id)
				dead++
				continue
			}
			require.Equal(t, len(damagedArg(id-1)), v)
		}
		require.Positive(t, dead)
		require.Less(t, dead, damagedJobs)
		if j, err := q.Put("later", 0); err == nil {
			v, err := j.Await(within(t))
			require.NoError(t, err)
			require.Equal(t, 5, v)
		} else { // the new row belongs on that page
			require.ErrorIs(t, err, durable.ErrDamaged)
			require.NotErrorIs(t, err, durable.ErrBroken)
		}
		shut(t, q)
	}
	require.Positive(t, pages)
}
