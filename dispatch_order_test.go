package twill_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestDispatchOrder(t *testing.T) {
	var order []string
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (int, error) {
		order = append(order, name)
		return 0, nil
	}, nil)
	q.Pause()
	a := rdqPut(t, q, "a20", 20)
	for name, priority := range map[string]int{"b10": 10, "c15": 15, "d-1": -1} {
		rdqPut(t, q, name, priority)
	}
	for n := range 10 {
		rdqPut(t, q, fmt.Sprint("equal", n), 12)
	}
	last := rdqPut(t, q, "e99", 99)
	want := []string{"d-1", "b10"}
	for n := range 10 {
		want = append(want, fmt.Sprint("equal", n))
	}
	want = append(want, "c15", "a20", "e99")
	require.Equal(t, want, rdqArgs(q.Pending()), "pending in dispatch order")

	require.NoError(t, q.Reprioritize(a, 12))
	require.Equal(t, 12, a.Priority())
	want = slices.Insert(slices.Delete(want, 13, 14), 2, "a20")
	require.Equal(t, want, rdqArgs(q.Pending()), "the one put first stands first among equals")
	require.NoError(t, q.Reprioritize(a, 12))
	require.Equal(t, want, rdqArgs(q.Pending()), "the same priority changes nothing")

	require.NoError(t, q.Resume())
	_, err := last.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, order)
	require.ErrorIs(t, q.Reprioritize(a, 1), twill.ErrNotPending, "finished")
}

func TestDispatchReprioritizeUnderwayAndCancelled(t *testing.T) {
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	underway, cancelled := rdqPut(t, q, 1, 0), rdqPut(t, q, 2, 0)
	cancelled.Cancel(nil)
	require.ErrorIs(t, q.Reprioritize(underway, 1), twill.ErrNotPending)
	require.ErrorIs(t, q.Reprioritize(cancelled, 1), twill.ErrNotPending)
	gate <- nil
}

func TestDispatchSize(t *testing.T) {
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 1, Size: 2})
	rdqPut(t, q, 1, 0)
	rdqPut(t, q, 2, 0)
	third := rdqPut(t, q, 3, 0)
	_, err := q.Put(4, -1)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	require.NoError(t, q.Reprioritize(third, -1), "a full queue can be put in another order")
	require.Equal(t, []int{3, 2}, rdqArgs(q.Pending()))
	third.Cancel(nil)
	rdqPut(t, q, 5, 0)
	for range 3 {
		gate <- nil
	}
}

func TestDispatchNegativeSizeTakesWhatFindsASlot(t *testing.T) {
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 1, Size: -1})
	j := rdqPut(t, q, 1, 0)
	_, err := q.Put(2, 0)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	gate <- nil
	_, err = j.Await(t.Context())
	require.NoError(t, err)
}

func TestDispatchPuttingMoreThanWidthDispatchesWidth(t *testing.T) {
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 3})
	for n := range 5 {
		rdqPut(t, q, n, 0)
	}
	requireSize(t, q, 3, 2)
	require.Equal(t, []int{0, 1, 2}, rdqArgs(q.Underway()), "in order of start")
	for range 5 {
		gate <- nil
	}
}
