package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

var (
	// ErrStopping is returned for what comes while the program ends.
	ErrStopping = errors.New("the program is stopping")
	// ErrFull is returned when there are as many unsent messages as may be.
	ErrFull = fmt.Errorf("%d messages wait already", maxUnsent)
	// ErrUnknown is returned for an id that no message has.
	ErrUnknown = errors.New("there is no such message")
	// ErrOver is returned for a message that is past what was asked for.
	ErrOver = errors.New("too late")
	// ErrNotSaved is returned when the state file cannot be written.
	ErrNotSaved = errors.New("the state file cannot be written")

	errOperator = errors.New("canceled by the operator")
)

// Outbox takes messages and sends them through a queue whose width can be
// changed. What it has accepted is in the state file before it says so, and
// stays there until it is sent, canceled or dismissed.
type Outbox struct {
	queue   *twill.ResizableDispatchQueue[Message, Receipt]
	courier *Courier
	store   *Store

	restored int // messages that were in the file

	// filing is held from the ledger to the disk, so that of two states of
	// the ledger the later one stays, and the order in the file is the
	// order in the queue. It is taken before mu.
	filing sync.Mutex

	mu       sync.Mutex // guards what is below
	ledger   *ledger
	stopping bool
	trouble  error // of the last save

	changed chan struct{} // holds a token after a change
	unsaved chan struct{} // holds a token after a change the file does not have
	quit    chan struct{}
	saver   sync.WaitGroup
}

// NewOutbox puts the messages of the state file back into the queue, in the
// order they had, and begins to send them.
func NewOutbox(store *Store, courier *Courier, width int) (*Outbox, error) {
	messages, err := store.Load()
	if err != nil {
		return nil, err
	}
	o := &Outbox{
		courier: courier,
		store:   store,
		ledger:  newLedger(),
		changed: make(chan struct{}, 1),
		unsaved: make(chan struct{}, 1),
		quit:    make(chan struct{}),
	}
	o.queue = twill.NewResizableDispatchQueue(o.send, &twill.DispatchOptions{Width: width})
	o.queue.Pause() // or the first would start whatever its priority, while the others are put
	for _, m := range messages {
		if e := o.ledger.restore(m); e.failure == "" {
			o.dispatch(e)
			o.restored++
		}
	}
	_ = o.queue.Resume() // nobody can have stopped it
	o.saver.Go(o.keepSaving)
	return o, nil
}

// Accept takes a message. When it returns nil, the message is in the state
// file. The error is an [Invalid], [ErrStopping], [ErrFull] or [ErrNotSaved].
func (o *Outbox) Accept(typed Draft) (Message, error) {
	draft, err := typed.Check()
	if err != nil {
		return Message{}, err
	}
	o.filing.Lock()
	defer o.filing.Unlock()
	e, err := o.enter(draft)
	if err != nil {
		return Message{}, err
	}
	if err := o.save(); err != nil {
		o.mu.Lock()
		delete(o.ledger.entries, e.ID)
		o.mu.Unlock()
		return Message{}, err
	}
	o.dispatch(e)
	return e.Message, nil
}

func (o *Outbox) enter(d Draft) (*entry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.stopping:
		return nil, ErrStopping
	case o.ledger.unsent() >= maxUnsent:
		return nil, ErrFull
	}
	return o.ledger.enter(d, time.Now()), nil
}

// dispatch puts a message into the queue. Should that have been stopped in the
// meantime, the next start finds the message in the file.
func (o *Outbox) dispatch(e *entry) {
	o.mu.Lock()
	job, err := o.queue.Put(e.Message, e.Priority)
	if err == nil {
		e.job = job
	}
	o.mu.Unlock()
	notify(o.changed)
	if err == nil {
		twill.Handle(&job.Future, func(_ Receipt, err error) (struct{}, error) {
			o.settle(e, err)
			return struct{}{}, nil
		})
	}
}

// send is the function of the queue.
func (o *Outbox) send(ctx context.Context, m Message) (Receipt, error) {
	notify(o.changed)
	return o.courier.Deliver(ctx, m, func(n int, err error) {
		o.note(m.ID, n, err)
	})
}

// note keeps that attempt n failed and that there will be another.
func (o *Outbox) note(id string, n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.ledger.entries[id]
	if e == nil || e.over() {
		return // canceled meanwhile
	}
	e.attempts, e.trouble = n, err.Error()
	if n == 1 {
		o.ledger.retried++
	}
	notify(o.changed)
}

// settle notes what came of a message. The queue's Stop waits for it, as it is
// a handler of the job's future.
func (o *Outbox) settle(e *entry, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.ledger.close(e, twill.JobFinished, time.Now())
	case errors.Is(err, errOperator):
		o.ledger.close(e, twill.JobCanceled, time.Now())
	case errors.Is(err, twill.ErrStopped): // nobody knows how far it came: the next start sends it, under the same key
		e.job = nil
	default:
		e.failure, e.ended, e.job = err.Error(), time.Now(), nil
	}
	notify(o.changed)
	notify(o.unsaved)
}

// notify leaves a token in a channel that holds one.
func notify(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}
