package admin

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

// Bounds of groups.
const (
	maxGroupScan    = 100_000 // groups of one queue that are scanned for a list
	maxGroupChanges = 1000    // groups of one queue whose changes are kept
)

// groupView is a group of jobs as the API shows it.
type groupView struct {
	Name      string     `json:"name"`
	Own       bool       `json:"own"` // the group has its own limit
	Limit     limitView  `json:"limit"`
	Jobs      int        `json:"jobs"`
	Underway  int        `json:"underway"`
	Due       int        `json:"due"`
	Held      bool       `json:"held"`       // the limit keeps a job that is due from starting
	Since     *time.Time `json:"since"`      // the time since which a job has been due; null if none is due
	NextSince *time.Time `json:"next_since"` // the time since which the next job has been due; null if none is due
}

// limitView is the limit of a group as the API shows it.
type limitView struct {
	Paused    bool   `json:"paused"`
	Width     any    `json:"width"`      // a number or "unlimited"
	PerSecond any    `json:"per_second"` // likewise
	Burst     int    `json:"burst"`
	Text      string `json:"text"`
}

func viewLimit(l twill.GroupLimit) limitView {
	v := limitView{Paused: l.Paused, Width: "unlimited", PerSecond: "unlimited", Burst: l.Burst, Text: limitText(l)}
	if l.Width > 0 {
		v.Width = l.Width
	}
	if l.Rate > 0 {
		v.PerSecond = l.Rate
		v.Burst = max(l.Burst, 1)
	}
	return v
}

// limitText describes a limit.
func limitText(l twill.GroupLimit) string {
	var words []string
	if l.Paused {
		words = append(words, "paused")
	}
	if l.Width > 0 {
		words = append(words, fmt.Sprint("width ", l.Width))
	}
	if l.Rate > 0 {
		words = append(words, fmt.Sprintf("%g per second, burst %d", l.Rate, max(l.Burst, 1)))
	}
	if len(words) == 0 {
		return "unlimited"
	}
	return strings.Join(words, ", ")
}

// groupList is a list of groups: first the groups that their limit holds back,
// then those with the most jobs.
type groupList struct {
	Groups []groupView `json:"groups"`
	Total  int         `json:"total"` // groups that were scanned
	Common limitView   `json:"common"`
}

// groupsOf returns up to n groups of e whose names contain search. It is nil if
// e is not [Grouped].
func groupsOf(e *entry, search string, n int) (l *groupList, err error) {
	defer containPanic(&err)
	q, ok := e.q.(Grouped)
	if !ok {
		return nil, nil
	}
	l = &groupList{Groups: []groupView{}, Common: viewLimit(q.GroupLimits())}
	search = strings.ToLower(search)
	for name, g := range q.Groups() {
		if l.Total == maxGroupScan {
			break
		}
		l.Total++
		if !containsFold(name, search) {
			continue
		}
		v := groupView{Name: name, Own: g.Own, Limit: viewLimit(g.Limit), Jobs: g.Jobs, Underway: g.Underway, Due: g.Due, Held: g.Held,
			Since: timeOrNil(g.Since), NextSince: timeOrNil(g.NextSince)}
		at, _ := slices.BinarySearchFunc(l.Groups, v, compareGroups)
		if at < n {
			l.Groups = slices.Insert(l.Groups, at, v)
			l.Groups = l.Groups[:min(len(l.Groups), n)]
		}
	}
	return l, nil
}

func compareGroups(a, b groupView) int {
	held := func(v groupView) int {
		if v.Held {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(held(a), held(b)), cmp.Compare(b.Due, a.Due), cmp.Compare(b.Jobs, a.Jobs), cmp.Compare(a.Name, b.Name))
}

func (rq *request) getGroups() {
	q := rq.r.URL.Query()
	limit := 100
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			rq.failWith(badCommand{fmt.Sprintf("limit that is not from 1 to %d", maxPage)})
			return
		}
		limit = n
	}
	l, err := groupsOf(rq.entry, q.Get("search"), limit)
	if err == nil && l == nil {
		err = errNotOffered
	}
	if err != nil {
		rq.failWith(err)
		return
	}
	rq.send(http.StatusOK, l)
}

