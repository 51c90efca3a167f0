package main

import (
	"fmt"
	"time"

	"github.com/twillgo/twill"
)

// lazily is how long the file may still list a message that was sent. A crash
// in that time makes the next start send it again, under the same key.
const lazily = 300 * time.Millisecond

// save writes the state file; o.filing must be held.
func (o *Outbox) save() error {
	o.mu.Lock()
	messages := o.ledger.saved()
	o.mu.Unlock()
	err := o.store.Save(messages)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trouble = err
	notify(o.changed)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSaved, err)
	}
	return nil
}

// file writes the state file.
func (o *Outbox) file() error {
	o.filing.Lock()
	defer o.filing.Unlock()
	return o.save()
}

// keepSaving takes what was sent out of the file, many messages at a time. A
// write that failed is repeated.
func (o *Outbox) keepSaving() {
	for {
		select {
		case <-o.quit:
			return
		case <-o.unsaved:
		}
		select {
		case <-o.quit:
			return
		case <-time.After(lazily):
		}
		if o.file() != nil {
			notify(o.unsaved)
		}
	}
}

// Stop refuses new messages and starts no more of those that wait. The future
// settles when those underway are sent or failed; Close comes next.
func (o *Outbox) Stop() *twill.Future[[]*job] {
	o.mu.Lock()
	o.stopping = true
	o.mu.Unlock()
	notify(o.changed)
	return o.queue.Stop()
}

// StopNow is Stop, and gives up the messages that are underway: the next start
// sends them.
func (o *Outbox) StopNow() *twill.Future[[]*job] {
	o.Stop()
	return o.queue.StopNow()
}

// Close writes the state file a last time and lets go of it. It returns how
// many messages the next start will send.
func (o *Outbox) Close() (left int, err error) {
	close(o.quit)
	o.saver.Wait()
	err = o.file()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.ledger.saved() {
		if m.Failure == "" {
			left++
		}
	}
	if closing := o.store.Close(); err == nil {
		err = closing
	}
	return left, err
}
