package jetstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// The messages of which each job needs one write and read their JSON here,
// without reflection. They write the same bytes as encoding/json. They read
// what is written like that, with the fields in the order of the struct;
// encoding/json reads everything else.

// appender is a message that appends its own JSON.
type appender interface{ appendJSON(b []byte) []byte }

// encode is the JSON of a value of this package, which can always be written.
func encode(v any) []byte {
	a, ok := v.(appender)
	if !ok {
		return marshal(v)
	}
	b := buffers.Get().(*[]byte)
	*b = a.appendJSON((*b)[:0])
	data := bytes.Clone(*b)
	if cap(*b) <= maxBuffer {
		buffers.Put(b)
	}
	return data
}

// buffers has what messages are written to before their sizes are known.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxBuffer is the size of the largest buffer that is kept.
const maxBuffer = 64 << 10

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("jetstream: " + err.Error())
	}
	return data
}

// Each of the functions below appends a field and a comma, and those with "Set"
// in their names only a value that is not zero. key is the name of the field,
// with the quotes and the colon. closeObject replaces the last comma.

func appendText(b []byte, key, s string) []byte {
	return append(appendString(append(b, key...), s), ',')
}

func appendSetText(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendText(b, key, s)
}

func appendInt[N int | int64 | time.Duration](b []byte, key string, n N) []byte {
	return append(strconv.AppendInt(append(b, key...), int64(n), 10), ',')
}

func appendSetInt[N int | int64 | time.Duration](b []byte, key string, n N) []byte {
	if n == 0 {
		return b
	}
	return appendInt(b, key, n)
}

func appendUint(b []byte, key string, n uint64) []byte {
	return append(strconv.AppendUint(append(b, key...), n, 10), ',')
}

func appendSetUint(b []byte, key string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return appendUint(b, key, n)
}

func appendSet(b []byte, key string, set bool) []byte {
	if !set {
		return b
	}
	return append(append(b, key...), "true,"...)
}

func appendRaw(b []byte, key string, data json.RawMessage) []byte {
	b = append(b, key...)
	if data == nil {
		return append(b, "null,"...)
	}
	return append(append(b, data...), ',')
}

func appendSetRaw(b []byte, key string, data json.RawMessage) []byte {
	if len(data) == 0 {
		return b
	}
	return appendRaw(b, key, data)
}

// appendSetOther appends a field of which few messages have one.
func appendSetOther[T any](b []byte, key string, v *T) []byte {
	if v == nil {
		return b
	}
	return appendRaw(b, key, encode(v))
}

// appendSetList appends a list unless it is empty; one appends an element
// without a comma.
func appendSetList[T any](b []byte, key string, list []T, one func([]byte, T) []byte) []byte {
	if len(list) == 0 {
		return b
	}
	return append(appendList(append(b, key...), list, one), ',')
}

func appendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return append(b, ']')
}

func appendFailure(b []byte, f *failure) []byte {
	if f == nil {
		return append(b, "null"...)
	}
	return append(b, encode(f)...)
}

