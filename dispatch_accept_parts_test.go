package twill_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// TestAcceptPriorityQueue are the cases of DeferredPriorityQueue. There, an
// object is its own handle: repeatedPut, which must fail, is the ordinary here, and
// attrs, lessThan and reprioritizeNonexistent have nothing to stand for.
func TestAcceptPriorityQueue(t *testing.T) {
	put := func(t *testing.T, q *twill.PriorityQueue[string], v string, priority int) *twill.Item[string] {
		item, err := q.Put(v, priority)
		require.NoError(t, err)
		return item
	}
	drain := func(q *twill.PriorityQueue[string]) (all []string) {
		for v, ok := q.TryGet(); ok; v, ok = q.TryGet() {
			all = append(all, v)
		}
		return all
	}
	for name, check := range map[string]func(t *testing.T, q *twill.PriorityQueue[string]){
		"simplePriorities": func(t *testing.T, q *twill.PriorityQueue[string]) {
			put(t, q, "a", 20)
			put(t, q, "b", 10)
			put(t, q, "c", 15)
			require.Equal(t, []string{"b", "c", "a"}, drain(q))
		},
		"simpleReprioritize": func(t *testing.T, q *twill.PriorityQueue[string]) {
			a := put(t, q, "a", 20)
			put(t, q, "b", 10)
			c := put(t, q, "c", 15)
			require.True(t, c.Reprioritize(7))
			require.True(t, a.Reprioritize(8))
			require.Equal(t, 3, q.Len())
			require.Equal(t, []string{"c", "a", "b"}, drain(q))
		},
		"reprioritizeToSameValue": func(t *testing.T, q *twill.PriorityQueue[string]) {
			put(t, q, "a", 10)
			b := put(t, q, "b", 10)
			put(t, q, "c", 10)
			require.True(t, b.Reprioritize(10))
			require.Equal(t, []string{"a", "b", "c"}, drain(q))
		},
		"reprioritizeDeleted, deleteAlreadyDeleted": func(t *testing.T, q *twill.PriorityQueue[string]) {
			a := put(t, q, "a", 10)
			require.True(t, a.Remove())
			require.False(t, a.Reprioritize(1))
			require.False(t, a.Remove())
		},
		"delete": func(t *testing.T, q *twill.PriorityQueue[string]) {
			require.True(t, put(t, q, "a", 10).Remove())
			put(t, q, "b", 10)
			kit.RequireValue(t, "b", q.Get())
			require.Zero(t, q.Len())
		},
		"stable": func(t *testing.T, q *twill.PriorityQueue[string]) {
			names := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
			rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			for _, name := range names {
				put(t, q, name, 5)
			}
			require.Equal(t, names, drain(q))
		},
		"testQueue": func(t *testing.T, _ *twill.PriorityQueue[string]) {
			q := twill.NewPriorityQueue[string](&twill.QueueOptions{Size: 2, Backlog: 2})
			first, second := q.Get(), q.Get()
			kit.RequireFailure(t, twill.ErrQueueUnderflow, q.Get())
			put(t, q, "a", 9)
			kit.RequireValue(t, "a", first)
			put(t, q, "b", 1)
			kit.RequireValue(t, "b", second)
			put(t, q, "c", 1)
			put(t, q, "d", 1)
			_, err := q.Put("e", 1)
			require.ErrorIs(t, err, twill.ErrQueueOverflow)
			require.Equal(t, []string{"c", "d"}, drain(q))
			_, err = twill.NewPriorityQueue[int](&twill.QueueOptions{Size: -1}).Put(1, 1)
			require.ErrorIs(t, err, twill.ErrQueueOverflow)
			kit.RequireFailure(t, twill.ErrQueueUnderflow, twill.NewPriorityQueue[int](&twill.QueueOptions{Backlog: -1}).Get())
		},
		"cancelQueueAfterSynchronousGet": func(t *testing.T, q *twill.PriorityQueue[string]) {
			put(t, q, "a", 1)
			f := q.Get()
			require.False(t, f.Cancel(nil))
			kit.RequireValue(t, "a", f)
		},
		"cancelQueueAfterGet": func(t *testing.T, q *twill.PriorityQueue[string]) {
			f := q.Get()
			require.True(t, f.Cancel(nil))
			kit.RequireFailure(t, twill.ErrCanceled, f)
			put(t, q, "a", 1)
			kit.RequireValue(t, "a", q.Get())
		},
	} {
		t.Run(name, func(t *testing.T) { check(t, new(twill.PriorityQueue[string])) })
	}
}

// TestAcceptPool are the cases of DeferredPool. Its status also counts those who
// wait for it to be empty, which here are futures that are pending.
func TestAcceptPool(t *testing.T) {
	for name, c := range map[string]struct {
		members, fired int
		fails, next    bool // the fired ones fail; the waits are for the next emptying
		waits          int
		settled        bool // the waits have
	}{
		"emptyPoolStatus":                     {},
		"poolDeferredCount":                   {members: 2},
		"poolWaitingCount":                    {waits: 2, next: true},
		"poolStatus":                          {members: 2, waits: 1},
		"statusAfterDeferredIsCallbacked":     {members: 2, fired: 1},
		"statusAfterDeferredIsErrbacked":      {members: 2, fired: 1, fails: true},
		"emptyPoolWithTestImmediatelyTrue":    {waits: 1, settled: true},
		"emptyPoolWithTestImmediatelyFalse":   {waits: 1, next: true},
		"nonEmptyPoolWithTestImmediatelyTrue": {members: 1, waits: 1},
		"poolEmpties":                         {members: 3, fired: 3},
		"notifyWhenPoolEmpties, not yet":      {members: 3, fired: 2, waits: 2},
		"notifyWhenPoolEmpties":               {members: 3, fired: 3, waits: 2, settled: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := twill.NewPool(nil)
			members := make([]twill.Promise[int], c.members)
			for i := range members {
				require.NoError(t, p.Add(members[i].Future()))
			}
			wait := p.Empty
			if c.next {
				wait = p.NextEmpty
			}
			var waits []*twill.Future[struct{}]
			for range c.waits {
				waits = append(waits, wait())
			}
			for i := range c.fired {
				if c.fails {
					members[i].Reject(kit.ErrFirst)
					kit.RequireFailure(t, kit.ErrFirst, members[i].Future()) // errbackedDeferredFiresWithTheRightResult
				} else {
					members[i].Resolve(42)
					kit.RequireValue(t, 42, members[i].Future()) // callbackedDeferredFiresWithTheRightResult
				}
			}
			require.Equal(t, c.members-c.fired, p.Len())
			for _, f := range waits {
				_, settled := f.Poll()
				require.Equal(t, c.settled, settled)
			}
		})
	}
}
