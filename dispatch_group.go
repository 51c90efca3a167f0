package twill

import (
	"errors"
	"iter"
	"math"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill/internal/clock"
	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
)

// GroupLimit bounds the jobs of one group of a [ResizableDispatchQueue], such
// as those of one host or one user. The zero value means no limit.
type GroupLimit struct {
	// Width is the maximum number of jobs of the group underway; 0 means no limit.
	Width int `json:"width,omitempty"`

	// Rate is the maximum number of calls of the group's jobs that start per
	// second; 0 means no limit. Retries and calls after a Snooze count too.
	Rate float64 `json:"rate,omitempty"`

	// Burst is the maximum number of calls that start at once after a quiet time,
	// if there is a Rate; 0 means 1.
	Burst int `json:"burst,omitempty"`

	// Paused keeps jobs of the group from starting.
	Paused bool `json:"paused,omitempty"`
}

// check returns an error that names the field if l is invalid.
func (l GroupLimit) check() error {
	switch {
	case l.Width < 0:
		return errors.New("twill: GroupLimit: Width must not be negative")
	case !(l.Rate >= 0) || math.IsInf(l.Rate, 0):
		return errors.New("twill: GroupLimit: Rate must be a finite number and not negative")
	case l.Burst < 0:
		return errors.New("twill: GroupLimit: Burst must not be negative")
	}
	return nil
}

// longest bounds intervals, so that the sum of a few does not overflow.
const longest = time.Duration(math.MaxInt64 / 8)

// interval is the time between two starts.
func (l GroupLimit) interval() time.Duration {
	d := float64(time.Second) / l.Rate
	if d >= float64(longest) {
		return longest
	}
	return max(time.Duration(d), 1)
}

// span is the time of Burst intervals.
func (l GroupLimit) span() time.Duration {
	burst, each := time.Duration(max(l.Burst, 1)), l.interval()
	if burst > longest/each {
		return longest
	}
	return burst * each
}

// SetGroupLimit sets the limit of one group, in place of
// DispatchOptions.GroupLimit. It holds from now on: calls that are running are
// not interrupted, and a wider limit starts jobs at once. The limit is kept
// while the group has no jobs, until [ResizableDispatchQueue.ResetGroupLimit].
// SetGroupLimit returns an error for a limit with a negative field and for an
// empty name, and [ErrStopped] after a stop.
func (q *ResizableDispatchQueue[A, R]) SetGroupLimit(group string, limit GroupLimit) error {
	if err := limit.check(); err != nil {
		return err
	}
	if group == "" {
		return errNoGroup
	}
	now := q.lock()
	defer q.commit(now)
	if q.stopped {
		return ErrStopped
	}
	g := q.groupLocked(group)
	g.limit = &limit
	q.limitChangedLocked(g, now)
	q.emitLocked(EventGroup, nil)
	return nil
}

var errNoGroup = errors.New("twill: SetGroupLimit: group must not be empty")

// SetGroupLimits changes the limit of all groups without their own limit. It
// takes time in proportion to the number of groups that have jobs.
func (q *ResizableDispatchQueue[A, R]) SetGroupLimits(limit GroupLimit) error {
	if err := limit.check(); err != nil {
		return err
	}
	now := q.lock()
	defer q.commit(now)
	if q.stopped {
		return ErrStopped
	}
	q.groups.limit = limit
	for _, g := range q.groups.byName {
		if !g.own() {
			q.limitChangedLocked(g, now)
		}
	}
	q.emitLocked(EventGroup, nil)
	return nil
}

// ResetGroupLimit removes a group's own limit. The group then has the limit of
// SetGroupLimits or, if that was not called, of DispatchOptions.GroupLimit. It
// returns [ErrStopped] after a stop.
func (q *ResizableDispatchQueue[A, R]) ResetGroupLimit(group string) error {
	now := q.lock()
	defer q.commit(now)
	if q.stopped {
		return ErrStopped
	}
	if g := q.groups.byName[group]; g != nil && g.own() && group != "" {
		g.limit = &q.groups.limit
		q.limitChangedLocked(g, now)
		q.emitLocked(EventGroup, nil)
	}
	return nil
}

// GroupLimits returns the limit of all groups without their own limit.
func (q *ResizableDispatchQueue[A, R]) GroupLimits() GroupLimit {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.groups.limit
}

