package jetstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/twillgo/twill/jetstream/internal/kv"
)

// streams are the streams and subjects of one queue. Requests are made without
// the client's own retries: each caller knows what a lost answer means for it.
type streams struct {
	conn    *nats.Conn
	js      js.JetStream
	api     string        // the prefix of the subjects of the server's API
	subject string        // the prefix of the queue's own subjects
	name    string        // the prefix of the names of streams
	try     time.Duration // how long a request may take: a lost answer must not cost a lease
	calls   *goroutines
	slots   chan struct{} // is full while as many requests about outcomes are made as may be at once
}

// maxOutcomes is how many requests about outcomes this process makes at once.
// The servers carry out what arrives on a connection in order: the journal of a
// scheduler does not wait behind thousands of cancels.
const maxOutcomes = 64

// enter waits for a slot, and reports whether there is one before ctx ends.
func (s *streams) enter(ctx context.Context) bool {
	select {
	case s.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *streams) leave() { <-s.slots }

func (s *streams) inbox() string    { return s.name + "-in" }
func (s *streams) journal() string  { return s.name + "-journal" }
func (s *streams) outcomes() string { return s.name + "-out" }

func (s *streams) inboxSubject() string            { return s.subject + ".in" }
func (s *streams) journalSubject() string          { return s.subject + ".journal" }
func (s *streams) outcomeSubject(id string) string { return s.subject + ".out." + id }
func (s *streams) askSubject() string              { return s.subject + ".ask" }
func (s *streams) eventsSubject() string           { return s.subject + ".events" }
func (s *streams) beatSubject() string             { return s.subject + ".beat" }
func (s *streams) toSubject(process string) string { return s.subject + ".to." + process }

// configs are the streams as they are made if they do not exist.
func (s *streams) configs(o *Options) []js.StreamConfig {
	return []js.StreamConfig{
		{
			Name: s.inbox(), Subjects: []string{s.inboxSubject()}, Replicas: o.Replicas, Storage: js.FileStorage,
			Discard: js.DiscardNew, Duplicates: dedupWindow,
		},
		{
			Name: s.journal(), Subjects: []string{s.journalSubject()}, Replicas: o.Replicas, Storage: js.FileStorage,
			Discard: js.DiscardNew, Duplicates: dedupWindow,
		},
		{
			Name: s.outcomes(), Subjects: []string{s.outcomeSubject("*")}, Replicas: o.Replicas, Storage: js.FileStorage,
			Discard: js.DiscardNew, DiscardNewPerSubject: true, MaxMsgsPerSubject: 1, MaxAge: o.Keep, Duplicates: min(dedupWindow, o.Keep),
		},
	}
}

// dedupWindow is for how long a stream knows the ids of messages.
const dedupWindow = 2 * time.Minute

// ensure makes the streams that do not exist, and waits until all have a
// leader. Streams that exist stay as they are.
func (s *streams) ensure(ctx context.Context, o *Options) error {
	for _, config := range s.configs(o) {
		if err := s.ensureOne(ctx, config); err != nil {
			return fmt.Errorf("jetstream: stream %s: %w", config.Name, err)
		}
	}
	return nil
}

func (s *streams) ensureOne(ctx context.Context, config js.StreamConfig) error {
	var last error
	for pause := range pauses(ctx) {
		info, err := s.info(ctx, config.Name)
		switch {
		case err == nil && info.led():
			return nil
		case err == nil:
			last = errors.New("no leader")
		case isCode(err, codeStreamNotFound):
			// A create that timed out may have been carried out: the next round looks.
			if _, last = s.js.CreateStream(ctx, config); last == nil {
				continue
			}
			var refused *js.APIError
			if errors.As(last, &refused) && refused.Code == 400 && refused.ErrorCode != codeNameInUse {
				return last
			}
		default:
			last = err
		}
		if !pause() {
			break
		}
	}
	return errors.Join(last, context.Cause(ctx))
}

// pauses yields functions that wait, a random time that grows to two seconds,
// and report whether ctx lives.
func pauses(ctx context.Context) func(yield func(func() bool) bool) {
	return func(yield func(func() bool) bool) {
		d := 20 * time.Millisecond
		for ctx.Err() == nil {
			if !yield(func() bool { return sleep(ctx, d/2+rand.N(d)) }) {
				return
			}
			d = min(2*d, 2*time.Second)
		}
	}
}

// sleep waits, and reports whether ctx lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// apiError is an error of the server.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string {
	return e.Description + " (" + strconv.Itoa(e.ErrCode) + ")"
}

