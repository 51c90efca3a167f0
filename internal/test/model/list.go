package model

import "github.com/twillgo/twill"

// list is the state of the future of a list.
type list struct {
	ListOptions
	f       *Future
	members []*member
	results []twill.Result[int]
	missing int
	decided bool
	by      *member  // the member that decides; nil if all do
	asked   *failure // the cancel that is being passed to the members
}

// member is the listener of a list on one future.
type member struct {
	list *list
	i    int
	src  *Future
	link *listener
	ask  *failure // the list's cancel, as it was passed to src
}

// ListOptions determine how a list behaves.
type ListOptions struct {
	OnValue bool // the first value decides
	OnError bool // the first error decides
	Leaves  bool // it detaches from members that it no longer needs
	Takes   bool // it handles their errors, even later ones
	Ends    bool // a cancel that changes nothing ends it

	All func([]twill.Result[int]) (int, error) // nil for a list that is always decided by one result
	One func(i, v int) int                     // nil for the value itself
}

// NewList returns the future of a list.
func NewList(o ListOptions, fs ...*Future) *Future {
	l := &list{ListOptions: o, f: &Future{}, results: make([]twill.Result[int], len(fs)), missing: len(fs)}
	if len(fs) == 0 {
		if o.OnValue || o.All == nil {
			return Rejected(twill.ErrEmpty)
		}
		v, _ := o.All(nil)
		return Resolved(v)
	}
	l.f.list = l
	for i, f := range fs {
		m := &member{list: l, i: i, src: f, link: &listener{depends: true}}
		m.link.fire = m.fire
		l.members = append(l.members, m)
	}
	for _, m := range l.members {
		if !m.src.add(m.link) {
			m.fire(nil)
		} else if l.decided {
			m.part()
		}
	}
	return l.f
}

// fire records the member's result, or that a cancel has detached it.
func (m *member) fire(left *failure) *Future {
	l := m.list
	if l.decided {
		return nil
	}
	v, fail := m.src.val, m.src.fail
	if left != nil {
		v, fail = 0, left
	}
	switch {
	case fail == nil && l.OnValue:
		l.decided, l.by = true, m
		if l.One != nil {
			v = l.One(m.i, v)
		}
		return l.conclude(v, nil)
	case fail != nil && l.OnError:
		l.decided, l.by = true, m
		return l.conclude(0, &failure{err: &twill.IndexError{Index: m.i, Err: fail.err}})
	}
	l.results[m.i].Value = v
	if fail != nil {
		l.results[m.i] = twill.Result[int]{Err: fail.err}
	}
	if l.missing--; l.missing > 0 {
		return nil
	}
	l.decided = true
	l.answer()
	return l.f.publish(result(l.All(l.results)))
}

// conclude detaches from the members, and then settles the list.
func (l *list) conclude(v int, fail *failure) *Future {
	for _, m := range l.members {
		m.part()
	}
	if l.f.settled {
		return nil
	}
	l.answer()
	return l.f.publish(v, fail)
}

// answer records that the cancel which is passed to the members has caused the
// list's outcome, if it has caused the outcome of the member that decides, or
// of any member if all decide.
func (l *list) answer() {
	for _, m := range l.members {
		if l.asked != nil && (l.by == nil || l.by == m) && m.ask != nil && m.ask.answered {
			l.asked.answered = true
		}
	}
}

// part stops listening, because the list is decided.
func (m *member) part() {
	l := m.list
	switch {
	case l.Leaves && l.asked != nil:
		m.src.leave(m.link, l.asked)
	case l.Leaves:
		m.src.leave(m.link, request(twill.ErrNotNeeded))
	case l.asked == nil && m.link.on != nil && !m.src.settled:
		m.link.depends = false
		if !l.Takes {
			m.src.remove(m.link)
			return
		}
		m.src.remove(m.link) // it moves to the end
		m.src.add(m.link)
	}
}

// cancel passes a cancel of the list to its members, in their order.
func (l *list) cancel(fail *failure) bool {
	l.asked = fail
	won := false
	for _, m := range l.members {
		switch {
		case m.src.settled || m.link.on == nil:
		case m.src.Users() > 1:
			m.src.remove(m.link)
			own := fail.again()
			own.answered = true
			m.ask = own
			m.fire(fail).run()
			won = true
		default:
			m.ask = fail.again()
			if m.src.cancel(m.ask) {
				won = true
			}
		}
	}
	ends := l.Ends && !l.decided
	if !ends {
		l.asked = nil
	}
	switch {
	case ends:
		l.decided = true
		if fail.bound {
			l.conclude(0, fail).run()
			break
		}
		for _, m := range l.members {
			m.src.remove(m.link)
		}
		l.f.publish(0, fail).run()
	case l.decided && !l.Leaves:
		for _, m := range l.members {
			m.part()
		}
	}
	return won
}