// GroupStats are the numbers of one group of a [ResizableDispatchQueue].
type GroupStats struct {
	Limit GroupLimit
	Own   bool // the limit was set by SetGroupLimit

	Jobs     int // jobs that have not ended
	Underway int // calls that have not returned
	Due      int // pending jobs that are due

	// Held reports whether the limit keeps a job that is due from starting.
	Held bool

	// Since is the time since which at least one job of the group has been due.
	// NextSince is the time since which the job that starts next has been due.
	// Both are the zero time if no job is due.
	Since, NextSince time.Time
}

// Groups yields the names and the numbers of the groups that have jobs or their
// own limit, in no particular order. It holds the lock of q for 1000 groups at
// a time, and not while the body of the loop runs. The numbers of different
// groups are therefore of slightly different times. Each iteration begins anew.
func (q *ResizableDispatchQueue[A, R]) Groups() iter.Seq2[string, GroupStats] {
	type group struct {
		name  string
		stats GroupStats
	}
	return func(yield func(string, GroupStats) bool) {
		var part []group
		yieldAll := func() bool {
			for _, g := range part {
				if !yield(g.name, g.stats) {
					return false
				}
			}
			part = part[:0]
			return true
		}
		now := q.lock()
		for name, g := range q.groups.byName { // the map may change while the lock is not held
			if len(part) == maxGroups {
				q.mu.Unlock()
				if !yieldAll() {
					return
				}
				now = q.lock()
			}
			if name != "" && (g.jobs > 0 || g.running > 0 || g.own()) {
				part = append(part, group{name, q.groupStatsLocked(g, now)})
			}
		}
		q.mu.Unlock()
		yieldAll()
	}
}

// maxGroups is how many groups are looked at while the lock is held.
const maxGroups = 1000

func (q *ResizableDispatchQueue[A, R]) groupStatsLocked(g *jobGroup[A, R], now instant) GroupStats {
	s := GroupStats{Limit: *g.limit, Own: g.own(), Jobs: g.jobs, Underway: g.running, Due: g.heap.Len()}
	next := g.head
	switch {
	case next != nil:
		s.Due++
	case g.heap.Len() > 0:
		next = g.heap.Peek().Item
		s.Held = !g.open(now)
	}
	if next != nil {
		s.Since, s.NextSince = q.clock.Time(g.since), q.clock.Time(next.since())
	}
	return s
}

// groupTable holds the groups of a queue that have jobs, their own limit, or a
// start that their rate still counts.
//
// Jobs of a group that are due wait in the group's own heap. Only the first of
// them, the head, is in the queue's pending, and only while the group is open.
// The next job to start is therefore always the first of pending, whatever the
// number of groups.
type groupTable[A, R any] struct {
	none    jobGroup[A, R] // of the jobs without a group; only its q is used
	limit   GroupLimit     // of groups without their own limit
	byName  map[string]*jobGroup[A, R]
	last    *jobGroup[A, R]                                  // found last, and still in byName
	waiting int                                              // jobs in the groups' heaps
	behind  list.By[*jobGroup[A, R], groupLinks[A, R]]       // groups with jobs in their heaps
	timed   heap.By[*jobGroup[A, R], groupTimedPlaces[A, R]] // groups to update later, by that time
	lines   heap.By[*jobGroup[A, R], groupLinePlaces[A, R]]  // groups in which a PutWait may use a free slot, by the place in line of the first PutWait
	seq     uint64                                           // number of the last group
	turns   uint64                                           // number of the last turn
}

// jobGroup is one group. The fields that most changes read are in its first two
// cache lines.
type jobGroup[A, R any] struct {
	q        *ResizableDispatchQueue[A, R]
	limit    *GroupLimit                                    // the groupTable's, or its own
	jobs     int                                            // number of jobs that have not ended
	running  int                                            // number of calls that have not returned
	reserved int                                            // number of PutWaits that were admitted to use a free slot, and have not put their jobs yet
	head     *Job[A, R]                                     // the job in q.pending
	waiters  *heap.By[*putWaiter[A, R], waiterPlaces[A, R]] // PutWaits that are due; nil if there are none
	turn     uint64                                         // the turn since which it waits for a start, if groups take turns

	heap        jobHeap[A, R] // other jobs that are due
	behindLinks list.Links[*jobGroup[A, R]]
	timedPlace  heap.Place
	linePlace   heap.Place
	next        instant // with a rate: the time at which the next job would start without a burst

	since instant // the time since which at least one job has been due
	name  string
	seq   uint64 // its number
}

