package durable

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// TestRecentIsBounded: arguments that are in memory are few, and are gone when
// their jobs have started or ended; a second call has the argument of the file.
func TestRecentIsBounded(t *testing.T) {
	var texts []string
	failed := false
	fn := func(_ context.Context, s string) (int, error) {
		texts = append(texts, s)
		if strings.HasPrefix(s, "fails") && !failed {
			failed = true
			return 0, errors.New("once")
		}
		return len(s), nil
	}
	retry := &twill.RetryOptions{Backoff: slices.Values([]time.Duration{0, 0})}
	q, err := Open(filepath.Join(t.TempDir(), "jobs.db"), fn, &Options{Dispatch: twill.DispatchOptions{Retry: retry}})
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close(t.Context())) }()
	size := func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.recent.size
	}
	put := func(s string, opts ...twill.JobOptions) *Job[string, int] {
		j, err := q.Put(s, 0, opts...)
		require.NoError(t, err)
		return j
	}

	q.Pause()
	put("later", twill.JobOptions{After: time.Hour})
	put("held", twill.JobOptions{Held: true})
	put("of a key", twill.JobOptions{Key: "k"}).Cancel(nil)
	require.Zero(t, size(), "they may wait for long, or get another argument")
	big := strings.Repeat("x", 300_000)
	jobs := []*Job[string, int]{put("fails"), put(big + "1"), put(big + "2"), put(big + "3"), put(big + "4"), put("last")}
	require.Greater(t, size(), 900_000)
	require.LessOrEqual(t, size(), maxRecent)
	require.True(t, jobs[2].Cancel(nil))
	require.Less(t, size(), 700_000)
	require.NoError(t, q.Resume())
	want := []string{"fails", "fails", big + "1", big + "3", big + "4", "last"}
	for i, j := range jobs {
		if _, err := j.Await(t.Context()); i != 2 {
			require.NoError(t, err)
		}
	}
	slices.Sort(texts)
	slices.Sort(want)
	require.Equal(t, want, texts)
	require.Zero(t, size())
}
