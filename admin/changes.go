package admin

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// changes has the changes of one queue's settings that were made by the page,
// with the operator of the latest change of each setting and the time at which
// it ends.
type changes struct {
	mu sync.Mutex // guards the map
	of map[string]*change

	// step makes changes of the queue one after another, so that the end of one
	// change does not undo another.
	step sync.Mutex
}

// change is a setting that differs from what the program has set.
type change struct {
	Setting string
	Value   string
	Who     string
	At      time.Time
	Until   time.Time // zero if it does not end

	timer *time.Timer
	same  func() (now string, same bool)    // reports whether the setting is still as this change has left it
	back  func() (detail string, err error) // restores the previous setting
	note  func(detail string, err error)
}

// set records a change that was made within step. If a temporary change follows
// another, its end restores the setting from before both.
func (c *changes) set(ch *change, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[string]*change)
	}
	if old := c.of[ch.Setting]; old != nil && old.timer != nil && old.timer.Stop() {
		ch.back = old.back
	}
	c.of[ch.Setting] = ch
	if d > 0 {
		ch.Until = ch.At.Add(d)
		ch.timer = time.AfterFunc(d, func() { c.end(ch) })
	}
}

// end undoes ch, if no other change has replaced it.
func (c *changes) end(ch *change) {
	c.step.Lock()
	defer c.step.Unlock()
	c.mu.Lock()
	if c.of[ch.Setting] != ch {
		c.mu.Unlock()
		return
	}
	delete(c.of, ch.Setting)
	c.mu.Unlock()
	detail, err := safeBack(ch)
	ch.note(detail, err)
}

func safeBack(ch *change) (detail string, err error) {
	defer containPanic(&err)
	if now, same := ch.same(); !same {
		return "left as it is: changed by the program to " + now, nil
	}
	return ch.back()
}

// endAll undoes all temporary changes.
func (c *changes) endAll() {
	c.mu.Lock()
	var all []*change
	for _, ch := range c.of {
		if ch.timer != nil && ch.timer.Stop() {
			all = append(all, ch)
		}
	}
	c.mu.Unlock()
	for _, ch := range all {
		c.end(ch)
	}
}

// list returns the latest n changes.
func (c *changes) list(n int) []change {
	c.mu.Lock()
	all := make([]change, 0, len(c.of))
	for _, ch := range c.of {
		all = append(all, change{Setting: ch.Setting, Value: ch.Value, Who: ch.Who, At: ch.At, Until: ch.Until})
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b change) int { return b.At.Compare(a.At) })
	return all[:min(len(all), n)]
}

// hasRoom reports whether a change of that setting may be kept, if at most n
// are.
func (c *changes) hasRoom(setting string, n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[setting] != nil || len(c.of) < n
}

// widthText returns a width as users and the API write it.
func widthText(n int) string {
	if n >= Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
