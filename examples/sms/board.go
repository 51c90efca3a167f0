package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

const (
	editionGap  = 200 * time.Millisecond // between two editions, however much changes
	editionBeat = 2 * time.Second        // after which there is another, though nothing changed
)

// Edition is a snapshot as it goes to the browsers.
type Edition struct {
	Data []byte
	next *twill.Promise[*Edition]
}

// Next is the edition after this one.
func (e *Edition) Next() *twill.Future[*Edition] { return e.next.Future() }

// Board publishes snapshots. A reader that is slow misses editions; it never
// holds up the board, nor another reader.
type Board struct {
	outbox *Outbox

	mu     sync.Mutex // guards latest
	latest *Edition
}

// NewBoard returns a board with a first edition.
func NewBoard(o *Outbox) *Board {
	b := &Board{outbox: o}
	b.latest = b.edition()
	return b
}

// Latest returns the newest edition.
func (b *Board) Latest() *Edition {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latest
}

// Run publishes an edition after each change, until ctx ends.
func (b *Board) Run(ctx context.Context) {
	beat := time.NewTicker(editionBeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.outbox.changed:
		case <-beat.C:
		}
		b.publish()
		select {
		case <-ctx.Done():
		case <-time.After(editionGap):
		}
	}
}

func (b *Board) publish() {
	next := b.edition()
	b.mu.Lock()
	last := b.latest
	b.latest = next
	b.mu.Unlock()
	last.next.Resolve(next)
}

func (b *Board) edition() *Edition {
	data, err := json.Marshal(b.outbox.Snapshot())
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	return &Edition{Data: data, next: twill.NewPromise[*Edition]()}
}