type (
	groupLinks[A, R any]       struct{}
	groupTimedPlaces[A, R any] struct{}
	groupLinePlaces[A, R any]  struct{}
)

func (groupLinks[A, R]) Links(g *jobGroup[A, R]) *list.Links[*jobGroup[A, R]] {
	return &g.behindLinks
}

func (groupTimedPlaces[A, R]) Place(g *jobGroup[A, R]) *heap.Place { return &g.timedPlace }

func (groupLinePlaces[A, R]) Place(g *jobGroup[A, R]) *heap.Place { return &g.linePlace }

// find returns the group with the given name, or nil.
func (t *groupTable[A, R]) find(name string) *jobGroup[A, R] {
	if t.last == nil || t.last.name != name {
		t.last = t.byName[name]
	}
	return t.last
}

// usable returns how many more jobs of a group the group itself allows to start
// now.
func (t *groupTable[A, R]) usable(name string, now instant) int {
	g := t.find(name)
	switch {
	case g != nil:
	case name == "":
		return math.MaxInt
	default:
		g = &jobGroup[A, R]{limit: &t.limit}
	}
	return g.usable(now)
}

// own reports whether the limit of g was set for g alone.
func (g *jobGroup[A, R]) own() bool { return g.limit != &g.q.groups.limit }

// usable returns how many more jobs of g may start now, as far as g allows it.
func (g *jobGroup[A, R]) usable(now instant) int {
	if g.heap.Len() > 0 || g.limit.Paused {
		return 0
	}
	n := math.MaxInt
	if g.limit.Width > 0 {
		n = g.limit.Width - g.running
	}
	if g.limit.Rate > 0 {
		left := now.Add(g.limit.span()).Sub(max(g.next, now))
		n = min(n, int(min(left/g.limit.interval(), math.MaxInt32)))
	}
	if g.head != nil {
		n--
	}
	return max(n-g.reserved, 0)
}

// open reports whether a job of g may start now.
func (g *jobGroup[A, R]) open(now instant) bool {
	return !g.limit.Paused && (g.limit.Width == 0 || g.running < g.limit.Width) && g.opens() <= now
}

// opens returns the time from which the rate lets a job start.
func (g *jobGroup[A, R]) opens() instant {
	if g.limit.Rate == 0 {
		return 0
	}
	return g.next.Add(g.limit.interval() - g.limit.span())
}

// groupLocked returns the group with the given name.
func (q *ResizableDispatchQueue[A, R]) groupLocked(name string) *jobGroup[A, R] {
	t := &q.groups
	g := t.find(name)
	if g == nil {
		t.seq++
		g = &jobGroup[A, R]{q: q, name: name, seq: t.seq, limit: &t.limit}
		if name == "" { // jobs without a group, if groups take turns
			g.limit = new(GroupLimit)
		}
		if t.byName == nil {
			t.byName = make(map[string]*jobGroup[A, R])
		}
		t.byName[name] = g
		t.last = g
	}
	return g
}

// joinGroupLocked makes j a job of the group.
func (q *ResizableDispatchQueue[A, R]) joinGroupLocked(j *Job[A, R], name string) {
	g := q.groupLocked(name)
	g.jobs++
	j.home = g
}

// limitChangedLocked is called after a change of the limit of g.
func (q *ResizableDispatchQueue[A, R]) limitChangedLocked(g *jobGroup[A, R], now instant) {
	if g.limit.Rate > 0 { // what a slower rate has counted must not outlast it
		g.next = min(g.next, now.Add(g.limit.span()))
	}
	q.updateGroupLocked(g, now)
}

// pushGroupLocked adds j, which is due, to where jobs of its group wait.
func (q *ResizableDispatchQueue[A, R]) pushGroupLocked(g *jobGroup[A, R], j *Job[A, R], now instant) {
	if g.head == nil && g.heap.Len() == 0 {
		q.groups.turns++
		g.turn = q.groups.turns
		g.since = now
	}
	q.pushAgainLocked(g, j, now)
}