func closeObject(b []byte) []byte {
	if b[len(b)-1] == ',' {
		b[len(b)-1] = '}'
		return b
	}
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; !plain(c) || c == '<' || c == '>' || c == '&' {
			return append(b, encode(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// textSize is the number of bytes that s takes in a message, without the
// quotes.
func textSize(s string) int {
	for i := range len(s) {
		if c := s[i]; !plain(c) || c == '<' || c == '>' || c == '&' {
			return len(encode(s)) - 2
		}
	}
	return len(s)
}

// plain reports whether c stands for itself in a string.
func plain(c byte) bool { return c >= ' ' && c <= '~' && c != '"' && c != '\\' }

func (t *term) appendJSON(b []byte) []byte {
	b = append(b, '{')
	b = appendSetInt(b, `"journal":`, t.Journal)
	b = appendSetUint(b, `"epoch":`, t.Epoch)
	return closeObject(b)
}

func (t token) appendJSON(b []byte) []byte {
	b = append(b, '{')
	b = appendText(b, `"id":`, t.ID)
	b = appendUint(b, `"n":`, t.Number)
	return closeObject(b)
}

func appendToken(b []byte, t token) []byte { return t.appendJSON(b) }

func (p *wirePut) appendJSON(b []byte) []byte {
	b = append(b, `{"jobs":`...)
	if p.Jobs == nil {
		b = append(b, "null"...)
	} else {
		b = appendList(b, p.Jobs, func(b []byte, j putJob) []byte {
			b = append(b, '{')
			b = appendText(b, `"id":`, j.ID)
			b = appendRaw(b, `"arg":`, j.Arg)
			return closeObject(b)
		})
	}
	b = append(b, ',')
	if p.Options != (putFlags{}) {
		b = appendRaw(b, `"options":`, encode(&p.Options))
	}
	return closeObject(b)
}

func (f *putFlags) appendJSON(b []byte) []byte {
	b = append(b, '{')
	b = appendSetInt(b, `"priority":`, f.Priority)
	b = appendSetInt(b, `"after":`, f.After)
	b = appendSetInt(b, `"expires":`, f.Expires)
	b = appendSetInt(b, `"timeout":`, f.Timeout)
	b = appendSetText(b, `"key":`, f.Key)
	b = appendSetText(b, `"group":`, f.Group)
	b = appendSet(b, `"refuse":`, f.Refuse)
	b = appendSet(b, `"again":`, f.Again)
	b = appendSet(b, `"debounce":`, f.Debounce)
	b = appendSet(b, `"held":`, f.Held)
	return closeObject(b)
}

func (r *record) appendJSON(b []byte) []byte {
	b = append(b, '{')
	b = appendText(b, `"id":`, r.ID)
	b = appendSetRaw(b, `"arg":`, r.Arg)
	b = appendSetInt(b, `"priority":`, r.Priority)
	b = appendSetText(b, `"key":`, r.Key)
	b = appendSetText(b, `"group":`, r.Group)
	b = appendSetUint(b, `"order":`, r.Order)
	b = appendSetInt(b, `"queued":`, r.Queued)
	b = appendSetInt(b, `"due":`, r.Due)
	b = appendSetInt(b, `"expires":`, r.Expires)
	b = appendSetInt(b, `"started":`, r.Started)
	b = appendSetInt(b, `"deadline":`, r.Deadline)
	b = appendSetInt(b, `"timeout":`, r.Timeout)
	b = appendSet(b, `"held":`, r.Held)
	b = appendSet(b, `"follows":`, r.Follows)
	b = appendSetInt(b, `"attempts":`, r.Attempts)
	b = appendSetUint(b, `"handOuts":`, r.HandOuts)
	b = appendSetInt(b, `"lost":`, r.Lost)
	b = appendSetText(b, `"worker":`, r.Worker)
	b = appendSetList(b, `"errs":`, r.Errs, appendFailure)
	b = appendSetText(b, `"from":`, r.From)
	b = appendSetList(b, `"watch":`, r.Watch, appendString)
	return closeObject(b)
}

func (e *effect) appendJSON(b []byte) []byte {
	b = append(b, '{')
	if e.Put != nil {
		b = append(e.Put.appendJSON(append(b, `"put":`...)), ',')
	}
	if e.Change != nil {
		b = append(e.Change.appendJSON(append(b, `"change":`...)), ',')
	}
	if e.End != nil {
		b = append(b, `"end":{`...)
		b = appendText(b, `"id":`, e.End.ID)
		b = appendText(b, `"state":`, e.End.State.String())
		b = append(closeObject(b), ',')
	}
	b = appendSetInt(b, `"joined":`, e.Joined)
	b = appendSetInt(b, `"refuse":`, e.Refuse)
	b = appendSet(b, `"retry":`, e.Retry)
	b = appendSet(b, `"snooze":`, e.Snooze)
	b = appendSetOther(b, `"config":`, e.Config)
	return closeObject(b)
}

func (m *batch) appendJSON(b []byte) []byte {
	b = append(b, '{')
	b = appendInt(b, `"v":`, m.Version)
	b = appendUint(b, `"number":`, m.Number)
	b = appendText(b, `"nonce":`, m.Nonce)
	b = appendSetOther(b, `"epoch":`, m.Epoch)
	b = appendSetInt(b, `"time":`, m.Time)
	b = appendSetUint(b, `"inbox":`, m.Inbox)
	b = appendSetInt(b, `"made":`, m.Made)
	b = appendSetList(b, `"effects":`, m.Effects, func(b []byte, e json.RawMessage) []byte { return append(b, e...) })
	b = appendSetOther(b, `"part":`, m.Part)
	return closeObject(b)
}

func (o *outcome) appendJSON(b []byte) []byte {
	b = append(b, '{')
	b = appendInt(b, `"v":`, o.Version)
	b = appendText(b, `"id":`, o.ID)
	b = appendText(b, `"state":`, o.State)
	b = appendSetRaw(b, `"value":`, o.Value)
	b = appendSetOther(b, `"error":`, o.Error)
	b = appendSetText(b, `"to":`, o.To)
	b = appendSetUint(b, `"attempt":`, o.Attempt)
	b = appendSetInt(b, `"attempts":`, o.Attempts)
	b = appendText(b, `"by":`, o.By)
	b = appendText(b, `"nonce":`, o.Nonce)
	return closeObject(b)
}

func (d doneReport) appendJSON(b []byte) []byte {
	b = append(d.Token.appendJSON(append(b, `{"token":`...)), ',')
	b = appendSetText(b, `"stored":`, d.Stored)
	b = appendSetUint(b, `"seq":`, d.Seq)
	b = appendSet(b, `"back":`, d.Back)
	b = appendSet(b, `"again":`, d.Again)
	b = appendSetInt(b, `"after":`, d.After)
	b = appendSet(b, `"counts":`, d.Counts)
	b = appendSetOther(b, `"error":`, d.Error)
	b = appendSet(b, `"notified":`, d.Notified)
	return closeObject(b)
}

func (m *request) appendJSON(b []byte) []byte {
	if m.Op != opDone {
		return append(b, marshal(m)...)
	}
	b = append(b, '{')
	b = appendInt(b, `"v":`, m.Version)
	b = appendText(b, `"op":`, m.Op)
	b = appendText(b, `"from":`, m.From)
	b = appendSetUint(b, `"inbox":`, m.Inbox)
	b = appendSetInt(b, `"made":`, m.Made)
	b = appendSetList(b, `"done":`, m.Done, func(b []byte, d doneReport) []byte { return d.appendJSON(b) })
	return closeObject(b)
}

func (a *assignment) appendJSON(b []byte) []byte {
	b = append(a.Token.appendJSON(append(b, `{"token":`...)), ',')
	b = appendUint(b, `"beat":`, a.Beat)
	b = appendRaw(b, `"arg":`, a.Arg)
	b = appendInt(b, `"attempts":`, a.Attempts)
	b = appendSetInt(b, `"left":`, a.Left)
	b = appendSetInt(b, `"timeout":`, a.Timeout)
	b = appendSetInt(b, `"elapsed":`, a.Elapsed)
	b = appendSetList(b, `"errs":`, a.Errs, appendFailure)
	b = appendText(b, `"from":`, a.From)
	return closeObject(b)
}

func (m *message) appendJSON(b []byte) []byte {
	b = append(b, '{')
	b = appendInt(b, `"v":`, m.Version)
	b = append(m.Term.appendJSON(append(b, `"term":`...)), ',')
	b = appendSetList(b, `"jobs":`, m.Jobs, func(b []byte, a *assignment) []byte { return a.appendJSON(b) })
	b = appendSetList(b, `"cancel":`, m.Cancel, appendToken)
	b = appendSetList(b, `"known":`, m.Known, appendToken)
	b = appendSetList(b, `"outcomes":`, m.Outcomes, func(b []byte, o *outcome) []byte { return o.appendJSON(b) })
	b = appendSetList(b, `"ended":`, m.Ended, appendString)
	b = appendSetList(b, `"taken":`, m.Taken, appendString)
	b = appendSetList(b, `"skipped":`, m.Skipped, func(b []byte, s skipped) []byte { return append(b, marshal(s)...) })
	return closeObject(b)
}

// decode reads a message, as json.Unmarshal does.
func decode[T any, P interface {
	*T
	read(*reader)
}](data []byte, v P) error {
	r := reader{data: data}
	v.read(&r)
	if !r.bad && r.pos == len(data) {
		return nil
	}
	var zero T
	*v = zero
	return json.Unmarshal(data, v)
}

// reader reads JSON as this package writes it. What is different makes it bad.
type reader struct {
	data  []byte
	pos   int
	bad   bool
	texts [8]string // the latest: many come again
	next  int       // of texts, to replace
}

func (r *reader) take(c byte) {
	if r.pos < len(r.data) && r.data[r.pos] == c {
		r.pos++
		return
	}
	r.bad = true
}

// has reads the key of a field, with the quotes and the colon, if it is next.
func (r *reader) has(key string) bool {
	at := r.pos
	if at == 0 || at >= len(r.data) {
		return false
	}
	if r.data[at-1] != '{' {
		if r.data[at] != ',' {
			return false
		}
		at++
	}
	end := at + len(key)
	if end > len(r.data) || string(r.data[at:end]) != key {
		return false
	}
	r.pos = end
	return true
}

func (r *reader) text() string {
	r.take('"')
	for i := r.pos; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case c == '"':
			data := r.data[r.pos:i]
			r.pos = i + 1
			for _, s := range r.texts {
				if s == string(data) {
					return s
				}
			}
			s := string(data)
			r.texts[r.next%len(r.texts)] = s
			r.next++
			return s
		case !plain(c):
			r.bad = true
			return ""
		}
	}
	r.bad = true
	return ""
}

func (r *reader) uint() uint64 {
	begin := r.pos
	n := uint64(0)
	for ; r.pos < len(r.data) && r.data[r.pos] >= '0' && r.data[r.pos] <= '9'; r.pos++ {
		n = 10*n + uint64(r.data[r.pos]-'0')
	}
	digits := r.pos - begin
	if digits == 0 || digits > 18 && n>>63 != 0 || digits > 19 || digits > 1 && r.data[begin] == '0' {
		r.bad = true // or too large to be sure
	}
	return n
}

func (r *reader) int() int64 {
	negative := r.pos < len(r.data) && r.data[r.pos] == '-'
	if negative {
		r.pos++
	}
	n := int64(r.uint())
	if n < 0 {
		r.bad = true
	}
	if negative {
		return -n
	}
	return n
}

func (r *reader) number() int {
	n := r.int()
	if int64(int(n)) != n {
		r.bad = true
	}
	return int(n)
}

func (r *reader) duration() time.Duration { return time.Duration(r.int()) }

func (r *reader) bool() bool {
	switch rest := r.data[min(r.pos, len(r.data)):]; {
	case bytes.HasPrefix(rest, []byte("true")):
		r.pos += len("true")
		return true
	case bytes.HasPrefix(rest, []byte("false")):
		r.pos += len("false")
	default:
		r.bad = true
	}
	return false
}

// raw reads any value.
func (r *reader) raw() json.RawMessage {
	begin, depth := r.pos, 0
value:
	for ; r.pos < len(r.data); r.pos++ {
		switch r.data[r.pos] {
		case '"':
			for r.pos++; r.pos < len(r.data) && r.data[r.pos] != '"'; r.pos++ {
				if r.data[r.pos] == '\\' {
					r.pos++
				}
			}
		case '{', '[':
			if depth++; depth > maxNesting {
				r.bad = true // encoding/json counts what is around it, too
				return nil
			}
		case '}', ']':
			if depth == 0 {
				break value
			}
			depth--
		case ',':
			if depth == 0 {
				break value
			}
		case ' ', '\t', '\r', '\n':
			if depth == 0 {
				r.bad = true
			}
		}
	}
	r.pos = min(r.pos, len(r.data))
	v := r.data[begin:r.pos]
	if !json.Valid(v) {
		r.bad = true
		return nil
	}
	return bytes.Clone(v)
}

// maxNesting is how deep objects and lists of an argument or a result may be in
// each other. encoding/json reads no more than 10,000, with those of the
// message: a scheduler that put a deeper argument into the journal would make
// it unreadable.
const maxNesting = 9900

// checkNesting returns an error if the JSON data is nested too deeply.
func checkNesting(data []byte) error {
	if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) <= maxNesting {
		return nil
	}
	if r := (reader{data: data}); r.raw() == nil {
		return fmt.Errorf("nested more than %d deep", maxNesting)
	}
	return nil
}

// readOther reads a value that few messages have.
func readOther[T any](r *reader) *T {
	data := r.raw()
	v := new(T)
	if r.bad || string(data) == "null" || json.Unmarshal(data, v) != nil {
		r.bad = true
		return nil
	}
	return v
}

func readList[T any](r *reader, one func(*reader) T) []T {
	r.take('[')
	list := []T{}
	for !r.bad {
		if r.pos < len(r.data) && r.data[r.pos] == ']' {
			break
		}
		if len(list) > 0 {
			r.take(',')
		}
		list = append(list, one(r))
	}
	r.take(']')
	return list
}

func readText(r *reader) string { return r.text() }

func readToken(r *reader) (t token) {
	t.read(r)
	return t
}

func (t *term) read(r *reader) {
	r.take('{')
	if r.has(`"journal":`) {
		t.Journal = r.int()
	}
	if r.has(`"epoch":`) {
		t.Epoch = r.uint()
	}
	r.take('}')
}

func (t *token) read(r *reader) {
	r.take('{')
	if r.has(`"id":`) {
		t.ID = r.text()
	}
	if r.has(`"n":`) {
		t.Number = r.uint()
	}
	r.take('}')
}

func (m *putMessage) read(r *reader) {
	r.take('{')
	if r.has(`"v":`) {
		m.Version = r.number()
	}
	if r.has(`"from":`) {
		m.From = r.text()
	}
	if r.has(`"again":`) {
		m.Again = r.bool()
	}
	if r.has(`"puts":`) {
		m.Puts = readList(r, func(r *reader) (p wirePut) {
			p.read(r)
			return p
		})
	}
	r.take('}')
}

func (p *wirePut) read(r *reader) {
	r.take('{')
	if r.has(`"jobs":`) {
		p.Jobs = readList(r, func(r *reader) (j putJob) {
			r.take('{')
			if r.has(`"id":`) {
				j.ID = r.text()
			}
			if r.has(`"arg":`) {
				j.Arg = r.raw()
			}
			r.take('}')
			return j
		})
	}
	if r.has(`"options":`) {
		if f := readOther[putFlags](r); f != nil {
			p.Options = *f
		}
	}
	r.take('}')
}

func (o *outcome) read(r *reader) {
	r.take('{')
	if r.has(`"v":`) {
		o.Version = r.number()
	}
	if r.has(`"id":`) {
		o.ID = r.text()
	}
	if r.has(`"state":`) {
		o.State = r.text()
	}
	if r.has(`"value":`) {
		o.Value = r.raw()
	}
	if r.has(`"error":`) {
		o.Error = readOther[failure](r)
	}
	if r.has(`"to":`) {
		o.To = r.text()
	}
	if r.has(`"attempt":`) {
		o.Attempt = r.uint()
	}
	if r.has(`"attempts":`) {
		o.Attempts = r.number()
	}
	if r.has(`"by":`) {
		o.By = r.text()
	}
	if r.has(`"nonce":`) {
		o.Nonce = r.text()
	}
	r.take('}')
}

func (m *request) read(r *reader) {
	r.take('{')
	if r.has(`"v":`) {
		m.Version = r.number()
	}
	if r.has(`"op":`) {
		m.Op = r.text()
	}
	if r.has(`"from":`) {
		m.From = r.text()
	}
	if r.has(`"done":`) {
		m.Done = readList(r, func(r *reader) (d doneReport) {
			d.read(r)
			return d
		})
	}
	r.take('}')
}

func (d *doneReport) read(r *reader) {
	r.take('{')
	if r.has(`"token":`) {
		d.Token.read(r)
	}
	if r.has(`"stored":`) {
		d.Stored = r.text()
	}
	if r.has(`"seq":`) {
		d.Seq = r.uint()
	}
	if r.has(`"back":`) {
		d.Back = r.bool()
	}
	if r.has(`"again":`) {
		d.Again = r.bool()
	}
	if r.has(`"after":`) {
		d.After = r.duration()
	}
	if r.has(`"counts":`) {
		d.Counts = r.bool()
	}
	if r.has(`"error":`) {
		d.Error = readOther[failure](r)
	}
	if r.has(`"notified":`) {
		d.Notified = r.bool()
	}
	r.take('}')
}

func (m *message) read(r *reader) {
	r.take('{')
	if r.has(`"v":`) {
		m.Version = r.number()
	}
	if r.has(`"term":`) {
		m.Term.read(r)
	}
	if r.has(`"jobs":`) {
		m.Jobs = readList(r, func(r *reader) *assignment {
			a := &assignment{}
			a.read(r)
			return a
		})
	}
	if r.has(`"cancel":`) {
		m.Cancel = readList(r, readToken)
	}
	if r.has(`"known":`) {
		m.Known = readList(r, readToken)
	}
	if r.has(`"outcomes":`) {
		m.Outcomes = readList(r, func(r *reader) *outcome {
			o := &outcome{}
			o.read(r)
			return o
		})
	}
	if r.has(`"ended":`) {
		m.Ended = readList(r, readText)
	}
	if r.has(`"taken":`) {
		m.Taken = readList(r, readText)
	}
	if r.has(`"skipped":`) {
		m.Skipped = readList(r, func(r *reader) (s skipped) {
			if other := readOther[skipped](r); other != nil {
				s = *other
			}
			return s
		})
	}
	r.take('}')
}

func (a *assignment) read(r *reader) {
	r.take('{')
	if r.has(`"token":`) {
		a.Token.read(r)
	}
	if r.has(`"beat":`) {
		a.Beat = r.uint()
	}
	if r.has(`"arg":`) {
		a.Arg = r.raw()
	}
	if r.has(`"attempts":`) {
		a.Attempts = r.number()
	}
	if r.has(`"left":`) {
		a.Left = r.duration()
	}
	if r.has(`"timeout":`) {
		a.Timeout = r.duration()
	}
	if r.has(`"elapsed":`) {
		a.Elapsed = r.duration()
	}
	if r.has(`"errs":`) {
		a.Errs = readList(r, func(r *reader) *failure { return readOther[failure](r) })
	}
	if r.has(`"from":`) {
		a.From = r.text()
	}
	r.take('}')
}
