package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/twillgo/twill"
)

// takePuts takes a message of the inbox.
func (s *scheduler) takePuts(seq uint64, at time.Time, data []byte) {
	s.n.opts.delayed(stepPut)
	var m putMessage
	err := decode(data, &m)
	if err != nil || m.Version > wireVersion {
		s.refuseMessage(seq, data, &WireError{Subject: s.n.st.inboxSubject(), Version: m.Version, Err: err})
		return
	}
	if m.Again { // what has an outcome is not run again
		ended := s.endedOf(m.Puts)
		if s.ctx.Err() != nil {
			return
		}
		for i, p := range m.Puts {
			m.Puts[i].Jobs = slices.DeleteFunc(p.Jobs, func(j putJob) bool { return ended[j.ID] })
		}
	}
	var refused []error
	defer func() { // without the lock: OnEvent may ask the scheduler
		for _, err := range refused {
			s.n.report(&WireError{Subject: s.n.st.inboxSubject(), Version: m.Version, Err: err})
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.inbox {
		return
	}
	for _, p := range m.Puts {
		var seen map[string]bool // of the jobs of this put
		if len(p.Jobs) > 1 {
			seen = make(map[string]bool, len(p.Jobs))
		}
		p.Jobs = slices.DeleteFunc(p.Jobs, func(j putJob) bool {
			known := s.jobs[j.ID] != nil || seen[j.ID]
			if seen != nil {
				seen[j.ID] = true
			}
			return known
		})
		if len(p.Jobs) == 0 {
			continue
		}
		for i, j := range p.Jobs {
			p.Jobs[i].Arg = asWritten(j.Arg)
		}
		if err := s.checkPut(m.From, &p); err != nil {
			s.refuseLocked(m.From, idsOf(&p), err)
			refused = append(refused, err)
			continue
		}
		s.putLocked(m.From, &p, at.UnixNano())
	}
	s.takenLocked(seq)
}

// asWritten is an argument as encoding/json writes it, so that it takes as much
// room wherever it is written again.
func asWritten(arg json.RawMessage) json.RawMessage {
	switch {
	case arg == nil:
		return json.RawMessage("null")
	case bytes.ContainsAny(arg, "<>&") || bytes.Contains(arg, []byte("\xe2\x80")):
		return encode(arg)
	}
	return arg
}

// takenLocked notes that the inbox was taken up to seq.
func (s *scheduler) takenLocked(seq uint64) {
	s.inbox = seq
	s.addLocked(item{inbox: seq})
	s.runDeferredLocked()
}

func idsOf(p *wirePut) []string {
	ids := make([]string, len(p.Jobs))
	for i, j := range p.Jobs {
		ids[i] = j.ID
	}
	return ids
}

// checkPut returns why a put cannot be carried out, nil if it can. Programs
// that use this package make no such puts.
func (s *scheduler) checkPut(from string, p *wirePut) error {
	if from != "" && !isID(from) {
		return fmt.Errorf("jetstream: process id %.200q is not a name of at most %d letters, digits, - and _", from, maxID)
	}
	for _, j := range p.Jobs {
		if !isID(j.ID) {
			return fmt.Errorf("jetstream: job id %.200q is not a name of at most %d letters, digits, - and _", j.ID, maxID)
		}
		if size := len(j.Arg) + textSize(p.Options.Key) + textSize(p.Options.Group); size > s.n.maxArg {
			return &TooLargeError{What: "argument", Size: size, Max: s.n.maxArg}
		}
	}
	return nil
}

// maxID is how long the id of a job and that of a process may be: they are
// parts of subjects, which the server limits.
const maxID = 128

// isID reports whether s can be the id of a job or a process.
func isID(s string) bool { return len(s) <= maxID && isName(s) }

// refuseMessage refuses all puts of a message that cannot be read.
func (s *scheduler) refuseMessage(seq uint64, data []byte, err *WireError) {
	from, ids := skim(data)
	s.n.report(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.inbox {
		return
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return s.jobs[id] != nil })
	if len(ids) > 0 {
		s.refuseLocked(from, ids, err)
	} else {
		s.counters.Refused++
		s.emitLocked(effect{Refuse: 1}, func() {
			if isID(from) {
				s.post(from, message{Skipped: []skipped{{seq, encodeError(err)}}})
			}
		})
	}
	s.takenLocked(seq)
}

// refuseLocked refuses the puts of ids, which are no jobs. An id that is not a
// name has no subject for an outcome: there the refusal is only sent.
func (s *scheduler) refuseLocked(from string, ids []string, err error) {
	s.counters.Refused += uint64(len(ids))
	refused := encodeError(err)
	if !isID(from) {
		from = ""
	}
	s.emitLocked(effect{Refuse: len(ids)}, func() {
		for _, id := range ids {
			o := &outcome{ID: id, State: outRefused, Error: refused}
			if isID(id) {
				s.answer(from, o)
				continue
			}
			o.Version, o.By, o.Nonce = wireVersion, s.n.id, s.nonce
			s.post(from, message{Outcomes: []*outcome{o}})
		}
	})
}

// skim finds the process and the ids of jobs in a putMessage that cannot be
// read otherwise, as far as it is JSON: of a later version, with a field of
// another type, nested too deeply, or cut off.
func skim(data []byte) (from string, ids []string) {
	type level struct {
		object bool
		key    string // of the value that is next, in an object
		value  bool   // the next token of the object is a value
	}
	var levels []level
	path := func() (at string) {
		for _, l := range levels {
			at += "." + l.key
		}
		return at
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return from, ids
		}
		var top *level
		if len(levels) > 0 {
			top = &levels[len(levels)-1]
		}
		if top != nil && top.object && !top.value && token != json.Delim('}') {
			top.key, top.value = token.(string), true
			continue
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				levels = append(levels, level{object: t == '{'})
				continue
			}
			levels = levels[:len(levels)-1]
			if len(levels) == 0 {
				return from, ids
			}
			top = &levels[len(levels)-1]
		case string:
			switch {
			case len(levels) == 1 && top.key == "from":
				from = t
			case len(levels) == 5 && path() == ".puts..jobs..id":
				ids = append(ids, t)
			}
		}
		if top != nil {
			top.value = false
		}
	}
}