// pushAgainLocked is pushGroupLocked for a job that has waited here before: its
// group keeps its turn.
func (q *ResizableDispatchQueue[A, R]) pushAgainLocked(g *jobGroup[A, R], j *Job[A, R], now instant) {
	key := q.keyLocked(j)
	switch {
	case g.head != nil:
		if key.Before(q.keyLocked(g.head)) {
			q.putBackLocked(g)
		}
	case g.heap.Len() == 0 && g.open(now):
		q.setHeadLocked(g, heap.Entry[*Job[A, R]]{Key: key, Item: j})
		q.updateGroupLocked(g, now)
		return
	}
	g.heap.Push(j, key)
	q.groups.waiting++
	q.updateGroupLocked(g, now)
}

// setHeadLocked makes a job the head of g, which has none.
func (q *ResizableDispatchQueue[A, R]) setHeadLocked(g *jobGroup[A, R], e heap.Entry[*Job[A, R]]) {
	g.head = e.Item
	if q.opts.TakeTurns && q.opts.Ageing == 0 {
		e.Seq = g.turn
	}
	q.pending.Push(e.Item, e.Key)
}

// putBackLocked moves the head of g back to the other jobs.
func (q *ResizableDispatchQueue[A, R]) putBackLocked(g *jobGroup[A, R]) {
	q.pending.Remove(g.head)
	g.heap.Push(g.head, q.keyLocked(g.head))
	q.groups.waiting++
	g.head = nil
}

// removeFromGroupLocked removes j, which is due, from where it waits. The
// caller updates the group.
func (q *ResizableDispatchQueue[A, R]) removeFromGroupLocked(g *jobGroup[A, R], j *Job[A, R]) {
	if g.head == j {
		q.pending.Remove(j)
		g.head = nil
		return
	}
	g.heap.Remove(j)
	q.groups.waiting--
}

// startInGroupLocked counts a call that starts.
func (q *ResizableDispatchQueue[A, R]) startInGroupLocked(g *jobGroup[A, R], now instant) {
	g.running++
	if g.limit.Rate > 0 {
		g.next = max(g.next, now).Add(g.limit.interval())
	}
	q.groups.turns++
	g.turn = q.groups.turns
	q.updateGroupLocked(g, now)
}

// updateGroupLocked is called after every change of g. It keeps the head in
// pending while g is open, and schedules the next update if the passing of time
// opens g.
func (q *ResizableDispatchQueue[A, R]) updateGroupLocked(g *jobGroup[A, R], now instant) {
	t := &q.groups
	open := g.open(now)
	switch {
	case !open && g.head != nil:
		q.putBackLocked(g)
	case open && g.head == nil && g.heap.Len() > 0:
		t.waiting--
		q.setHeadLocked(g, g.heap.Pop())
	}

	if g.heap.Len() == 0 {
		t.behind.Remove(g)
	} else if !t.behind.Has(g) {
		t.behind.PushBack(g)
	}

	waits := g.waiters != nil
	if t.lines.Has(g) {
		t.lines.Remove(g)
	}
	if waits && g.usable(now) > 0 {
		t.lines.Push(g, g.waiters.Peek().Key)
	}

	var at instant // the time of the next update
	switch {
	case !open && !g.limit.Paused && (g.heap.Len() > 0 || waits):
		if opens := g.opens(); opens > now {
			at = opens
		}
	case g.jobs == 0 && g.running == 0 && g.reserved == 0 && !waits && !g.own():
		if g.next > now {
			at = g.next
			break
		}
		delete(t.byName, g.name)
		t.last = nil
		if len(t.byName) == 0 {
			t.byName = nil // a map keeps the memory that it once had
		}
	}
	switch {
	case at == 0 && t.timed.Has(g):
		t.timed.Remove(g)
	case at != 0 && t.timed.Has(g):
		t.timed.Reprioritize(g, int64(at))
	case at != 0:
		t.timed.Push(g, heap.Key{Priority: int64(at), Seq: g.seq})
	}
	if at != 0 {
		q.setDueTimerLocked(now)
	}
}

