package main

import (
	"fmt"
	"time"

	"github.com/twillgo/twill"
)

// maxWidth is the most messages that may be underway at once.
const maxWidth = 100

// SetWidth changes how many messages may be underway at once. 0 starts none.
func (o *Outbox) SetWidth(n int) error {
	if n < 0 || n > maxWidth {
		return Invalid{{"width", fmt.Sprintf("a width is a number from 0 to %d", maxWidth)}}
	}
	return o.steer(func() error { return o.queue.SetWidth(n) })
}

// Pause starts no more messages; those underway go on.
func (o *Outbox) Pause() error {
	return o.steer(func() error { o.queue.Pause(); return nil })
}

// Resume starts messages again.
func (o *Outbox) Resume() error {
	return o.steer(o.queue.Resume)
}

// steer changes the pipeline, unless that has ended.
func (o *Outbox) steer(change func() error) error {
	defer notify(o.changed)
	if err := change(); err != nil || o.queue.Stopped() {
		return ErrStopping
	}
	return nil
}

// Reprioritize gives a message that waits another priority.
func (o *Outbox) Reprioritize(id string, priority int) error {
	if err := checkPriority(priority); err != nil {
		return Invalid{{"priority", err.Error()}}
	}
	o.filing.Lock()
	defer o.filing.Unlock()
	err := o.apply(id, func(e *entry) error {
		if e.job == nil || o.queue.Reprioritize(e.job, priority) != nil {
			return tooLate(e, "the message does not wait any more")
		}
		e.Priority = priority
		return nil
	})
	if err != nil {
		return err
	}
	return o.save() // so that the change outlives a crash
}

// SendAgain puts a message that failed into the queue once more.
func (o *Outbox) SendAgain(id string) error {
	o.filing.Lock()
	defer o.filing.Unlock()
	var again *entry
	err := o.apply(id, func(e *entry) error {
		if e.failure == "" {
			return tooLate(e, "the message has not failed")
		}
		o.ledger.number++ // it goes to the end, in the file too
		e.Number = o.ledger.number
		e.failure, e.trouble, e.attempts, e.ended = "", "", 0, time.Time{}
		again = e
		return nil
	})
	if err != nil {
		return err
	}
	err = o.save()
	o.dispatch(again)
	return err
}

// Cancel takes a message back. One that is underway is given up, and may have
// reached the carrier; one that failed is dismissed.
func (o *Outbox) Cancel(id string) error {
	o.filing.Lock()
	defer o.filing.Unlock()
	o.mu.Lock()
	e := o.ledger.entries[id]
	if e == nil || e.over() {
		o.mu.Unlock()
		return tooLate(e, "the message is over")
	}
	job := e.job
	if job == nil {
		o.ledger.close(e, twill.JobCanceled, time.Now())
	}
	o.mu.Unlock()
	if job != nil && !job.Cancel(errOperator) { // settle takes note of it
		return tooLate(e, "the message is over")
	}
	return o.save()
}

// apply calls fn for a message.
func (o *Outbox) apply(id string, fn func(*entry) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.ledger.entries[id]
	switch {
	case e == nil:
		return ErrUnknown
	case o.stopping:
		return ErrStopping
	}
	return fn(e)
}

// tooLate says why a message cannot be changed any more, if there is one.
func tooLate(e *entry, why string) error {
	if e == nil {
		return ErrUnknown
	}
	return fmt.Errorf("%w: %s", ErrOver, why)
}