// setGroup changes the limit of one group, or of all groups without their own
// limit. Fields that a does not set stay as they are.
func (p *Page) setGroup(e *entry, who string, a args, d time.Duration, o *outcome) error {
	q, ok := e.q.(Grouped)
	if !ok {
		return errNotOffered
	}
	switch {
	case (a.Group == "") != a.All:
		return badCommand{`either "group" or "all": true must be said`}
	case len(a.Group) > maxID:
		return badCommand{fmt.Sprintf("group name of %d bytes", len(a.Group))}
	case a.Reset && (a.All || a.Width != nil || a.PerSecond != nil || a.Paused != nil):
		return badCommand{`"reset" takes the limit of its own from one group, and nothing else`}
	case !a.Reset && a.Width == nil && a.PerSecond == nil && a.Paused == nil:
		return badCommand{"a group's limit without width, per_second, paused or reset"}
	}
	e.changes.step.Lock()
	defer e.changes.step.Unlock()
	setting, name := "groups", "all groups without a limit of their own"
	if !a.All {
		setting, name = "group "+a.Group, fmt.Sprintf("group %q", a.Group)
	}
	if !e.changes.hasRoom(setting, maxGroupChanges) {
		return badCommand{fmt.Sprintf("more than %d groups were changed from here", maxGroupChanges)}
	}
	before, own := groupLimit(q, a.Group)
	limit, err := a.groupLimit(before)
	if err != nil {
		return err
	}
	set := func(l twill.GroupLimit, own bool) error {
		switch {
		case a.All:
			return q.SetGroupLimits(l)
		case own:
			return q.SetGroupLimit(a.Group, l)
		}
		return q.ResetGroupLimit(a.Group)
	}
	o.Detail = fmt.Sprintf("%s to %s%s", name, limitText(limit), forText(d))
	if a.Reset {
		o.Detail = fmt.Sprintf("%s to the limit of all groups, %s%s", name, limitText(q.GroupLimits()), forText(d))
	}
	if err := set(limit, !a.Reset); err != nil {
		return err
	}
	if a.Reset && d == 0 {
		e.changes.drop(setting)
		return nil
	}
	after, _ := groupLimit(q, a.Group)
	e.changes.set(&change{
		Setting: setting, Value: limitText(after), Who: who, At: time.Now(),
		same: func() (string, bool) {
			now, _ := groupLimit(q, a.Group)
			return limitText(now), now == after
		},
		back: func() (string, error) { return "to " + limitText(before), set(before, own) },
		note: p.noteBack(e, setting),
	}, d)
	return nil
}

// groupLimit returns the limit of a group, and whether it is the group's own.
// For the name "" it returns the limit of all groups.
func groupLimit(q Grouped, name string) (l twill.GroupLimit, own bool) {
	if name != "" {
		for n, g := range q.Groups() {
			if n == name {
				return g.Limit, g.Own
			}
		}
	}
	return q.GroupLimits(), false
}

// groupLimit returns l with the changes of a.
func (a *args) groupLimit(l twill.GroupLimit) (twill.GroupLimit, error) {
	if w := a.Width; w != nil {
		switch {
		case w.word == "unlimited":
			l.Width = 0
		case w.word != "" || w.number != math.Trunc(w.number) || w.number < 1 || w.number > 1e6:
			return l, badCommand{`the width of a group is a whole number from 1 to 1,000,000, or "unlimited"; to start nothing, pause it`}
		default:
			l.Width = int(w.number)
		}
	}
	if r := a.PerSecond; r != nil {
		switch {
		case r.word == "unlimited":
			l.Rate, l.Burst = 0, 0
		case r.word != "" || !(r.number > 0 && r.number <= maxRate):
			return l, badCommand{`the rate of a group is a number above 0, up to 1e9, or "unlimited"; to start nothing, pause it`}
		case a.Burst < 0 || a.Burst > maxBurst:
			return l, badCommand{"a burst is a number from 1 to 1,000,000"}
		default:
			l.Rate, l.Burst = r.number, max(a.Burst, 1)
		}
	}
	if a.Paused != nil {
		l.Paused = *a.Paused
	}
	return l, nil
}
