package list_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/list"
)

type node struct {
	list.Links[*node]
	name int
}

func TestEmpty(t *testing.T) {
	var l list.List[*node]
	require.Zero(t, l.Len())
	_, ok := l.PopFront()
	require.False(t, ok)
	require.False(t, l.Remove(&node{}))
	require.Empty(t, slices.Collect(l.All()))
}

func TestWalkEndsWhenToldTo(t *testing.T) {
	var l list.List[*node]
	for i := range 3 {
		l.PushBack(&node{name: i})
	}
	for x := range l.All() {
		require.Zero(t, x.name)
		break
	}
}

// TestAgainstModel drives a list and a slice with the same random calls.
func TestAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var l list.List[*node]
		var m []*node
		for i := range 300 {
			switch random.IntN(3) {
			case 0:
				x := &node{name: i}
				l.PushBack(x)
				m = append(m, x)
			case 1:
				x, ok := l.PopFront()
				require.Equal(t, len(m) > 0, ok)
				if ok {
					require.Same(t, m[0], x)
					m = m[1:]
				}
			default:
				if len(m) == 0 {
					continue
				}
				k := random.IntN(len(m))
				require.True(t, l.Remove(m[k]))
				require.False(t, l.Remove(m[k]), "removed twice")
				m = slices.Delete(slices.Clone(m), k, k+1)
			}
			require.Equal(t, len(m), l.Len())
			require.True(t, slices.Equal(m, slices.Collect(l.All())))
		}
	}
}

func TestWhatLeftIsReleased(t *testing.T) {
	var l list.List[*node]
	kept := &node{}
	gone := func() weak.Pointer[node] {
		x := &node{}
		l.PushBack(x)
		l.PushBack(kept)
		l.Remove(x)
		return weak.Make(x)
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		return gone.Value() == nil
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, l.Len())
}