// putLine has the PutWaits that wait for room, in their order. No operation
// iterates over all of it.
type putLine[A, R any] struct {
	all    list.By[*putWaiter[A, R], waiterLinks[A, R]]
	slot   heap.By[*putWaiter[A, R], waiterPlaces[A, R]] // PutWaits that may use a free slot; for those of groups see groupTable.lines
	notDue heap.By[*putWaiter[A, R], waiterPlaces[A, R]] // PutWaits with a delay, by due time
	keys   map[string]*keyLine[A, R]                     // PutWaits with a key
	number uint64                                        // number of the last PutWait

	claimed  []string // keys whose jobs PutWaits may join since the last joinWaitersLocked
	reserved int      // number of PutWaits that were admitted and have not put their jobs yet, at most one
}

// keyLine has the PutWaits of one key.
type keyLine[A, R any] struct {
	runs  list.By[*putWaiter[A, R], waiterKeyLinks[A, R]] // those that ask for a run after a job that is underway
	joins list.By[*putWaiter[A, R], waiterKeyLinks[A, R]] // the others, which join any job
	due   map[string]*dueLine[A, R]                       // those that are due, by group
}

// of returns the list to which w belongs.
func (l *keyLine[A, R]) of(w *putWaiter[A, R]) *list.By[*putWaiter[A, R], waiterKeyLinks[A, R]] {
	if w.opts.Again && !w.opts.Refuse {
		return &l.runs
	}
	return &l.joins
}

// dueLine has the PutWaits of one key and one group that are due. If no job has
// the key, the first of them may use a free slot, and the others will join its
// job. While a job has the key, none may: a job that has to run after that job
// needs room like any pending job.
type dueLine[A, R any] struct {
	first  *putWaiter[A, R] // it may use a free slot; nil if there is none
	parked heap.By[*putWaiter[A, R], waiterPlaces[A, R]]
}

// putWaiter is one waiting PutWait.
//
// The goroutine that makes room admits it. Its context may have ended, and only
// the waiting goroutine may ask the context. Room is therefore reserved for the
// putWaiter, and the waiting goroutine puts the job or passes the room on to
// the next in line.
type putWaiter[A, R any] struct {
	job    *Job[A, R] // the job to be put, or the job that stands for the put
	opts   *JobOptions
	err    error
	number uint64          // its place in line
	group  *jobGroup[A, R] // its group, while it may use a free slot

	// Set when it is admitted.
	reserves *jobGroup[A, R] // the group of the slot that is reserved for it, if that is in a group
	seq      uint64          // the number reserved for the job; 0 before it was admitted
	put      bool            // job or err is the result
	done     chan struct{}   // closed when it is admitted or put

	links    list.Links[*putWaiter[A, R]]
	keyLinks list.Links[*putWaiter[A, R]]
	place    heap.Place
}

type (
	waiterLinks[A, R any]    struct{}
	waiterKeyLinks[A, R any] struct{}
	waiterPlaces[A, R any]   struct{}
)

func (waiterLinks[A, R]) Links(w *putWaiter[A, R]) *list.Links[*putWaiter[A, R]] {
	waiterVisited()
	return &w.links
}

func (waiterKeyLinks[A, R]) Links(w *putWaiter[A, R]) *list.Links[*putWaiter[A, R]] {
	waiterVisited()
	return &w.keyLinks
}

func (waiterPlaces[A, R]) Place(w *putWaiter[A, R]) *heap.Place {
	waiterVisited()
	return &w.place
}

// waiterVisits, if not nil, counts the steps from one PutWait in a line to
// another. It is for tests.
var waiterVisits atomic.Pointer[atomic.Int64]

func waiterVisited() {
	if n := waiterVisits.Load(); n != nil {
		n.Add(1)
	}
}

// joinLineLocked adds w, whose job found no room, to the end of the line.
func (q *ResizableDispatchQueue[A, R]) joinLineLocked(w *putWaiter[A, R], now instant) {
	l := &q.line
	l.number++
	w.number = l.number
	l.all.PushBack(w)
	if key := w.opts.key(); key != "" {
		if l.keys == nil {
			l.keys = make(map[string]*keyLine[A, R])
		}
		if l.keys[key] == nil {
			l.keys[key] = new(keyLine[A, R])
		}
		l.keys[key].of(w).PushBack(w)
	}
	m := w.job.extra.Load()
	switch {
	case m != nil && m.held:
	case m != nil && m.due > now:
		l.notDue.Push(w, heap.Key{Priority: int64(min(m.due, clock.Never-1)), Seq: w.number})
		q.setDueTimerLocked(now)
	default:
		q.mayUseSlotLocked(w, now)
	}
}