// Error codes of the server.
const (
	codeStreamNotFound   = 10059
	codeMessageNotFound  = 10037
	codeNameInUse        = 10058
	codeWrongSequence    = 10071 // with the sequence that is right
	codeWrongSequenceNow = 10164 // or another write is in flight
	codeStoreFailed      = 10077 // a limit of the stream, among others
	codeNoResources      = 10023
	codeNoStorage        = 10047
	codeNoMemory         = 10028
	codeTooLarge         = 10054
)

func isCode(err error, codes ...int) bool {
	var e *apiError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.ErrCode == code {
			return true
		}
	}
	return false
}

// errReply is the error of an answer that is not the server's.
var errReply = errors.New("jetstream: unexpected answer")

// request makes a request, and returns when ctx ends. The client itself does
// not while it connects again: it holds its lock then.
func (s *streams) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	type result struct {
		m   *nats.Msg
		err error
	}
	done := make(chan result, 1)
	s.calls.run(func() {
		m, err := s.conn.RequestMsgWithContext(ctx, m)
		done <- result{m, err}
	})
	select {
	case r := <-done:
		return r.m, r.err
	case <-ctx.Done():
		select {
		case r := <-done: // it may say more
			return r.m, r.err
		default:
			return nil, ctx.Err()
		}
	}
}

// publish stores data in the stream. An error other than an apiError leaves
// open whether it is stored.
func (s *streams) publish(ctx context.Context, stream, subject string, data []byte, header nats.Header) (seq uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.try)
	defer cancel()
	m, err := s.request(ctx, &nats.Msg{Subject: subject, Data: data, Header: header})
	if err != nil {
		return 0, err
	}
	return ackOf(m.Data, stream)
}

// ackOf reads the server's answer to a publish to the stream.
func ackOf(data []byte, stream string) (seq uint64, err error) {
	var ack struct {
		Stream string    `json:"stream"`
		Seq    uint64    `json:"seq"`
		Error  *apiError `json:"error"`
	}
	r := reader{data: data} // this is what nearly all are like
	r.take('{')
	if r.has(`"stream":`) {
		ack.Stream = r.text()
	}
	if r.has(`"seq":`) {
		ack.Seq = r.uint()
	}
	r.take('}')
	if r.bad || r.pos != len(data) {
		err = json.Unmarshal(data, &ack)
	}
	switch {
	case err != nil:
		return 0, errReply
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Stream != stream || ack.Seq == 0:
		return 0, errReply
	}
	return ack.Seq, nil
}

// call makes a request to the server's API.
func (s *streams) call(ctx context.Context, op, stream string, request, result any) error {
	ctx, cancel := context.WithTimeout(ctx, s.try)
	defer cancel()
	var data []byte
	if request != nil {
		data = encode(request)
	}
	m, err := s.request(ctx, &nats.Msg{Subject: s.api + "." + op + "." + stream, Data: data})
	if err != nil {
		return err
	}
	var failed struct {
		Type  string    `json:"type"`
		Error *apiError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &failed); {
	case err != nil || !strings.HasPrefix(failed.Type, "io.nats.jetstream.api."):
		return errReply
	case failed.Error != nil:
		return failed.Error
	}
	return json.Unmarshal(m.Data, result)
}

