package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

const (
	firstWidth   = 5    // of a pipeline without a state file
	maxWidth     = 100  // messages underway at once
	maxPerSecond = 1000 // messages started in a second
)

// lazily is how long the file may still list a message that was sent. A crash
// in that time makes the next start send it again, under the same key.
const lazily = 300 * time.Millisecond

var (
	// ErrStopping is returned for requests that arrive while the program ends.
	ErrStopping = errors.New("the program is stopping")
	// ErrFull is returned when the maximum of unsent messages is reached.
	ErrFull = fmt.Errorf("%d messages wait already", maxUnsent)
	// ErrUnknown is returned for an id that no message has.
	ErrUnknown = errors.New("there is no such message")
	// ErrOver is returned for a change that comes too late for its message.
	ErrOver = errors.New("too late")
	// ErrNotSaved is returned when the state file cannot be written.
	ErrNotSaved = errors.New("the state file cannot be written")

	errOperator = errors.New("canceled by the operator")
)

// Outbox takes messages and sends them through a queue that can be controlled
// while it runs. A message that it has accepted is in the state file, and stays
// there until it is sent, canceled or dismissed.
type Outbox struct {
	queue    *twill.ResizableDispatchQueue[Message, struct{}]
	courier  *Courier
	store    *Store
	restored int // messages of the file that continue

	// filing is held from a change until it is on the disk, so that the later of
	// two states stays, and the order in the file is the order in the queue. It is
	// locked before mu.
	filing sync.Mutex

	mu       sync.Mutex // guards the fields below
	ledger   *ledger
	settings Settings
	stopping bool
	trouble  error // of the last save

	changed chan struct{} // holds a token after a change
	unsaved chan struct{} // holds a token after a change the file does not have
	ctx     context.Context
	end     context.CancelFunc // ends ctx, with which the helpers end
	helpers sync.WaitGroup
}

// NewOutbox puts the messages of the state file back into the queue, in their
// order, and sends them unless the queue was paused. A width of 0 means the
// width in the file.
func NewOutbox(store *Store, courier *Courier, width int) (*Outbox, error) {
	state, err := store.Load()
	if err != nil {
		return nil, err
	}
	if width != 0 {
		state.Width = width
	}
	o := &Outbox{
		courier:  courier,
		store:    store,
		ledger:   newLedger(),
		settings: state.Settings,
		changed:  make(chan struct{}, 1),
		unsaved:  make(chan struct{}, 1),
	}
	o.ctx, o.end = context.WithCancel(context.Background())
	o.queue = twill.NewResizableDispatchQueue(o.send, &twill.DispatchOptions{Retry: retries, Rate: newPace(state.PerSecond)})
	o.queue.Pause() // until the ledger is complete
	if err := o.restore(state.Messages); err != nil {
		return nil, err
	}
	_ = o.queue.SetWidth(state.Width) // it was checked
	if !state.Paused {
		_ = o.queue.Resume() // it is not stopped
	}
	o.helpers.Go(o.watch)
	o.helpers.Go(o.keepSaving)
	return o, nil
}

// restore puts messages of the state file back. Failed messages wait for the
// operator.
func (o *Outbox) restore(messages []Saved) error {
	var entries []*entry
	var records []twill.JobRecord[Message]
	for _, m := range messages {
		if e := o.ledger.restore(m); m.Failure == "" {
			entries, records = append(entries, e), append(records, m.JobRecord)
		}
	}
	jobs, err := o.queue.Restore(records)
	for i, job := range jobs { // the queue is paused: none has begun
		entries[i].job = job
		o.follow(entries[i], job)
	}
	o.restored = len(jobs)
	return err
}

// Accept takes a message. When it returns nil, the message is in the state
// file. The error is an [Invalid], [ErrStopping], [ErrFull] or [ErrNotSaved].
func (o *Outbox) Accept(typed Draft) (Message, error) {
	draft, err := typed.Check()
	if err != nil {
		return Message{}, err
	}
	messages, err := o.AcceptAll([]Draft{draft})
	if err != nil {
		return Message{}, err
	}
	return messages[0], nil
}

// AcceptAll takes messages whose drafts were checked, in their order, or none
// of them. The error is [ErrStopping], [ErrFull] or [ErrNotSaved].
func (o *Outbox) AcceptAll(drafts []Draft) ([]Message, error) {
	o.filing.Lock()
	defer o.filing.Unlock()
	entries, err := o.enter(drafts)
	if err != nil {
		return nil, err
	}
	messages := make([]Message, len(entries))
	for i, e := range entries {
		messages[i] = e.saved.Arg
	}
	if err := o.save(); err != nil {
		o.mu.Lock()
		for _, m := range messages {
			delete(o.ledger.entries, m.ID)
		}
		o.mu.Unlock()
		return nil, err
	}
	for _, e := range entries {
		o.dispatch(e)
	}
	return messages, nil
}

