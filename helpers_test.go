package twill_test

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// awaitValue fails the test unless f succeeds with want, soon.
func awaitValue[T any](t testing.TB, f *twill.Future[T], want T) {
	t.Helper()
	v, err := awaitSoon(f)
	require.NoError(t, err)
	require.Equal(t, want, v)
}

// awaitError fails the test unless f fails with an error that is want, soon.
func awaitError[T any](t testing.TB, f *twill.Future[T], want error) {
	t.Helper()
	_, err := awaitSoon(f)
	require.ErrorIs(t, err, want)
}

func awaitSoon[T any](f *twill.Future[T]) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return f.Await(ctx)
}

// watchdog fails the test if fn does not return: a goroutine stuck on a lock
// is seen by nothing else.
func watchdog(t testing.TB, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<16)
		t.Fatalf("stuck:\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// goid is the number of the calling goroutine.
func goid() int {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	n, err := strconv.Atoi(string(bytes.Fields(buf)[1]))
	if err != nil {
		panic(err)
	}
	return n
}

// record is what several goroutines note, one after the other.
type record[T any] struct {
	mu    sync.Mutex
	notes []T
}

func (r *record[T]) add(note T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, note)
}

func (r *record[T]) all() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notes)
}
