package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// putter publishes the puts of this process to the inbox stream. Puts that are
// made while messages are on their way go together in the next one: many
// callers share a write.
type putter struct {
	n *node

	mu       sync.Mutex // guards the fields below
	waiting  []*waitingPut
	messages int // on their way
}

const (
	maxMessages = 2   // with puts that are on their way at a time
	maxPuts     = 500 // in a message
)

// waitingPut is a put that is not stored yet.
type waitingPut struct {
	data     []byte // the put on the wire
	jobs     int    // of the put
	deadline time.Time
	again    bool           // it may have been published before
	unclear  bool           // it may have been by this call
	done     chan published // gets what has become of its message
}

// published is what has become of a message.
type published struct {
	seq     uint64
	err     error
	refused bool      // with err: by the server
	unclear bool      // with err: it may be stored
	ended   time.Time // with err: its time was over
}

// put publishes p until the stream has it, and returns the sequence of the
// message. again is set if p may have been published before. The context has a
// deadline and else ends with the node. With [ErrUnconfirmed] p may be stored,
// with any other error it is not.
func (p *putter) put(ctx context.Context, put *wirePut, again bool) (uint64, error) {
	w := &waitingPut{data: encode(put), jobs: len(put.Jobs), again: again, done: make(chan published, 1)}
	w.deadline, _ = ctx.Deadline()
	for {
		r := p.once(ctx, w)
		if r.err == nil {
			return r.seq, nil
		}
		w.unclear = w.unclear || r.unclear
		w.again = w.again || w.unclear
		switch {
		case !r.ended.IsZero() && w.deadline.After(r.ended) && ctx.Err() == nil:
			// Another put of the message had less time.
		case w.unclear:
			return 0, errors.Join(ErrUnconfirmed, r.err, context.Cause(ctx))
		default:
			return 0, r.err
		}
	}
}

// once has w published in one message.
func (p *putter) once(ctx context.Context, w *waitingPut) published {
	p.mu.Lock()
	p.waiting = append(p.waiting, w)
	if p.messages < maxMessages {
		p.messages++
		go p.run()
	}
	p.mu.Unlock()
	select {
	case r := <-w.done:
		return r
	case <-ctx.Done():
	}
	p.mu.Lock()
	i := slices.Index(p.waiting, w)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		return published{err: context.Cause(ctx)}
	}
	return <-w.done // its message ends no later than ctx
}

// run publishes messages until no put waits.
func (p *putter) run() {
	runtime.Gosched() // others may just be coming
	for some := p.next(); some != nil; some = p.next() {
		r := p.publish(some)
		if !r.refused || r.unclear || len(some) == 1 {
			for _, w := range some {
				w.done <- r
			}
			continue
		}
		// Alone they may be small enough.
		for _, w := range some {
			w.done <- p.publish([]*waitingPut{w})
		}
	}
}

// next takes the puts of the next message.
func (p *putter) next() []*waitingPut {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, size := 0, 0
	for _, w := range p.waiting[:min(len(p.waiting), maxPuts)] {
		if size += len(w.data) + 1; n > 0 && size > p.n.maxBatch {
			break
		}
		n++
	}
	if n == 0 {
		p.messages--
		return nil
	}
	some := slices.Clone(p.waiting[:n])
	p.waiting = slices.Delete(p.waiting, 0, n)
	return some
}

// publish publishes one message with some puts, until the stream has it, it is
// refused, or the time of one of the puts is over.
func (p *putter) publish(some []*waitingPut) published {
	n := p.n
	first := slices.MinFunc(some, func(a, b *waitingPut) int { return a.deadline.Compare(b.deadline) })
	ctx, cancel := context.WithDeadline(n.ctx, first.deadline)
	defer cancel()
	again := slices.ContainsFunc(some, func(w *waitingPut) bool { return w.again })
	header := nats.Header{headerMessageID: {nuid.Next()}}
	var r published
	for pause := range pauses(ctx) {
		if n.conn.IsClosed() { // else it is not known whether the request has left
			return published{err: nats.ErrConnectionClosed, unclear: r.unclear}
		}
		data := putData(n.id, some, again)
		seq, err := n.st.publish(ctx, n.st.inbox(), n.st.inboxSubject(), data, header)
		if err == nil {
			n.mu.Lock()
			n.inbox = max(n.inbox, seq)
			n.mu.Unlock()
			return published{seq: seq}
		}
		r.err = err
		var refused *apiError
		switch {
		case isTooLarge(err):
			what := "argument"
			if len(some) > 1 || some[0].jobs > 1 {
				what = "list of jobs"
			}
			return published{err: n.st.tooLarge(ctx, n.st.inbox(), what, data, header), refused: true}
		case isFull(err):
			if !r.unclear {
				return published{err: fmt.Errorf("%w: %s: %w", ErrFull, n.st.inbox(), err), refused: true}
			}
		case errors.As(err, &refused):
			if !r.unclear && refused.Code < 500 || isCode(err, codeStoreFailed) {
				return published{err: err, refused: true, unclear: r.unclear}
			}
		case errors.Is(err, nats.ErrNoResponders): // the stream has no leader, or was deleted
			n.noAnswer()
			if _, err := n.st.info(ctx, n.st.inbox()); isCode(err, codeStreamNotFound) {
				r.err = fmt.Errorf("%w: %w", noStreams(n.st.inbox()), r.err)
			}
		default:
			r.unclear, again = true, true
		}
		if gone := n.streamsGone(); gone != nil {
			r.err = errors.Join(gone, r.err)
			break
		}
		if !pause() {
			break
		}
	}
	r.err = errors.Join(r.err, context.Cause(ctx))
	if ctx.Err() != nil {
		r.ended = first.deadline
	}
	return r
}

// putData is a putMessage on the wire.
func putData(from string, some []*waitingPut, again bool) []byte {
	puts := make([][]byte, len(some))
	for i, w := range some {
		puts[i] = w.data
	}
	data := fmt.Appendf(nil, `{"v":%d,"from":%q,"again":%t,"puts":[`, wireVersion, from, again)
	data = append(data, bytes.Join(puts, []byte(","))...)
	return append(data, "]}"...)
}
