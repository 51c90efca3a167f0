//go:build suites

package stress_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Two bounds of a wait end in the moment in which it is served: one cancels it
// while the other one detaches from it. Either the chain gets what it waited
// for, or the owner keeps it.
func TestTwoBoundsAtOnceLoseNothing(t *testing.T) {
	rounds := 200_000
	if !kit.Long() {
		rounds = 20_000
	}
	synctest.Test(t, func(t *testing.T) {
		for i := range rounds {
			var l twill.Lock
			var q twill.Queue[int]
			free, _ := l.TryAcquire()
			got := 0
			locked := twill.Then(l.Acquire().Timeout(time.Second), func(release func()) (int, error) { release(); return 1, nil }).Timeout(time.Second)
			item := twill.Then(q.Get().Timeout(time.Second), func(v int) (int, error) { got++; return v, nil }).Timeout(time.Second)
			time.AfterFunc(time.Second, free)
			time.AfterFunc(time.Second, func() { _ = q.Put(7) })
			time.Sleep(2 * time.Second)
			synctest.Wait()
			_, ended := locked.Poll()
			require.True(t, ended)
			_, ended = item.Poll()
			require.True(t, ended)
			require.False(t, l.Locked(), "round %d: the token is lost", i)
			require.Equal(t, 1, got+q.Len(), "round %d: the item is lost", i)
		}
	})
}
