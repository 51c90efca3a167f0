package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/store"
)

// An id after which there would soon be none is not kept.
func TestImportOfHighIDs(t *testing.T) {
	for _, owned := range []bool{true, false} {
		file := filepath.Join(t.TempDir(), "jobs.db")
		q := openQueue(t, file)
		q.Pause()
		if !owned {
			closeQueue(t, q)
		}
		line := func(id int64) string { return fmt.Sprintf(`{"id":"%d","state":"pending","arg":{}}`, id) + "\n" }
		high := line(math.MaxInt64) + line(math.MaxInt64-1) + line(1<<53+1)
		r := twillJobsWith(t, t.Context(), high, file, "import", "-dry-run")
		require.Zero(t, r.status, r.out+r.err)
		require.Contains(t, r.out, "job 9223372036854775807: would be imported with a new id: no id above 9007199254740992 is kept")
		r = twillJobsWith(t, t.Context(), high, file, "import")
		require.Zero(t, r.status, r.out+r.err)
		require.Contains(t, r.out, "job 9223372036854775807: imported as 1: no id above 9007199254740992 is kept")
		require.Contains(t, r.out, "job 9223372036854775806: imported as 2:")
		require.Contains(t, r.out, "job 9007199254740993: imported as 3:")

		// A sum of ids that are kept is larger than an int64.
		var lines strings.Builder
		for id := int64(1<<53 - 1999); id <= 1<<53; id++ {
			lines.WriteString(line(id))
		}
		r = twillJobsWith(t, t.Context(), lines.String(), file, "import", "-quiet")
		require.Zero(t, r.status, r.out+r.err)
		r = twillJobs(t, file, "check")
		require.Zero(t, r.status, r.out+r.err)
		require.Contains(t, r.out, "2,003 jobs, 0 problems")
		if !owned {
			q = openQueue(t, file)
		}
		require.Equal(t, "9007199254740993", put(t, q, task{}, 0).ID())
	}
}

// A file in which the highest id was used can be read to its end, and puts into
// it fail.
func TestHighestID(t *testing.T) {
	for _, owned := range []bool{true, false} {
		f := &queueFile{path: filepath.Join(t.TempDir(), "jobs.db")}
		q := openQueue(t, f.path)
		ended(t, q, task{"fail", "bob"})
		closeQueue(t, q)
		s, err := store.Open(f.path, store.Options{})
		require.NoError(t, err)
		_, err = s.Load(func(store.Job) {})
		require.NoError(t, err)
		s.Start(nil, nil)
		require.NoError(t, s.Run(func(tx *store.Tx) error {
			return tx.Insert(store.Job{ID: math.MaxInt64, Queued: time.Now().UnixMilli(), Held: true}, []byte(`{}`))
		}))
		err = s.Run(func(tx *store.Tx) error {
			_, err := tx.NextID()
			return err
		})
		require.ErrorIs(t, err, store.ErrNoID)
		require.NoError(t, s.Close())

		if owned {
			_, err = f.queue(t).Put(task{}, 0)
			require.ErrorContains(t, err, "no id for another job")
			_, err = f.q.PutAll([]task{{}, {}}, 0, twill.JobOptions{Key: "k"})
			require.ErrorIs(t, err, store.ErrNoID)
			require.Len(t, f.q.Pending(), 1)
		}
		const id = "9223372036854775807"
		check := func(state string) {
			require.Equal(t, "1 failed, "+id+" "+state, f.states(t))
			require.Contains(t, f.ok(t, "export", "-all"), `{"end":{"jobs":2}}`)
			require.Contains(t, f.ok(t, "check"), "2 jobs, 0 problems")
		}
		check("pending")
		r := twillJobs(t, f.path, "retry", "1")
		require.Equal(t, 1, r.status)
		require.Contains(t, r.out, "job 1: failed: durable: there is no id")
		r = twillJobsWith(t, t.Context(), `{"state":"pending","arg":{}}`, f.path, "import")
		require.Equal(t, 1, r.status)
		require.Contains(t, r.out, "line 1: failed: durable: there is no id")
		f.ok(t, "cancel", id)
		check("canceled")
	}
}

// What is in the queue is not imported again, nor is a line that is there
// twice.
func TestImportTwice(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		export := f.ok(t, "export")
		file := filepath.Join(t.TempDir(), "other.db")
		q := openQueue(t, file)
		q.Pause()
		if f.q == nil {
			closeQueue(t, q)
		}
		for _, again := range []bool{false, true} {
			r := twillJobsWith(t, t.Context(), export+export, file, "import")
			require.Equal(t, 1, r.status)
			want := "5 jobs imported, 5 skipped, 0 failed"
			if again {
				want = "0 jobs imported, 10 skipped, 0 failed"
			} else {
				require.Contains(t, r.out, "job 4: skipped: is in line 3 as well")
			}
			require.Contains(t, r.out, want)
			require.Contains(t, twillJobs(t, file).out, "pending  5\n")
		}
	})
}

// An empty input is no import that went well.
func TestImportOfNothing(t *testing.T) {
	both(t, func(t *testing.T, f *queueFile) {
		for _, text := range []string{"", "\n\n"} {
			r := twillJobsWith(t, t.Context(), text, f.path, "import")
			require.Equal(t, 1, r.status)
			require.Contains(t, r.err, "nothing to import")
		}
		export := f.ok(t, "export", "-state", "dead")
		r := twillJobsWith(t, t.Context(), export, f.path, "import")
		require.Zero(t, r.status, "an export of no jobs is whole: %s", r.err)
	})
}
