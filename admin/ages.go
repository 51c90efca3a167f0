package admin

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/twillgo/twill"
)

// ages counts the pending jobs of each priority and each group, and has the age
// of the oldest of them.
type ages struct {
	priorities, groups ageTable
}

// ageTable has a row for each of the first maxAges names, and one for all
// others.
type ageTable struct {
	byName map[string]*ageView
	others ageView
}

// maxAges bounds the rows of a table: there may be as many groups as users.
const maxAges = 50

// ageView is a row of a table as the API shows it.
type ageView struct {
	Name   string  `json:"name"` // the priority or the group, or "" for all others
	Jobs   int     `json:"jobs"`
	Oldest float64 `json:"oldest_seconds"`
}

// add counts a job that is pending at a time.
func (a *ages) add(r twill.JobRecord[string], now time.Time) {
	age := max(now.Sub(r.Queued), 0).Seconds()
	a.priorities.add(strconv.Itoa(r.Priority), age)
	if r.Group != "" {
		a.groups.add(r.Group, age)
	}
}

func (t *ageTable) add(name string, age float64) {
	v := t.byName[name]
	switch {
	case v != nil:
	case len(t.byName) == maxAges:
		v = &t.others
	default:
		if t.byName == nil {
			t.byName = make(map[string]*ageView)
		}
		v = &ageView{Name: cut(name, maxPreview)}
		t.byName[name] = v
	}
	v.Jobs++
	v.Oldest = max(v.Oldest, age)
}

// agesView is ages as the API shows it: the priorities in their order, and the
// groups with the oldest jobs first.
type agesView struct {
	Priorities []ageView `json:"priorities"`
	Groups     []ageView `json:"groups"`
}

func (a *ages) view() agesView {
	return agesView{
		Priorities: a.priorities.rows(func(a, b ageView) int {
			x, _ := strconv.Atoi(a.Name)
			y, _ := strconv.Atoi(b.Name)
			return cmp.Compare(x, y)
		}),
		Groups: a.groups.rows(func(a, b ageView) int {
			return cmp.Or(cmp.Compare(b.Oldest, a.Oldest), cmp.Compare(a.Name, b.Name))
		}),
	}
}

func (t *ageTable) rows(compare func(a, b ageView) int) []ageView {
	rows := []ageView{}
	for _, v := range t.byName {
		rows = append(rows, *v)
	}
	slices.SortFunc(rows, compare)
	if t.others.Jobs > 0 {
		rows = append(rows, t.others)
	}
	return rows
}