// mayUseSlotLocked records that the job of w is due.
func (q *ResizableDispatchQueue[A, R]) mayUseSlotLocked(w *putWaiter[A, R], now instant) {
	name := w.opts.groupName()
	if key := w.opts.key(); key != "" {
		line := q.line.keys[key].dueIn(name)
		switch first := line.first; {
		case q.keys[key] != nil || first != nil && first.number < w.number:
			line.parked.Push(w, heap.Key{Seq: w.number})
			return
		case first != nil:
			q.parkLocked(line, now)
		}
		line.first = w
	}
	if !q.isGroup(name) {
		q.line.slot.Push(w, heap.Key{Seq: w.number})
		return
	}
	w.group = q.groupLocked(name)
	if w.group.waiters == nil {
		w.group.waiters = new(heap.By[*putWaiter[A, R], waiterPlaces[A, R]])
	}
	w.group.waiters.Push(w, heap.Key{Seq: w.number})
	q.updateGroupLocked(w.group, now)
}

// leaveSlotLocked removes w, which may not be due, from where PutWaits wait for
// their due time or a free slot.
func (q *ResizableDispatchQueue[A, R]) leaveSlotLocked(w *putWaiter[A, R], now instant) {
	l := &q.line
	switch {
	case w.group != nil:
		g := w.group
		w.group = nil
		if g.waiters.Remove(w); g.waiters.Len() == 0 {
			g.waiters = nil
		}
		q.updateGroupLocked(g, now)
	case l.notDue.Has(w):
		l.notDue.Remove(w)
	case l.slot.Has(w):
		l.slot.Remove(w)
	}
}

// dueIn returns the line of the PutWaits in a group that are due.
func (l *keyLine[A, R]) dueIn(group string) *dueLine[A, R] {
	if l.due[group] == nil {
		if l.due == nil {
			l.due = make(map[string]*dueLine[A, R])
		}
		l.due[group] = new(dueLine[A, R])
	}
	return l.due[group]
}

// parkLocked keeps the first PutWait in line from using a free slot, if there
// is one.
func (q *ResizableDispatchQueue[A, R]) parkLocked(line *dueLine[A, R], now instant) {
	if w := line.first; w != nil {
		line.first = nil
		q.leaveSlotLocked(w, now)
		line.parked.Push(w, heap.Key{Seq: w.number})
	}
}

// unparkLocked lets the first PutWait in line use a free slot, if no job has
// its key.
func (q *ResizableDispatchQueue[A, R]) unparkLocked(line *dueLine[A, R], now instant) {
	if line.first == nil && line.parked.Len() > 0 && q.keys[line.parked.Peek().Item.opts.Key] == nil {
		q.mayUseSlotLocked(line.parked.Pop().Item, now)
	}
}

// leaveLine is called when the wait of w has ended, and puts its job if it was
// admitted. It reports whether w has a result: it has none if ctx ended first,
// which the caller checks.
func (q *ResizableDispatchQueue[A, R]) leaveLine(w *putWaiter[A, R], ended bool) (ok bool) {
	now := q.lock()
	defer q.commit(now)
	switch {
	case w.put:
		return true
	case w.seq == 0:
		q.removeWaiterLocked(w, now)
	default:
		q.line.reserved--
		if g := w.reserves; g != nil {
			g.reserved--
			q.updateGroupLocked(g, now)
		}
	}
	if ended {
		q.stats.Refused++
		return false
	}
	w.job, w.err = q.putAdmittedLocked(w, now)
	return true
}

// putAdmittedLocked puts the job of w, for which there is room.
func (q *ResizableDispatchQueue[A, R]) putAdmittedLocked(w *putWaiter[A, R], now instant) (*Job[A, R], error) {
	j, o := w.job, w.opts
	if q.stopped || q.closing {
		q.stats.Refused++
		return nil, ErrStopped
	}
	if key := o.key(); key != "" {
		if old := q.keys[key]; old != nil {
			if q.needsRunLocked(old, o) && !o.Refuse {
				q.followLocked(old, j, o, w.seq, now)
				return j, nil
			}
			return q.joinLocked(old, j, o, now)
		}
	}
	usable := q.usableLocked(j, o, now)
	q.acceptLocked(j, o, w.seq, now)
	if usable > 0 && q.startsAtOnceLocked(j, now) {
		q.rate.permit = false
		q.startLocked(j, now)
	} else {
		q.enqueueLocked(j, now)
	}
	return j, nil
}

