package twill_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// The recordings of queues. With equal priorities a [twill.PriorityQueue] is a
// queue too.

func TestOracleQueue(t *testing.T) {
	replayPrims(t, "queue", func(p *primsProgram, r *primsTrace) primsPlayer {
		q := twill.NewQueue[int](p.queueOptions())
		return &queuePlayer{primsTrace: r, put: q.Put, get: q.Get, len: q.Len, waiting: q.Waiting}
	})
}

func TestOraclePriorityQueue(t *testing.T) {
	replayPrims(t, "queue", func(p *primsProgram, r *primsTrace) primsPlayer {
		q := twill.NewPriorityQueue[int](p.queueOptions())
		return &queuePlayer{
			primsTrace: r, get: q.Get, len: q.Len, waiting: q.Waiting,
			put: func(v int) error { _, err := q.Put(v, 0); return err },
		}
	})
}

// queueOptions are the limits of the program: it has null for none and 0 for
// nothing at all.
func (p *primsProgram) queueOptions() *twill.QueueOptions {
	limit := func(n *int) int {
		switch {
		case n == nil:
			return 0
		case *n == 0:
			return -1
		}
		return *n
	}
	return &twill.QueueOptions{Size: limit(p.Size), Backlog: limit(p.Backlog)}
}

// queuePlayer plays queues.
type queuePlayer struct {
	*primsTrace
	put          func(int) error
	get          func() *twill.Future[int]
	len, waiting func() int
	gets         map[int]*twill.Future[int]
}

func (p *queuePlayer) state() []any { return []any{p.len(), p.waiting()} }

func (p *queuePlayer) op(op []any) {
	if p.gets == nil {
		p.gets = map[int]*twill.Future[int]{}
	}
	n := int(op[1].(float64))
	switch op[0] {
	case "put":
		if err := p.put(n); err != nil {
			p.failed(-1, err)
		}
	case "get":
		p.gets[n] = p.get()
		p.gets[n].Tap(func(v int, err error) {
			if err != nil {
				p.failed(n, err)
				return
			}
			p.record("got", n, v)
		})
	case "cancel":
		p.gets[n].Cancel(nil)
	default:
		panic(fmt.Sprintf("unknown op %v", op))
	}
}

func (p *queuePlayer) failed(n int, err error) {
	switch {
	case errors.Is(err, twill.ErrQueueOverflow):
		p.record("overflow")
	case errors.Is(err, twill.ErrQueueUnderflow):
		p.record("underflow")
	default:
		p.record("failed", n, primsError(err))
	}
}

// Whatever is in the file belongs to one of the kinds that are replayed.
func TestOraclePrimsKinds(t *testing.T) {
	_, own := oracleFolder()
	if !own {
		t.Skip("another folder")
	}
	for _, file := range oracleFiles(t, "prims") {
		all := 0
		for _, n := range primsReplayed {
			all += n
		}
		require.Len(t, file.lines, all)
	}
}