func (o *Outbox) enter(drafts []Draft) (entries []*entry, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.stopping:
		return nil, ErrStopping
	case o.ledger.unsent()+len(drafts) > maxUnsent:
		return nil, ErrFull
	}
	now := time.Now()
	for _, d := range drafts {
		entries = append(entries, o.ledger.enter(d, now))
	}
	return entries, nil
}

// dispatch puts a message into the queue. If that was stopped in the meantime,
// the next start finds the message in the file.
func (o *Outbox) dispatch(e *entry) {
	o.mu.Lock()
	job, err := o.queue.Put(e.saved.Arg, e.saved.Priority)
	if err == nil {
		e.job = job
	}
	o.mu.Unlock()
	if err == nil {
		o.follow(e, job)
	}
}

// follow calls settle when the job of e ends.
func (o *Outbox) follow(e *entry, job *job) {
	twill.Handle(&job.Future, func(_ struct{}, err error) (struct{}, error) {
		o.settle(e, err)
		return struct{}{}, nil
	})
}

// send is the function of the queue: one attempt, which the queue repeats.
func (o *Outbox) send(ctx context.Context, m Message) (struct{}, error) {
	err := o.courier.Deliver(ctx, m)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if e := o.ledger.entries[m.ID]; e != nil && !e.over {
			e.trouble = trouble(err)
		}
	}
	return struct{}{}, err
}

// settle records the end of a job. The queue's Stop waits for it, as a handler
// of the job's future calls it.
func (o *Outbox) settle(e *entry, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, errOperator):
		o.ledger.close(e)
	case errors.Is(err, twill.ErrStopped): // its attempt may have arrived: the next start sends it under the same key
		e.release(twill.JobPending)
	default:
		e.failure = trouble(err)
	}
	notify(o.changed)
	notify(o.unsaved)
}

// watch passes the events of the queue on to the page.
func (o *Outbox) watch() {
	for range o.queue.Events(o.ctx) {
		notify(o.changed)
	}
}

// SetWidth changes how many messages may be underway at once. 0 starts none.
func (o *Outbox) SetWidth(n int) error {
	return o.steer(func(s *Settings) { s.Width = n }, func() error { return o.queue.SetWidth(n) })
}

// SetRate changes how many messages may be started in a second. 0 sets no
// limit.
func (o *Outbox) SetRate(n int) error {
	return o.steer(func(s *Settings) { s.PerSecond = n }, func() error { o.queue.SetRate(newPace(n)); return nil })
}

// Pause starts no more messages; messages underway continue.
func (o *Outbox) Pause() error {
	return o.steer(func(s *Settings) { s.Paused = true }, func() error { o.queue.Pause(); return nil })
}

// Resume starts messages again.
func (o *Outbox) Resume() error {
	return o.steer(func(s *Settings) { s.Paused = false }, o.queue.Resume)
}

// steer changes a setting and the queue, and saves the settings. If it returns
// [ErrNotSaved] the change was still made, and saving is repeated.
func (o *Outbox) steer(set func(*Settings), apply func() error) error {
	o.filing.Lock()
	defer o.filing.Unlock()
	o.mu.Lock()
	next := o.settings
	set(&next)
	err := next.check()
	switch {
	case o.stopping:
		err = ErrStopping
	case err == nil:
		o.settings = next
	}
	o.mu.Unlock()
	if err != nil {
		return err
	}
	if apply() != nil || o.queue.Stopped() {
		return ErrStopping
	}
	return o.save()
}

