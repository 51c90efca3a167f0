package twill

import (
	"iter"
	"slices"
	"time"
)

// lookahead reads a sequence bit by bit without the goroutine that [iter.Pull]
// would hold through all pauses, and leave behind in a call that is dropped:
// it iterates anew and skips what it has had. It reads as much again each time, up to
// a bound, so that this is seldom.
type lookahead struct {
	delays []time.Duration // read and not used yet
	had    int             // read
	done   bool            // there are no more
}

func (l *lookahead) next(seq iter.Seq[time.Duration]) (time.Duration, bool) {
	if len(l.delays) == 0 && !l.done {
		l.read(seq)
	}
	if len(l.delays) == 0 {
		return 0, false
	}
	d := l.delays[0]
	l.delays = l.delays[1:]
	return d, true
}

// read reads the next delays.
func (l *lookahead) read(seq iter.Seq[time.Duration]) {
	skip, n := l.had, min(max(l.had, 16), 4096)
	l.delays = slices.Grow(l.delays[:0], n)
	l.done = true
	for d := range seq {
		if skip > 0 {
			skip--
			continue
		}
		if l.delays = append(l.delays, d); len(l.delays) == n {
			l.done = false
			break
		}
	}
	l.had += len(l.delays)
}