type streamInfo struct {
	Created time.Time `json:"created"`
	State   struct {
		Messages uint64 `json:"messages"`
		First    uint64 `json:"first_seq"`
		Last     uint64 `json:"last_seq"`
	} `json:"state"`
	Config struct {
		MaxSize int32 `json:"max_msg_size"`
	} `json:"config"`
	Cluster *struct {
		Leader string `json:"leader"`
	} `json:"cluster"`
}

func (i *streamInfo) led() bool { return i.Cluster == nil || i.Cluster.Leader != "" }

func (s *streams) info(ctx context.Context, stream string) (*streamInfo, error) {
	var info streamInfo
	if err := s.call(ctx, "STREAM.INFO", stream, nil, &info); err != nil {
		return nil, err
	}
	return &info, nil
}

// stored is a message of a stream.
type stored struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Data    string    `json:"data"`
	Time    time.Time `json:"time"`

	data []byte
}

// get reads a message from the leader of the stream; nil if there is none.
func (s *streams) get(ctx context.Context, stream string, request any) (*stored, error) {
	var answer struct {
		Message *stored `json:"message"`
	}
	err := s.call(ctx, "STREAM.MSG.GET", stream, request, &answer)
	if isCode(err, codeMessageNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := answer.Message
	if m == nil {
		return nil, errReply
	}
	if m.data, err = base64.StdEncoding.DecodeString(m.Data); err != nil {
		return nil, errReply
	}
	return m, nil
}

type bySeq struct {
	Seq uint64 `json:"seq"`
}

type bySubject struct {
	Last string `json:"last_by_subj"`
}

// purge removes the messages of a stream below a sequence.
func (s *streams) purge(ctx context.Context, stream string, below uint64) error {
	var done struct {
		Success bool `json:"success"`
	}
	return s.call(ctx, "STREAM.PURGE", stream, bySeq{below}, &done)
}

// outcome reads the outcome of a job; nil if there is none.
func (s *streams) outcome(ctx context.Context, id string) (*outcome, error) {
	if !s.enter(ctx) {
		return nil, context.Cause(ctx)
	}
	m, err := s.get(ctx, s.outcomes(), bySubject{s.outcomeSubject(id)})
	s.leave()
	if m == nil || err != nil {
		return nil, err
	}
	return readOutcome(id, m.data), nil
}

// readOutcome reads the outcome of a job. One that cannot be read counts, as
// the first that is stored: the job has failed.
func readOutcome(id string, data []byte) *outcome {
	var o outcome
	if err := decode(data, &o); err != nil {
		return &outcome{Version: wireVersion, ID: id, State: outFailed, Error: encodeError(fmt.Errorf("jetstream: outcome: %w", err))}
	}
	o.ID = id
	return &o
}

// decide stores o as the outcome of its job, unless the job has one, and
// returns the job's outcome. It tries until ctx ends, the connection is closed
// for good or o is found to be too large: a write that was refused or whose
// answer is lost is read back.
func (s *streams) decide(ctx context.Context, o *outcome) (*outcome, error) {
	data := encode(o)
	var last error
	for pause := range pauses(ctx) {
		if !s.enter(ctx) {
			break
		}
		_, err := s.publish(ctx, s.outcomes(), s.outcomeSubject(o.ID), data, createOnly)
		s.leave()
		if err == nil {
			return o, nil
		}
		last = err
		switch {
		case isTooLarge(err):
			return nil, s.tooLarge(ctx, s.outcomes(), "result", data, createOnly)
		case errors.Is(err, nats.ErrConnectionClosed):
			return nil, err
		}
		old, err := s.outcome(ctx, o.ID)
		if err == nil && old != nil {
			return old, nil
		}
		if isCode(err, codeStreamNotFound) {
			last = noStreams(s.outcomes())
		}
		if !pause() {
			break
		}
	}
	return nil, errors.Join(last, context.Cause(ctx))
}

// createOnly is the header of a write that succeeds if its subject has none.
var createOnly = nats.Header{headerExpectedSubjectSeq: {"0"}}

// isTooLarge reports whether err is the refusal of a message for its size, by
// the client or by the stream.
func isTooLarge(err error) bool {
	return isCode(err, codeTooLarge) || errors.Is(err, nats.ErrMaxPayload)
}

// isFull reports whether err is the refusal of a message for which the stream
// or the server has no room.
func isFull(err error) bool {
	var e *apiError
	switch {
	case isCode(err, codeNoResources, codeNoStorage, codeNoMemory):
		return true
	case isCode(err, codeStoreFailed) && errors.As(err, &e):
		return strings.Contains(e.Description, "exceeded") // such as "maximum messages exceeded"
	}
	return false
}

// tooLarge is the error of a message that was refused for its size. what says
// what the message is for.
func (s *streams) tooLarge(ctx context.Context, stream, what string, data []byte, header nats.Header) error {
	limit := int(s.conn.MaxPayload())
	if info, err := s.info(ctx, stream); err == nil && info.Config.MaxSize > 0 {
		limit = min(limit, int(info.Config.MaxSize))
	}
	return &kv.TooLargeError{What: what, Size: kv.SizeOf(&nats.Msg{Data: data, Header: header}), Max: limit}
}

// noStreams is the error of streams that do not exist.
func noStreams(names ...string) error {
	return fmt.Errorf("%w: %s", ErrNoStream, strings.Join(names, ", "))
}

// missing returns the names of the streams of the queue that do not exist.
func (s *streams) missing(ctx context.Context) (names []string, err error) {
	for _, name := range []string{s.inbox(), s.journal(), s.outcomes()} {
		switch _, err := s.info(ctx, name); {
		case isCode(err, codeStreamNotFound):
			names = append(names, name)
		case err != nil:
			return nil, err
		}
	}
	return names, nil
}

// gone looks whether streams are missing, and stay so for d: servers that have
// just started may not know them yet. It returns nil if all exist, and if it
// does not get to know.
func (s *streams) gone(ctx context.Context, d time.Duration) error {
	for began := time.Now(); ; {
		names, err := s.missing(ctx)
		switch {
		case err != nil || names == nil:
			return nil
		case time.Since(began) >= d:
			return noStreams(names...)
		case !sleep(ctx, d/4):
			return nil
		}
	}
}

// The headers of conditional writes, as the server spells them.
const (
	headerExpectedSeq        = "Nats-Expected-Last-Sequence"
	headerExpectedSubjectSeq = "Nats-Expected-Last-Subject-Sequence"
	headerMessageID          = "Nats-Msg-Id"
)

// follow reads the messages of a stream from a sequence on, without a gap, and
// calls each until it returns false, ctx ends or the connection is closed for
// good. A consumer that is lost, or that is silent while the stream grows, is
// made anew.
func (s *streams) follow(ctx context.Context, stream string, from uint64, each func(seq uint64, at time.Time, data []byte) bool) error {
	next := from
	for pause := range pauses(ctx) {
		began := next
		done, err := s.followOnce(ctx, stream, &next, each)
		if done || isCode(err, codeStreamNotFound) || errors.Is(err, errGap) {
			return err
		}
		if s.conn.IsClosed() {
			return nats.ErrConnectionClosed
		}
		if next == began && !pause() {
			break
		}
	}
	return context.Cause(ctx)
}

// errGap is the error of a stream that has lost messages.
var errGap = errors.New("jetstream: messages are missing")

// createTime is how long the servers may take to make a consumer.
const createTime = 3 * time.Second

// fetchWait is how long a request for messages waits for one.
const fetchWait = 2 * time.Second

func (s *streams) followOnce(ctx context.Context, stream string, next *uint64, each func(uint64, time.Time, []byte) bool) (done bool, err error) {
	makeCtx, cancel := context.WithTimeout(ctx, createTime)
	consumer, err := s.js.CreateConsumer(makeCtx, stream, js.ConsumerConfig{
		AckPolicy: js.AckNonePolicy, DeliverPolicy: js.DeliverByStartSequencePolicy, OptStartSeq: max(*next, 1),
		MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	cancel()
	if err != nil {
		var e *js.APIError
		if errors.As(err, &e) {
			return false, &apiError{e.Code, int(e.ErrorCode), e.Description}
		}
		return false, err
	}
	defer func() {
		if done {
			s.deleteConsumer(stream, consumer)
		} else { // it may not be there, and the next one is made at once
			go s.deleteConsumer(stream, consumer)
		}
	}()
	for ctx.Err() == nil {
		fetchCtx, cancel := context.WithTimeout(ctx, fetchWait)
		fetch, err := consumer.Fetch(1000, js.FetchContext(fetchCtx))
		if err != nil {
			cancel()
			return false, err
		}
		got := 0
		for m := range fetch.Messages() {
			got++
			meta, err := m.Metadata()
			if err != nil {
				cancel()
				return false, err
			}
			switch seq := meta.Sequence.Stream; {
			case seq < *next:
				continue
			case seq > *next && *next != 0:
				cancel()
				return false, s.gap(ctx, stream, *next, seq)
			default:
				*next = seq + 1
			}
			if !each(meta.Sequence.Stream, meta.Timestamp, m.Data()) {
				cancel()
				return true, nil
			}
		}
		cancel()
		if ctx.Err() != nil {
			return true, context.Cause(ctx)
		}
		if err := fetch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) {
			return false, err
		}
		if got > 0 {
			continue
		}
		info, err := s.info(ctx, stream)
		if err != nil {
			return false, err
		}
		if info.State.Last >= max(*next, 1) {
			return false, nil // it is silent
		}
	}
	return true, context.Cause(ctx)
}

// gap is the error of a delivery that goes on with seq when next was to come.
// It is nil if the stream has next: then only the delivery was lost.
func (s *streams) gap(ctx context.Context, stream string, next, seq uint64) error {
	m, err := s.get(ctx, stream, bySeq{next})
	if err != nil || m != nil {
		return err
	}
	return fmt.Errorf("%w: %s from %d to %d", errGap, stream, next, seq-1)
}

// deleteConsumer deletes a consumer, which would else stay with the server for
// its InactiveThreshold. It takes a second at most.
func (s *streams) deleteConsumer(stream string, consumer js.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.js.DeleteConsumer(ctx, stream, consumer.CachedInfo().Name)
}

// outcomesSince calls each with the outcomes that were stored since a time.
func (s *streams) outcomesSince(ctx context.Context, since time.Time, each func(*outcome)) error {
	var last error
	for pause := range pauses(ctx) {
		if last = s.outcomesSinceOnce(ctx, since, each); last == nil || !pause() {
			break
		}
	}
	return last
}

func (s *streams) outcomesSinceOnce(ctx context.Context, since time.Time, each func(*outcome)) error {
	info, err := s.info(ctx, s.outcomes())
	if err != nil || info.State.Messages == 0 {
		return err
	}
	config := js.ConsumerConfig{AckPolicy: js.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second}
	if !since.IsZero() {
		config.DeliverPolicy, config.OptStartTime = js.DeliverByStartTimePolicy, &since
	}
	makeCtx, cancel := context.WithTimeout(ctx, createTime)
	consumer, err := s.js.CreateConsumer(makeCtx, s.outcomes(), config)
	cancel()
	if err != nil {
		return err
	}
	defer s.deleteConsumer(s.outcomes(), consumer)
	for left := consumer.CachedInfo().NumPending; left > 0; {
		fetchCtx, cancel := context.WithTimeout(ctx, fetchWait)
		fetch, err := consumer.Fetch(int(min(left, 1000)), js.FetchContext(fetchCtx))
		if err != nil {
			cancel()
			return err
		}
		got := uint64(0)
		for m := range fetch.Messages() {
			got++
			if o := readOutcome(strings.TrimPrefix(m.Subject(), s.outcomeSubject("")), m.Data()); o.Version <= wireVersion {
				each(o)
			}
		}
		cancel()
		if got == 0 {
			return errors.Join(errors.New("jetstream: outcomes are not delivered"), fetch.Error())
		}
		left -= min(got, left)
	}
	return nil
}