// Reprioritize gives a pending message another priority.
func (o *Outbox) Reprioritize(id string, priority int) error {
	if err := checkPriority(priority); err != nil {
		return Invalid{{"priority", err.Error()}}
	}
	o.filing.Lock()
	defer o.filing.Unlock()
	err := o.change(id, func(e *entry) error {
		if e.job == nil || o.queue.Reprioritize(e.job, priority) != nil {
			return fmt.Errorf("%w: the message is not pending", ErrOver)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return o.save()
}

// SendAgain puts a message that failed into the queue once more.
func (o *Outbox) SendAgain(id string) error {
	_, err := o.changeAll([]string{id}, o.sendAgain)
	return err
}

// sendAgain is [Outbox.SendAgain] without the save, after which the returned
// function puts the message into the queue.
func (o *Outbox) sendAgain(id string) (then func(), err error) {
	err = o.change(id, func(e *entry) error {
		if e.failure == "" {
			return fmt.Errorf("%w: the message has not failed", ErrOver)
		}
		o.ledger.again(e, time.Now())
		then = func() { o.dispatch(e) }
		return nil
	})
	return then, err
}

// changeAll makes a change to each message, saves once, and then does what has
// to follow the save. It returns the number of messages that were changed, and
// the first error.
func (o *Outbox) changeAll(ids []string, change func(id string) (then func(), err error)) (changed int, err error) {
	o.filing.Lock()
	defer o.filing.Unlock()
	var after []func()
	for _, id := range ids {
		then, failed := change(id)
		if failed != nil {
			err = cmp.Or(err, failed)
			continue
		}
		changed++
		if then != nil {
			after = append(after, then)
		}
	}
	if changed > 0 {
		if saving := o.save(); saving != nil {
			err = saving
		}
	}
	for _, then := range after {
		then()
	}
	return changed, err
}

// CancelMatching cancels, as [Outbox.Cancel] does, each message that matches.
// It returns how many it canceled, and for how many it was too late. The error
// is [ErrNotSaved].
func (o *Outbox) CancelMatching(f Filter) (canceled, late int, err error) {
	return o.changeMatching(o.Matching(f), o.cancel)
}

// SendMatchingAgain sends each failed message that matches again. It returns
// their number, and for how many it was too late. The error is [ErrStopping] or
// [ErrNotSaved].
func (o *Outbox) SendMatchingAgain(f Filter) (again, late int, err error) {
	failed := slices.DeleteFunc(o.Matching(f), func(r Row) bool { return r.State != stateName(twill.JobFailed) })
	return o.changeMatching(failed, o.sendAgain)
}

func (o *Outbox) changeMatching(rows []Row, change func(string) (func(), error)) (changed, late int, err error) {
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	changed, err = o.changeAll(ids, change)
	if errors.Is(err, ErrOver) || errors.Is(err, ErrUnknown) {
		err = nil // counted
	}
	return changed, len(ids) - changed, err
}

// change calls fn for a message; o.filing must be held.
func (o *Outbox) change(id string, fn func(*entry) error) error {
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

// Cancel cancels a message. If it is underway, its attempt is given up and may
// have reached the carrier; if it has failed, it is dismissed.
func (o *Outbox) Cancel(id string) error {
	_, err := o.changeAll([]string{id}, o.cancel)
	return err
}

// cancel is [Outbox.Cancel] without the save.
func (o *Outbox) cancel(id string) (then func(), err error) {
	o.mu.Lock()
	e := o.ledger.entries[id]
	var job *job
	switch {
	case e == nil:
		err = ErrUnknown
	case e.over:
		err = errIsOver
	case e.failure != "" || e.job == nil:
		e.release(twill.JobCanceled)
		o.ledger.close(e)
	default:
		job = e.job
	}
	o.mu.Unlock()
	if job != nil && !job.Cancel(errOperator) { // settle records it
		err = errIsOver
	}
	return nil, err
}

var errIsOver = fmt.Errorf("%w: the message is over", ErrOver)

// save writes the state file; o.filing must be held. A save that fails is
// repeated until one succeeds.
func (o *Outbox) save() error {
	o.mu.Lock()
	state := State{stateVersion, o.settings, o.ledger.messages()}
	o.mu.Unlock()
	err := o.store.Save(state)
	o.mu.Lock()
	o.trouble = err
	o.mu.Unlock()
	notify(o.changed)
	if err != nil {
		notify(o.unsaved)
		return fmt.Errorf("%w: %w", ErrNotSaved, err)
	}
	return nil
}

// keepSaving removes sent messages from the file, many at a time, and repeats
// saves that failed.
func (o *Outbox) keepSaving() {
	until := &twill.RetryOptions{Backoff: twill.CapBackoff(twill.ExponentialBackoff(lazily, 2), 5*time.Second)}
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-o.unsaved:
		}
		select {
		case <-o.ctx.Done():
			return
		case <-time.After(lazily):
		}
		_, _ = twill.Retry(o.ctx, func(context.Context) (struct{}, error) {
			o.filing.Lock()
			defer o.filing.Unlock()
			return struct{}{}, o.save()
		}, until)
	}
}

// Stop refuses new messages and starts none of the pending ones. The future
// settles when the attempts underway have ended; call Close after that.
func (o *Outbox) Stop() *twill.Future[[]*job] {
	o.mu.Lock()
	o.stopping = true
	o.mu.Unlock()
	notify(o.changed)
	return o.queue.Stop()
}

// StopNow is Stop, and gives up the attempts that are underway: the next start
// repeats them.
func (o *Outbox) StopNow() *twill.Future[[]*job] {
	o.Stop()
	return o.queue.StopNow()
}

// Close writes the state file a last time and releases it. It returns how many
// messages the next start will send.
func (o *Outbox) Close() (left int, err error) {
	o.end()
	o.helpers.Wait()
	o.filing.Lock()
	defer o.filing.Unlock()
	err = o.save()
	if closing := o.store.Close(); err == nil {
		err = closing
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.ledger.messages() {
		if m.Failure == "" {
			left++
		}
	}
	return left, err
}

// notify leaves a token in a channel that holds one.
func notify(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}
