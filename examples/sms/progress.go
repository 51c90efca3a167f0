package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Tally counts what came of the messages of a file.
type Tally struct {
	Total, Sent, Failed, Retried, Underway, Peak int
}

// Done returns how many messages are over.
func (t Tally) Done() int { return t.Sent + t.Failed }

// counter is a Tally that several goroutines change.
type counter struct {
	mu    sync.Mutex
	tally Tally
}

func (c *counter) change(fn func(*Tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(&c.tally)
	c.tally.Peak = max(c.tally.Peak, c.tally.Underway)
}

func (c *counter) now() Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tally
}

// Progress shows how far the sending is: a bar that is drawn anew on a
// terminal, else a line for each tenth.
type Progress struct {
	w        io.Writer
	terminal bool
	begun    time.Time
	width    int // of what the bar has drawn
	shown    int // tenths for which there was a line
}

// NewProgress returns a progress display on w.
func NewProgress(w io.Writer, terminal bool) *Progress {
	return &Progress{w: w, terminal: terminal, begun: time.Now()}
}

// isTerminal reports whether w is a screen rather than a file or a pipe.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

const barCells = 30

// Show shows t.
func (p *Progress) Show(t Tally) {
	line := fmt.Sprintf("%d of %d, %d underway, %d retried, %d failed", t.Done(), t.Total, t.Underway, t.Retried, t.Failed)
	if p.terminal {
		full := barCells * t.Done() / max(t.Total, 1)
		p.draw("[" + strings.Repeat("#", full) + strings.Repeat(".", barCells-full) + "] " + line + p.remaining(t))
	} else if tenths := 10 * t.Done() / max(t.Total, 1); tenths > p.shown {
		p.shown = tenths
		fmt.Fprintln(p.w, line)
	}
}

// remaining estimates the time to the end.
func (p *Progress) remaining(t Tally) string {
	if t.Done() == 0 || t.Done() == t.Total {
		return ""
	}
	each := time.Since(p.begun) / time.Duration(t.Done())
	left := each * time.Duration(t.Total-t.Done())
	return fmt.Sprintf(", %d s left", (left+time.Second-1)/time.Second)
}

// draw replaces the line; what was longer before is blanked.
func (p *Progress) draw(line string) {
	fmt.Fprintf(p.w, "\r%-*s", p.width, line)
	p.width = len(line)
}

// End leaves the bar and begins a line of its own.
func (p *Progress) End() {
	if p.terminal && p.width > 0 {
		fmt.Fprintln(p.w)
		p.width = 0
	}
}
