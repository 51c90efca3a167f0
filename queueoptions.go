package twill

import (
	"errors"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
)

// What a queue answers when it cannot do what it is asked.
var (
	// ErrQueueOverflow is returned by Put when as many items are queued as the
	// queue's Size allows.
	ErrQueueOverflow = errors.New("twill: queue is full")

	// ErrQueueUnderflow is the failure of a Get when as many gets wait as the
	// queue's Backlog allows.
	ErrQueueUnderflow = errors.New("twill: too many gets wait")
)

// QueueOptions are the limits of a queue. The zero value sets none.
type QueueOptions struct {
	// Size is how many items may be queued: 0 sets no limit, and with a
	// negative Size none may, so that a Put succeeds only if a Get waits for
	// it. A DeferredQueue says None and 0 for those.
	Size int

	// Backlog is how many gets may wait: 0 sets no limit, and with a negative
	// Backlog none may, so that a Get succeeds only if an item is queued. A
	// DeferredQueue says None and 0 for those.
	Backlog int
}

// atLimit reports whether n is as many as limit, an option that counts from
// one, allows.
func atLimit(n, limit int) bool {
	return limit < 0 || limit > 0 && n >= limit
}

// Embedded under these names in an exported type, what the internal packages
// know an item by is no exported field of it. A linter that sees only this
// package takes the fields for unused.
type (
	//lint:ignore U1000 see above
	place = heap.Place //nolint:unused
	//lint:ignore U1000 see above
	links[T any] = list.Links[T] //nolint:unused
)