// removeWaiterLocked removes w from the line.
func (q *ResizableDispatchQueue[A, R]) removeWaiterLocked(w *putWaiter[A, R], now instant) {
	l := &q.line
	l.all.Remove(w)
	key, group := w.opts.key(), w.opts.groupName()
	line := l.keys[key]
	if line == nil {
		q.leaveSlotLocked(w, now)
		return
	}
	line.of(w).Remove(w)
	if line.runs.Len()+line.joins.Len() == 0 {
		delete(l.keys, key)
	}
	due := line.due[group]
	switch {
	case due == nil: // it is not due
		q.leaveSlotLocked(w, now)
	case due.parked.Has(w):
		due.parked.Remove(w)
	default:
		q.leaveSlotLocked(w, now)
		if due.first == w {
			due.first = nil
			q.unparkLocked(due, now)
		}
	}
	if due != nil && due.first == nil && due.parked.Len() == 0 {
		delete(line.due, group)
	}
}

// admitWaitersLocked admits the next PutWait if there is room. The PutWait
// after it is admitted only after that one has put its job or given up, so that
// jobs are put in their order.
func (q *ResizableDispatchQueue[A, R]) admitWaitersLocked(now instant) {
	if q.line.reserved > 0 {
		return
	}
	if w := q.nextWaiterLocked(); w != nil {
		if w.reserves = w.group; w.reserves != nil {
			w.reserves.reserved++
		}
		q.removeWaiterLocked(w, now)
		q.seq++
		w.seq = q.seq
		q.line.reserved++
		close(w.done)
	}
}

// nextWaiterLocked returns the first PutWait for which there is room, if there
// is one. A PutWait that may use a free slot does not wait for one that may
// not.
func (q *ResizableDispatchQueue[A, R]) nextWaiterLocked() *putWaiter[A, R] {
	first, ok := q.line.all.Front()
	if !ok || q.roomLocked(0) > 0 {
		return first
	}
	if q.roomLocked(1) == 0 {
		return nil
	}
	return q.nextForSlotLocked()
}

// nextForSlotLocked returns the first PutWait that may use a free slot, if
// there is one.
func (q *ResizableDispatchQueue[A, R]) nextForSlotLocked() (first *putWaiter[A, R]) {
	if q.line.slot.Len() > 0 {
		first = q.line.slot.Peek().Item
	}
	if q.groups.lines.Len() > 0 {
		if w := q.groups.lines.Peek().Item.waiters.Peek().Item; first == nil || w.number < first.number {
			return w
		}
	}
	return first
}

// joinWaitersLocked makes waiting PutWaits join the jobs with their keys, where
// letJoinLocked says that they may.
func (q *ResizableDispatchQueue[A, R]) joinWaitersLocked(now instant) {
	claimed := q.line.claimed
	q.line.claimed = nil
	for _, key := range claimed {
		for w := q.nextToJoinLocked(key); w != nil; w = q.nextToJoinLocked(key) {
			q.removeWaiterLocked(w, now)
			w.job, w.err = q.joinLocked(q.keys[key], w.job, w.opts, now)
			w.put = true
			close(w.done)
		}
	}
}

// nextToJoinLocked returns the first PutWait that joins the job with its key,
// if there is one. A PutWait whose job has to run after that job does not join:
// it needs room, for which it waits in its turn.
func (q *ResizableDispatchQueue[A, R]) nextToJoinLocked(key string) *putWaiter[A, R] {
	old, line := q.keys[key], q.line.keys[key]
	if old == nil || line == nil {
		return nil
	}
	first, ok := line.joins.Front()
	if w, has := line.runs.Front(); has && !q.needsRunLocked(old, w.opts) && (!ok || w.number < first.number) {
		return w
	}
	return first
}

// refuseWaitersLocked refuses all waiting PutWaits, because the queue is
// stopped.
func (q *ResizableDispatchQueue[A, R]) refuseWaitersLocked(now instant) {
	for w, ok := q.line.all.Front(); ok; w, ok = q.line.all.Front() {
		q.removeWaiterLocked(w, now)
		q.stats.Refused++
		w.job, w.err, w.put = nil, ErrStopped, true
		close(w.done)
	}
}