// endedOf returns which jobs of puts have outcomes. It asks until the term is
// over.
func (s *scheduler) endedOf(puts []wirePut) map[string]bool {
	const width = 32 // requests at a time
	ids := func(yield func(string) bool) {
		for _, p := range puts {
			for _, j := range p.Jobs {
				if !yield(j.ID) {
					return
				}
			}
		}
	}
	ended := map[string]bool{}
	for id := range twill.Map(s.ctx, ids, width, func(ctx context.Context, id string) (string, error) {
		for pause := range pauses(ctx) {
			switch o, err := s.n.st.outcome(ctx, id); {
			case err == nil && o != nil:
				return id, nil
			case err == nil || !pause():
				return "", nil
			}
		}
		return "", nil
	}) {
		ended[id] = true
	}
	return ended
}

// putLocked puts the jobs of p, all or none.
func (s *scheduler) putLocked(from string, p *wirePut, at int64) {
	f := p.Options
	o := twill.JobOptions{Key: f.Key, Refuse: f.Refuse, Again: f.Again, Debounce: f.Debounce, Group: f.Group, Held: f.Held}
	due := int64(0)
	if f.After > 0 {
		due = at + int64(f.After)
		o.After = max(time.Duration(due-s.now()), 0)
	}
	expires := int64(0)
	if f.Expires != 0 {
		expires = at + int64(f.Expires)
		o.Expires = s.local(expires)
	}
	args := make([]json.RawMessage, len(p.Jobs))
	for i, j := range p.Jobs {
		args[i] = j.Arg
	}
	jobs, err := s.putRootLocked(args, f.Priority, o)
	if err != nil {
		s.counters.Refused += uint64(len(p.Jobs))
		to := ""
		if len(jobs) == 1 && s.byJob[jobs[0]] != nil {
			to = s.byJob[jobs[0]].rec.ID
		}
		refused := encodeError(err)
		s.emitLocked(effect{Refuse: len(p.Jobs)}, func() {
			for _, j := range p.Jobs {
				s.answer(from, &outcome{ID: j.ID, State: outRefused, To: to, Error: refused})
			}
		})
		return
	}
	var taken []string
	for i, job := range jobs {
		id := p.Jobs[i].ID
		if old := s.byJob[job]; old != nil {
			s.joinLocked(old, id, from)
			continue
		}
		s.order++
		s.counters.Put++
		e := &entry{rec: record{
			ID: id, Arg: args[i], Priority: f.Priority, Key: f.Key, Group: f.Group, Order: s.order, Queued: at, Due: due, Expires: expires,
			Timeout: f.Timeout, Held: f.Held, From: from,
		}}
		if f.Timeout == 0 {
			e.rec.Timeout = s.n.opts.Timeout
		}
		if f.Again && f.Key != "" {
			e.rec.Follows = job.Record().Again
		}
		s.jobs[id] = e
		s.bindLocked(e, job)
		rec := e.rec
		s.emitLocked(effect{Put: &rec}, nil)
		s.eventLocked(twill.EventPut, e, nil)
		if o := s.early[id]; o != nil {
			delete(s.early, id)
			s.endLocked(e, o, false, false)
		}
		taken = append(taken, id)
	}
	if taken != nil {
		s.afterLocked(func() { s.post(from, message{Taken: taken}) })
	}
}

func (s *scheduler) putRootLocked(args []json.RawMessage, priority int, o twill.JobOptions) ([]*rootJob, error) {
	if len(args) != 1 {
		return s.rq.PutAll(args, priority, o)
	}
	job, err := s.rq.Put(args[0], priority, o)
	if job == nil {
		return nil, err
	}
	return []*rootJob{job}, err
}

// joinLocked makes the put of id one of old.
func (s *scheduler) joinLocked(old *entry, id, from string) {
	if id == old.rec.ID { // of a PutAll whose jobs share a key
		return
	}
	s.counters.Joined++
	r := old.job.Record()
	changed := string(r.Arg) != string(old.rec.Arg)
	old.rec.Arg, old.rec.Priority = r.Arg, r.Priority
	if old.rec.Attempts == 0 && r.State == twill.JobPending {
		old.rec.Due = 0
		if !r.Due.IsZero() {
			old.rec.Due = s.now() + int64(time.Until(r.Due))
		}
	}
	if from != old.rec.From && !slices.Contains(old.rec.Watch, from) {
		old.rec.Watch = append(old.rec.Watch, from)
	}
	to := old.rec.ID
	s.emitLocked(effect{Joined: 1}, nil)
	s.changedLocked(old, changed, func() { s.answer(from, &outcome{ID: id, State: outJoined, To: to}) })
}

// answer stores what has become of a put that is no job, and sends it.
func (s *scheduler) answer(process string, o *outcome) {
	o.Version, o.By, o.Nonce = wireVersion, s.n.id, s.nonce
	go func() {
		if got, err := s.n.st.decide(s.ctx, o); err == nil {
			s.send(process, message{Outcomes: []*outcome{got}})
		} else if s.ctx.Err() == nil {
			s.n.report(err)
		}
	}()
}
